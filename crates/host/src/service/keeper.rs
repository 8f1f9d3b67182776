//! Keeps a service going: runs it, says where it stands, and starts it again as long as that is allowed.

use std::sync::Arc;
use std::time::Instant;

use berth_model::event::{Event, Severity};
use berth_model::resource::Kind;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Program;
use super::ending::{Ending, Fault};
use super::restart::{Decision, History};
use super::run;
use super::standing::{Phase, Standing};
use super::threads::Threads;
use crate::component::Component;
use crate::invoke::failure::Failure;
use crate::logs::Stream;
use crate::metrics::WorkloadMetrics;
use crate::turn;

/// What keeps one service going.
pub(super) struct Keeper {
    pub(super) program: Arc<Program>,
    pub(super) threads: Arc<Threads>,
    /// The service is to end.
    pub(super) told: CancellationToken,
    /// It has to be gone.
    pub(super) cut: CancellationToken,
    pub(super) standing: watch::Sender<Standing>,
}

impl Keeper {
    /// Until the service has completed, failed for good, or was ended.
    pub(super) async fn keep(self) {
        let (begin, mut history) = (Instant::now(), History::default());
        loop {
            let fault = match self.once().await {
                // However it ends, once it is to: that isn't its own decision.
                _ if self.told.is_cancelled() => return self.say(Phase::Stopped),
                Ending::Cut => return self.say(Phase::Stopped),
                Ending::Done => return self.completed(),
                Ending::Failed(fault) => fault,
            };
            let policy = &self.program.restarts;
            let Decision::Restart(wait, number) = history.ended(policy, begin.elapsed(), fastrand::f64()) else {
                return self.failed(&fault);
            };
            let message = format!("the service {fault}; restart {number} of {} follows", policy.most);
            self.tell(&fault, "ServiceRestarting", &message);
            self.say(Phase::Restarting(message));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.told.cancelled() => return self.say(Phase::Stopped),
                () = self.cut.cancelled() => return self.say(Phase::Stopped),
            }
            self.component().metrics.restarts.inc();
            self.standing.send_modify(|standing| standing.restarts = standing.restarts.saturating_add(1));
        }
    }

    fn component(&self) -> &Arc<Component> {
        &self.program.unit.root
    }

    /// One run, on the thread that has the fewest services.
    async fn once(&self) -> Ending {
        let place = self.threads.take();
        let _counted = Counted::new(&self.component().metrics);
        let mut task = JoinSet::new();
        let run = Box::pin(run::run(self.program.clone(), self.told.clone(), self.cut.clone()));
        task.spawn_on(turn::shared(self.component().clone(), run), place.runtime());
        let ended = tokio::select! {
            ended = task.join_next() => ended,
            () = tokio::time::sleep(self.program.settle) => {
                self.say(Phase::Running);
                task.join_next().await
            }
        };
        match ended {
            Some(Ok(ending)) => ending,
            Some(Err(error)) if error.is_panic() => Ending::Failed(Fault::Failure(Failure::Gone)),
            // Its thread ends, and the host with it.
            Some(Err(_)) | None => Ending::Cut,
        }
    }

    fn say(&self, phase: Phase) {
        // What callers are told while it isn't up.
        if !phase.message().is_empty() {
            self.program.door.down(phase.message());
        }
        self.standing.send_modify(|standing| standing.phase = phase);
    }

    fn completed(&self) {
        let component = self.component();
        component.log.write(&component.name, None, Stream::Host, "the service has ended by itself with success");
        self.record(Severity::Normal, "ServiceCompleted", Phase::Completed.message());
        self.say(Phase::Completed);
    }

    fn failed(&self, fault: &Fault) {
        let policy = &self.program.restarts;
        let why = match policy.most {
            0 => "and maxRestarts is 0".to_owned(),
            most => format!("and was restarted {most} times in {} s, as often as maxRestarts allows", policy.window.as_secs()),
        };
        let message = format!("the service {fault}, {why}");
        self.tell(fault, "ServiceFailed", &message);
        self.say(Phase::Failed(message));
    }

    /// Tells a failure where people look: the log, with the backtrace (L43), and the workload's events.
    fn tell(&self, fault: &Fault, reason: &str, message: &str) {
        let component = self.component();
        let lines = std::iter::once(message).chain(fault.detail().into_iter().flat_map(str::lines)).filter(|line| !line.is_empty());
        lines.for_each(|line| component.log.write(&component.name, None, Stream::Host, line));
        // Without numbers, so that equal failures are one event.
        let event = if reason == "ServiceFailed" { message.to_owned() } else { format!("the service {fault}, and is started again") };
        self.record(Severity::Warning, reason, &event);
    }

    /// Waits between restarts bound how many there are.
    fn record(&self, severity: Severity, reason: &str, message: &str) {
        let component = self.component();
        component.host.events.record(Event {
            time: jiff::Timestamp::now(),
            severity,
            reason: reason.to_owned(),
            kind: Kind::Workload,
            namespace: component.namespace.to_string(),
            name: component.workload.to_string(),
            message: message.to_owned(),
            count: 1,
        });
    }
}

/// A service in the figures, while it runs.
struct Counted<'a>(&'a WorkloadMetrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a WorkloadMetrics) -> Counted<'a> {
        metrics.services.inc();
        Counted(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.services.dec();
    }
}
