//! What the operator listens to, as one stream of events.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{Bus, BusError, Heartbeat, Heartbeats, Report, Reports};
use berth_model::id::HostId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::link::Answered;
use crate::store::{Change, Watch};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// In the store.
    Change(Change),
    /// A host says how it is.
    Heartbeat(Box<Heartbeat>),
    /// A host says that workloads changed.
    Reports(HostId, Vec<Report>),
    /// A host answered what it was told.
    Answered(Answered),
    /// The bus was lost or is back.
    Connected(bool),
    /// Time passed.
    Tick,
    /// The store has closed.
    StoreClosed,
    /// The bus has closed.
    BusClosed,
}

/// All that is listened to.
pub(crate) struct Sources {
    pub(crate) changes: Watch,
    heartbeats: Heartbeats,
    reports: Reports,
    answers: mpsc::Receiver<Answered>,
    connected: watch::Receiver<bool>,
    tick: Interval,
}

impl Sources {
    /// Starts to listen. Changes first, so that what is listed after misses none.
    pub(crate) async fn open(
        changes: Watch,
        bus: &Arc<dyn Bus>,
        answers: mpsc::Receiver<Answered>,
        every: Duration,
    ) -> Result<Sources, BusError> {
        let connected = bus.connected();
        let heartbeats = berth_control::heartbeats(bus).await?;
        let reports = berth_control::reports(bus).await?;
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Sources { changes, heartbeats, reports, answers, connected, tick })
    }

    /// Whether the bus is connected now; later changes come as events.
    pub(crate) fn is_connected(&mut self) -> bool {
        *self.connected.borrow_and_update()
    }

    /// The next event. Cancel safe, as each source is.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            change = self.changes.next() => change.map_or(Event::StoreClosed, Event::Change),
            heartbeat = self.heartbeats.next() => heartbeat.map_or(Event::BusClosed, |h| Event::Heartbeat(Box::new(h))),
            reports = self.reports.next() => reports.map_or(Event::BusClosed, |(host, reports)| Event::Reports(host, reports)),
            Some(answered) = self.answers.recv() => Event::Answered(answered),
            changed = self.connected.changed() => match changed {
                Ok(()) => Event::Connected(*self.connected.borrow_and_update()),
                Err(_) => Event::BusClosed,
            },
            _ = self.tick.tick() => Event::Tick,
        }
    }
}
