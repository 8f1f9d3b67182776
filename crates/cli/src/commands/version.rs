//! `berth version`.

use berth_node::api::Client;
use serde_json::json;

use super::is_json;
use crate::args::TextOrJson;
use crate::exit::{Exit, Failure};
use crate::output::Output;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn run(format: TextOrJson, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let running = match client.version().await {
        Ok(version) => Some(version),
        // No berth need run for this one's version.
        Err(error) if error.is_unreachable() => None,
        Err(error) => return Err(error.into()),
    };
    if is_json(format) {
        out.json(&json!({"version": VERSION, "running": running}))?;
        return Ok(Exit::Ok);
    }
    out.line(format!("berth {VERSION}"))?;
    if let Some(running) = running {
        let draining = if running.draining { ", draining" } else { "" };
        out.line(format!("running: {} (process {}, {}{draining})", running.version, running.pid, running.http_addr))?;
    }
    Ok(Exit::Ok)
}
