//! The loop's state, driven by hand: what depends on when something comes.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{Heartbeat, MemoryBus};
use berth_model::event::{Event, EventSink};
use berth_model::id::HostId;
use tokio::time::Instant;

use super::*;
use crate::store::EmbeddedStore;

struct NoEvents;

impl EventSink for NoEvents {
    fn record(&self, _: Event) {}
}

/// An operator that listens, has heard one host, and does nothing by itself.
fn operator() -> (Running, HostId) {
    let config = OperatorConfig::default();
    let (links, _) = Links::new(Arc::new(MemoryBus::default()), config.resync_every);
    let store = Arc::new(EmbeddedStore::in_memory().unwrap());
    let mut operator = Running::new(store, Arc::new(NoEvents), config, links, Objects::default());
    operator.connected(true);
    let heartbeat = Heartbeat::new(HostId::random());
    let host = heartbeat.id;
    operator.heartbeat(heartbeat);
    (operator, host)
}

/// Lets nothing happen for so long: no event was handled, no plan made.
fn stall(operator: &mut Running, time: Duration) {
    let before = |instant: Instant| instant.checked_sub(time).expect("the machine is up for longer");
    operator.started = before(operator.started);
    operator.last_tick = before(operator.last_tick);
}

#[tokio::test]
async fn l01_an_operator_that_stood_still_blames_no_host_in_its_next_plan() {
    let (mut operator, host) = operator();
    let lease = operator.snapshot.config.lease;
    stall(&mut operator, lease * 3);
    operator.plan();
    assert!(operator.snapshot.memory.dead.is_empty());
    // Silence counts again from then on.
    let ticked = operator.last_tick;
    stall(&mut operator, lease * 3);
    operator.last_tick = ticked;
    operator.plan();
    assert!(operator.snapshot.memory.dead.contains_key(&host));
}
