//! The tasks of a local process that are no crate's own.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Bus, Report, announce};
use berth_host::Host;
use berth_operator::store::{Change, Store};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::{Adapter, report};
use crate::lifecycle::{Lifecycle, Phase};
use crate::notice::{Notice, Observer};

/// The observer rests this many times as long as its last look at the workloads took.
const OBSERVE_PAUSE: u32 = 4;

/// A task under its name, its failure logged.
pub(super) async fn reported<E: Display>(name: &'static str, task: impl Future<Output = Result<(), E>>) -> &'static str {
    if let Err(error) = task.await {
        tracing::error!(task = name, %error, "a control task failed");
    }
    name
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
    loop {
        while let Some(change) = objects.try_next() {
            match change {
                Change::Deleted(gone) if !gone.kind().is_data() => {
                    observer.forget(&format!("{}/{}", gone.metadata().namespace, gone.metadata().name));
                }
                Change::Resync => observer.forget_all(),
                _ => {}
            }
        }
        let begin = Instant::now();
        let news = observer.compare(host.statuses(), |status| adapter.belonging(status));
        for notice in news.notices {
            // Nobody listening is no error.
            let _ = notices.send(notice);
        }
        let reports: Vec<Report> = news.changed.iter().map(report).chain(news.gone.into_iter().map(Report::not_found)).collect();
        if !reports.is_empty()
            && let Err(error) = announce(&bus, host.id(), &reports).await
        {
            // A hint only: the operator's next comparison finds it.
            tracing::debug!(%error, "changes weren't announced");
        }
        // Looking at ten thousand workloads after each of ten thousand starts would leave no time for the starts.
        let pause = begin.elapsed() * OBSERVE_PAUSE;
        if pause > Duration::from_millis(1) {
            tokio::select! {
                () = shutdown.cancelled() => return "observer",
                () = tokio::time::sleep(pause) => {}
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return "observer",
            changed = changes.changed() => if changed.is_err() { return "observer" },
        }
    }
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
