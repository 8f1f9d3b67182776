//! The tasks of a local process that are no crate's own.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Bus, Report, announce};
use berth_host::Host;
use berth_model::condition::{self, ConditionStatus};
use berth_model::id::WorkloadId;
use berth_model::resource::{Kind, ObjectKey, Resource};
use berth_operator::store::{Change, Store};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::Adapter;
use crate::lifecycle::{Lifecycle, Phase};
use crate::notice::{Notice, Observer};

/// How long an object waits before a person is told: a host needs a moment to be heard at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// A task under its name, its failure logged.
pub(super) async fn reported<E: Display>(name: &'static str, task: impl Future<Output = Result<(), E>>) -> &'static str {
    if let Err(error) = task.await {
        tracing::error!(task = name, %error, "a control task failed");
    }
    name
}

/// What the operator was told last.
#[derive(Default)]
struct Told(HashMap<WorkloadId, Report>);

impl Told {
    /// What `now` has that wasn't told, and the end of what it has no more.
    fn news(&mut self, now: Vec<Report>) -> Vec<Report> {
        let mut before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for report in now {
            if before.remove(&report.id).as_ref() != Some(&report) {
                news.push(report.clone());
            }
            self.0.insert(report.id.clone(), report);
        }
        news.extend(before.into_keys().map(Report::not_found));
        news
    }
}

/// Tells people and the operator what changes on the host.
pub(super) async fn observe(
    host: Arc<Host>,
    adapter: Arc<Adapter>,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    notices: broadcast::Sender<Notice>,
    shutdown: CancellationToken,
) -> &'static str {
    let mut objects = store.watch();
    let mut changes = host.changes();
    let mut observer = Observer::default();
    let mut told = Told::default();
    loop {
        while let Some(change) = objects.try_next() {
            match change {
                Change::Deleted(gone) if gone.kind() != Kind::ConfigMap => {
                    observer.forget(&format!("{}/{}", gone.metadata().namespace, gone.metadata().name));
                }
                Change::Resync => observer.forget_all(),
                _ => {}
            }
        }
        for notice in observer.compare(host.statuses(), |status| adapter.belonging(status)) {
            // Nobody listening is no error.
            let _ = notices.send(notice);
        }
        let news = told.news(adapter.reports());
        if !news.is_empty()
            && let Err(error) = announce(&bus, host.id(), &news).await
        {
            // A hint only: the operator's next comparison finds it.
            tracing::debug!(%error, "changes weren't announced");
        }
        tokio::select! {
            () = shutdown.cancelled() => return "observer",
            changed = changes.changed() => if changed.is_err() { return "observer" },
        }
    }
}

/// Tells people what can't go on: an object that refers to something that isn't there, or that no host takes.
pub(super) async fn tell_what_waits(
    store: Arc<dyn Store>,
    notices: broadcast::Sender<Notice>,
    shutdown: CancellationToken,
) -> &'static str {
    const NAME: &str = "watch for what waits";
    let mut changes = store.watch();
    let mut waiting: HashMap<ObjectKey, (Instant, Notice)> = HashMap::new();
    let mut told: HashSet<String> = HashSet::new();
    loop {
        let due = waiting.values().map(|(since, _)| *since + PATIENCE).min();
        let change = tokio::select! {
            () = shutdown.cancelled() => return NAME,
            () = until(due) => None,
            change = changes.next() => match change {
                Some(change) => Some(change),
                None => return NAME,
            },
        };
        match change {
            Some(Change::Added(resource) | Change::Modified(resource)) => match obstacle(&resource) {
                Some(notice) => {
                    let since = waiting.get(&resource.key()).map_or_else(Instant::now, |(since, _)| *since);
                    waiting.insert(resource.key(), (since, notice));
                }
                None => drop(waiting.remove(&resource.key())),
            },
            Some(Change::Deleted(resource)) => drop(waiting.remove(&resource.key())),
            Some(Change::Resync) => waiting.clear(),
            None => {
                let now = Instant::now();
                let ripe = waiting.extract_if(|_, (since, _)| *since + PATIENCE <= now);
                for (_, (_, notice)) in ripe.collect::<Vec<_>>() {
                    // Replicas wait for the same thing; once is enough.
                    if told.len() < 1000 && told.insert(format!("{notice:?}")) {
                        let _ = notices.send(notice);
                    }
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What keeps an object from going on, from its conditions.
fn obstacle(resource: &Resource) -> Option<Notice> {
    let (conditions, kinds): (_, &[&str]) = match resource {
        Resource::Workload(w) => (&w.status.conditions, &["Config", "HostSelection"]),
        Resource::Deployment(d) => (&d.status.conditions, &["Artifact"]),
        _ => return None,
    };
    let meta = resource.metadata();
    let found = kinds.iter().filter_map(|kind| condition::find(conditions, kind)).find(|c| c.status == ConditionStatus::False)?;
    let owner = meta.controller().map_or(&meta.name, |owner| &owner.name);
    Some(Notice::Waiting { owner: format!("{}/{owner}", meta.namespace), reason: found.reason.clone(), message: found.message.clone() })
}

/// Drains the host when that is asked for.
pub(super) async fn drain(host: Arc<Host>, lifecycle: Arc<Lifecycle>, grace: Duration, shutdown: CancellationToken) -> &'static str {
    const NAME: &str = "drain";
    tokio::select! {
        () = lifecycle.drain_wanted() => {}
        () = shutdown.cancelled() => return NAME,
    }
    tracing::info!(grace_s = grace.as_secs(), "draining");
    host.drain(grace).await;
    lifecycle.reach(Phase::Drained);
    tracing::info!("drained");
    NAME
}

#[cfg(test)]
mod tests {
    use berth_control::WorkloadState;

    use super::*;

    #[test]
    fn what_is_gone_is_told_once_as_not_found_and_what_stays_is_not_told_again() {
        let report = |id: &str, state| Report::new(id.parse().unwrap(), state);
        let states = |news: Vec<Report>| news.into_iter().map(|r| (r.id.to_string(), r.state)).collect::<Vec<_>>();
        let mut told = Told::default();
        let first = vec![report("a", WorkloadState::Running), report("b", WorkloadState::Stopping)];
        assert_eq!(told.news(first.clone()), first);
        assert_eq!(states(told.news(first[..1].to_vec())), [("b".to_owned(), WorkloadState::NotFound)]);
        assert_eq!(told.news(first[..1].to_vec()), []);
        assert_eq!(told.news(first.clone()), first[1..]);
    }
}
