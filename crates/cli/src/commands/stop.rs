//! `berth drain` and `berth stop`.

use std::time::Duration;

use berth_node::api::{Client, ClientError, Lines, Progress};
use berth_node::data;
use serde_json::json;

use super::is_json;
use crate::args::TextOrJson;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Time for the process to end after its API has: it closes its database and lets its folder go.
const END: Duration = Duration::from_secs(10);

pub(super) async fn drain(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut lines = client.drain().await?;
    if tell(&mut lines, format, out).await? {
        return Ok(Exit::Ok);
    }
    Err(ClientError::Closed(None).into())
}

pub(super) async fn stop(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut lines = client.stop().await?;
    match tell(&mut lines, format, out).await {
        // However the connection ends, what counts is that the process lets its folder go.
        Ok(_) => {}
        Err(failure) if failure.exit == Exit::Failure => tracing::debug!(message = failure.message, "the connection ended early"),
        Err(failure) => return Err(failure),
    }
    if !data::released(client.data_dir(), END).await {
        let message = format!("the berth on {} still runs {} s after its drain", client.data_dir().display(), END.as_secs());
        return Err(Failure::new(Exit::Failure, message));
    }
    say("stopped", format, out)?;
    Ok(Exit::Ok)
}

/// Tells each step; whether the drain was finished.
async fn tell(lines: &mut Lines<Progress>, format: TextOrJson, out: &mut Output) -> Result<bool, Failure> {
    let mut drained = false;
    while let Some(progress) = lines.next().await? {
        let word = match progress {
            Progress::Draining => "draining",
            Progress::Drained => {
                drained = true;
                "drained"
            }
        };
        say(word, format, out)?;
    }
    Ok(drained)
}

fn say(word: &str, format: TextOrJson, out: &mut Output) -> std::io::Result<()> {
    if is_json(format) { out.json_line(&json!({"state": word})) } else { out.line(word) }
}
