//! Kills berth at the planned times and starts it again, and notices if it ends by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::process::Child;

use super::client::{Connection, Protocol};
use super::ledger::Kind;
use super::process;
use super::site::Site;

/// After a start, every workload must answer within this.
pub const BACK_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Owns the process while the load lasts, and hands the last one back.
pub async fn kill_and_start(site: Arc<Site>, mut berth: Child, kills: Vec<Duration>) -> Result<Child> {
    for (n, at) in kills.iter().enumerate() {
        if !alive_until(&site, &mut berth, *at).await? {
            return Ok(berth);
        }
        site.begin_outage();
        process::kill(&mut berth).await?;
        berth = site.seat.up(None)?;
        if let Err(what) = answers(&site).await {
            bail!("berth doesn't serve again {BACK_WITHIN:?} after kill {}: {what}", n + 1);
        }
        let took = site.end_outage();
        println!("soak: {:>6.1} s  kill {} of {}: serves again after {took:.1?}", site.now().as_secs_f64(), n + 1, kills.len());
    }
    while alive_until(&site, &mut berth, Duration::MAX).await? {}
    Ok(berth)
}

/// Waits for a time of the soak; `false` when the load ends before. An error if berth ends by itself.
async fn alive_until(site: &Site, berth: &mut Child, at: Duration) -> Result<bool> {
    tokio::select! {
        status = berth.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            site.lose(Kind::Command, format!("berth ended by itself: {status}"));
            bail!("berth ended by itself: {status}")
        }
        more = site.pause(at.saturating_sub(site.now())) => Ok(more),
    }
}

/// Waits until every workload that is there answers once.
pub async fn answers(site: &Site) -> Result<(), String> {
    let deadline = site.now() + BACK_WITHIN;
    for ask in site.asker.probes() {
        loop {
            let answered = match Connection::open(site.seat.http, Protocol::Fresh).await {
                Ok(mut connection) => connection.sender().ask(&ask, site.seat.http.port()).await,
                Err(what) => Err(what),
            };
            match answered {
                Ok(()) => break,
                Err(what) if site.now() > deadline => return Err(what),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
    Ok(())
}
