//! `berth drain` and `berth stop`.

use std::time::Duration;

use berth_node::api::{ANSWER_TIMEOUT, Client, ClientError, Lines, Progress};
use berth_node::data;
use serde_json::json;

use super::is_json;
use crate::args::TextOrJson;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Time for the process to end after its API has: it closes its database, lets its folder go, and is taken down with its threads.
const END: Duration = Duration::from_secs(10);

pub(super) async fn drain(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut lines = client.drain().await?;
    if tell(&mut lines, client, format, out).await? {
        return Ok(Exit::Ok);
    }
    Err(ClientError::Closed(None).into())
}

pub(super) async fn stop(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    // While it is surely there: later its id may be another's.
    let process = client.process().await?;
    let mut lines = client.stop().await?;
    match tell(&mut lines, client, format, out).await {
        // However the connection ends, what counts is that the process does.
        Ok(_) => {}
        Err(failure) if failure.exit == Exit::Failure => tracing::debug!(message = failure.message, "the connection ended early"),
        Err(failure) => return Err(failure),
    }
    drop(lines);
    let pid = process.pid();
    if !data::released(client.data_dir(), END).await || !process.ended(END).await {
        let (name, kill) = match pid {
            Some(pid) => (format!(" (process {pid})"), format!("; `kill -KILL {pid}` ends it, and what was applied is kept")),
            None => Default::default(),
        };
        let message = format!("the berth on {}{name} still runs {} s after its drain{kill}", client.data_dir().display(), END.as_secs());
        return Err(Failure::new(Exit::Failure, message));
    }
    say("stopped", format, out)?;
    Ok(Exit::Ok)
}

/// Tells each step; whether the drain was finished. A drain may take as long as its grace periods, so a silent process is asked now and then
/// whether it is there at all.
async fn tell(lines: &mut Lines<Progress>, client: &Client, format: TextOrJson, out: &mut Output) -> Result<bool, Failure> {
    let mut drained = false;
    loop {
        let progress = match tokio::time::timeout(ANSWER_TIMEOUT, lines.next()).await {
            Ok(progress) => progress?,
            Err(_) => match client.version().await {
                Ok(_) => continue,
                // Its API has ended, and says nothing of the process.
                Err(ClientError::NotRunning { .. } | ClientError::Data(_) | ClientError::Closed(_)) => return Ok(drained),
                Err(error) => return Err(error.into()),
            },
        };
        let word = match progress {
            None => return Ok(drained),
            Some(Progress::Draining) => "draining",
            Some(Progress::Drained) => {
                drained = true;
                "drained"
            }
        };
        say(word, format, out)?;
    }
}

fn say(word: &str, format: TextOrJson, out: &mut Output) -> std::io::Result<()> {
    if is_json(format) { out.json_line(&json!({"state": word})) } else { out.line(word) }
}
