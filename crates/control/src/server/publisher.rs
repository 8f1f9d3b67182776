//! Publishes heartbeats, on a task that waits for nothing else (L04).

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::lane::bounded;
use super::{MIN_HEARTBEAT_EVERY, Server};
use crate::bus::BusError;
use crate::convert::heartbeat_to_wire;
use crate::subjects;
use crate::wire::{compact, describe};

/// Publishes a heartbeat at once, then periodically, and as soon as the bus is back.
pub(super) async fn publish(server: Arc<Server>) -> Result<(), BusError> {
    let subject = subjects::heartbeats_of(server.id);
    let mut connected = server.bus.connected();
    let mut ticks = tokio::time::interval(server.config.heartbeat_every.max(MIN_HEARTBEAT_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = server.shutdown.cancelled() => return Ok(()),
            () = back(&mut connected) => ticks.reset(),
            _ = ticks.tick() => {}
        }
        match publish_one(&server, &subject).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!(host = %server.id, "heartbeats go out again");
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(host = %server.id, error, "heartbeats don't go out");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

async fn publish_one(server: &Server, subject: &str) -> Result<(), String> {
    let work = async {
        let heartbeat = server.heartbeat().await;
        server.bus.publish(subject, compact(&heartbeat_to_wire(&heartbeat))).await
    };
    match bounded(server.config.heartbeat.deadline, &server.shutdown, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(describe(&error)),
        Err(cut) => Err(describe(&cut)),
    }
}

/// Waits until the connection comes back from an outage. Cancel safe.
async fn back(connected: &mut watch::Receiver<bool>) {
    loop {
        if connected.changed().await.is_err() {
            // The bus is gone for good; publishing says so.
            return std::future::pending().await;
        }
        if *connected.borrow_and_update() {
            return;
        }
    }
}
