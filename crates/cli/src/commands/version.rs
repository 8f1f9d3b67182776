//! `berth version`.

use berth_node::api::{Client, ClientError, Version};
use serde_json::json;

use super::is_json;
use crate::args::TextOrJson;
use crate::exit::{Exit, Failure};
use crate::output::Output;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn run(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let (running, failure) = match client.version().await {
        Ok(version) => (Some(version), None),
        // No berth need run for this one's version; one that runs should answer.
        Err(error) if error.is_unreachable() && !matches!(error, ClientError::Timeout { .. }) => (None, None),
        Err(error) => (None, Some(error)),
    };
    show(running, format, out)?;
    failure.map_or(Ok(Exit::Ok), |error| Err(error.into()))
}

fn show(running: Option<Version>, format: TextOrJson, out: &mut Output) -> std::io::Result<()> {
    if is_json(format) {
        return out.json(&json!({"version": VERSION, "running": running}));
    }
    out.line(format!("berth {VERSION}"))?;
    if let Some(running) = running {
        let draining = if running.draining { ", draining" } else { "" };
        out.line(format!("running: {} (process {}, {}{draining})", running.version, running.pid, running.http_addr))?;
    }
    Ok(())
}
