//! What hosts say unasked: heartbeats, and announcements of changes.
//!
//! A subject names a host, and a bus with permissions lets only that host publish there; so a message whose content names
//! another host is left out (L14).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use berth_model::id::HostId;
use futures::{Stream, StreamExt};

use crate::bus::{Bus, BusError, Message, Subscription};
use crate::convert::{heartbeat_from_wire, report_from_wire, report_to_wire};
use crate::heartbeat::Heartbeat;
use crate::parts::fitting;
use crate::report::Report;
use crate::subjects;
use crate::wire::{compact, decode, describe, ext, pb};

/// Heartbeats of all hosts, as they come.
#[derive(Debug)]
pub struct Heartbeats(Subscription);

/// Reports that hosts announce, as they come. They are hints: they can get lost, and a comparison tells the truth.
#[derive(Debug)]
pub struct Reports(Subscription);

/// Listens to the heartbeats of all hosts.
pub async fn heartbeats(bus: &Arc<dyn Bus>) -> Result<Heartbeats, BusError> {
    bus.subscribe(subjects::ALL_HEARTBEATS).await.map(Heartbeats)
}

/// Listens to the announcements of all Berth hosts.
pub async fn reports(bus: &Arc<dyn Bus>) -> Result<Reports, BusError> {
    bus.subscribe(subjects::ALL_REPORTS).await.map(Reports)
}

/// Says that workloads of `host` changed, in as many messages as it takes.
pub async fn announce(bus: &Arc<dyn Bus>, host: HostId, reports: &[Report]) -> Result<(), BusError> {
    let subject = subjects::reports_of(host);
    let mut wire: Vec<ext::Report> = reports.iter().map(report_to_wire).collect();
    while !wire.is_empty() {
        let count = fitting(wire.iter().map(|report| compact(report).len()), bus.max_payload());
        let rest = wire.split_off(count);
        bus.publish(&subject, compact(&ext::Announcement { host_id: host.to_string(), reports: wire })).await?;
        wire = rest;
    }
    Ok(())
}

impl Heartbeats {
    /// The next heartbeat; what can't be understood is left out. `None` when the bus has closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Heartbeat> {
        StreamExt::next(self).await
    }
}

impl Stream for Heartbeats {
    type Item = Heartbeat;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Heartbeat>> {
        poll_readable(&mut self.0, cx, read_heartbeat)
    }
}

impl Reports {
    /// The next announcement: a host, and the workloads that changed. `None` when the bus has closed. Cancel safe.
    pub async fn next(&mut self) -> Option<(HostId, Vec<Report>)> {
        StreamExt::next(self).await
    }
}

impl Stream for Reports {
    type Item = (HostId, Vec<Report>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        poll_readable(&mut self.0, cx, read_announcement)
    }
}

/// The next message that can be understood.
fn poll_readable<T>(messages: &mut Subscription, cx: &mut Context<'_>, read: fn(&Message) -> Result<T, String>) -> Poll<Option<T>> {
    loop {
        let Some(message) = ready!(messages.poll_next_unpin(cx)) else { return Poll::Ready(None) };
        let lost = messages.take_lost();
        if lost > 0 {
            tracing::warn!(subject = message.subject, lost, "messages of hosts came faster than they were taken, and some were dropped");
        }
        match read(&message) {
            Ok(item) => return Poll::Ready(Some(item)),
            Err(error) => tracing::warn!(subject = message.subject, error, "a host's message is left out"),
        }
    }
}

fn read_heartbeat(message: &Message) -> Result<Heartbeat, String> {
    let wire: pb::HostHeartbeat = decode("HostHeartbeat", &message.payload).map_err(|error| describe(&error))?;
    let heartbeat = heartbeat_from_wire(wire).map_err(|error| describe(&error))?;
    same_host(message, heartbeat.id)?;
    Ok(heartbeat)
}

fn read_announcement(message: &Message) -> Result<(HostId, Vec<Report>), String> {
    let wire: ext::Announcement = decode("Announcement", &message.payload).map_err(|error| describe(&error))?;
    let host: HostId = wire.host_id.parse().map_err(|error| describe(&error))?;
    same_host(message, host)?;
    let reports: Result<Vec<Report>, _> = wire.reports.into_iter().map(report_from_wire).collect();
    Ok((host, reports.map_err(|error| describe(&error))?))
}

fn same_host(message: &Message, host: HostId) -> Result<(), String> {
    if subjects::host_of(&message.subject) == Some(host) {
        return Ok(());
    }
    Err(format!("it says that it comes from host {host}, which this subject isn't for"))
}
