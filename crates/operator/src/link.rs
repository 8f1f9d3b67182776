//! One task per host that tells it what to run, so that a slow host delays only itself (L03).
//!
//! A host that speaks Berth's extension is told its set: the whole of it at first, then what changes, and both ends compare where they
//! stand from time to time, because messages get lost (L06). When they don't agree, and now and then anyway, the whole set is told
//! again. Any other host gets single steps.

mod steps;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Agreement, Bus, CallError, HostClient, Report, WorkloadState};
use berth_model::id::{HostId, WorkloadId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::plan::{HostWants, Want};
use steps::Steps;

/// Answers that wait for the operator's loop; a host's task waits when there are more.
const ANSWERS: usize = 256;
/// First wait before a host is asked again, after a call that failed or while it has yet to stop something. It doubles up to
/// the regular interval.
const SOON: Duration = Duration::from_millis(100);

/// How long changes are told before the whole set is told again. Nothing should need it.
const WHOLE_EVERY: Duration = Duration::from_secs(300);

/// Where each workload stands, by its id.
type Reports = HashMap<WorkloadId, Report>;

/// What a host said.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) host: HostId,
    /// The set it was told before.
    pub(crate) to: Arc<HostWants>,
    /// When it was told that.
    pub(crate) sent: Instant,
    pub(crate) reports: Reports,
}

/// The tasks of all hosts. Dropping it ends them.
pub(crate) struct Links {
    bus: Arc<dyn Bus>,
    resync_every: Duration,
    tasks: JoinSet<()>,
    hosts: HashMap<HostId, Handle>,
    answers: mpsc::Sender<Answered>,
}

/// The loop's end of one task.
struct Handle {
    wants: watch::Sender<Arc<HostWants>>,
    nudge: Arc<Notify>,
    speaks_berth: bool,
    task: AbortHandle,
}

impl Links {
    pub(crate) fn new(bus: Arc<dyn Bus>, resync_every: Duration) -> (Links, mpsc::Receiver<Answered>) {
        let (answers, receiver) = mpsc::channel(ANSWERS);
        (Links { bus, resync_every, tasks: JoinSet::new(), hosts: HashMap::new(), answers }, receiver)
    }

    /// Tells every host its set; `speaks_berth` says of a host that was heard whether it understands sets. Hosts that aren't in
    /// `wants` are dead: their tasks end, so that none waits for them when they come back.
    pub(crate) fn publish(&mut self, wants: &BTreeMap<HostId, Arc<HostWants>>, speaks_berth: impl Fn(HostId) -> Option<bool>) {
        while self.tasks.try_join_next().is_some() {}
        self.hosts.retain(|id, handle| {
            let stays = wants.contains_key(id) && !handle.task.is_finished() && speaks_berth(*id) == Some(handle.speaks_berth);
            if !stays {
                handle.task.abort();
            }
            stays
        });
        for (id, wanted) in wants {
            let Some(speaks_berth) = speaks_berth(*id) else { continue };
            match self.hosts.get(id) {
                Some(handle) => {
                    handle.wants.send_if_modified(|now| {
                        let changed = !Arc::ptr_eq(now, wanted);
                        if changed {
                            now.clone_from(wanted);
                        }
                        changed
                    });
                }
                None => self.spawn(*id, speaks_berth, wanted.clone()),
            }
        }
    }

    /// Asks a host again at once.
    pub(crate) fn nudge(&self, host: HostId) {
        if let Some(handle) = self.hosts.get(&host) {
            handle.nudge.notify_one();
        }
    }

    fn spawn(&mut self, host: HostId, speaks_berth: bool, wanted: Arc<HostWants>) {
        let (wants, receiver) = watch::channel(wanted);
        let nudge = Arc::new(Notify::new());
        let link = Link {
            client: HostClient::new(self.bus.clone(), host),
            wants: receiver,
            nudge: nudge.clone(),
            speaks_berth,
            answers: self.answers.clone(),
            resync_every: self.resync_every,
            steps: Steps::default(),
            agreed: None,
        };
        let task = self.tasks.spawn(link.run());
        self.hosts.insert(host, Handle { wants, nudge, speaks_berth, task });
    }
}

/// One host's task.
struct Link {
    client: HostClient,
    wants: watch::Receiver<Arc<HostWants>>,
    nudge: Arc<Notify>,
    speaks_berth: bool,
    answers: mpsc::Sender<Answered>,
    resync_every: Duration,
    steps: Steps,
    agreed: Option<Agreed>,
}

/// What the host agreed to.
struct Agreed {
    agreement: Agreement,
    to: Arc<HostWants>,
    /// When the whole set was told.
    since: Instant,
}

impl Link {
    async fn run(mut self) {
        let mut soon = SOON;
        let mut failing = false;
        loop {
            let to = self.wants.borrow_and_update().clone();
            let sent = Instant::now();
            let wait = match self.tell(&to).await {
                Ok(reports) => {
                    failing = false;
                    let settled = is_settled(&to, &reports);
                    if self.answers.send(Answered { host: self.client.host(), to, sent, reports }).await.is_err() {
                        return;
                    }
                    if settled { self.resync_every } else { soon }
                }
                Err(error) => {
                    if !failing && !error.is_disconnected() {
                        tracing::warn!(error = crate::describe(&error), "a host can't be told what to run; it is told again");
                    }
                    failing = true;
                    soon
                }
            };
            soon = if wait == soon { (soon * 2).min(self.resync_every) } else { SOON.min(self.resync_every) };
            tokio::select! {
                changed = self.wants.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    soon = SOON.min(self.resync_every);
                }
                () = self.nudge.notified() => {}
                () = self.steps.progress() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn tell(&mut self, to: &Arc<HostWants>) -> Result<Reports, CallError> {
        // Taken: after a call that failed nobody knows what the host knows.
        let agreed = self.agreed.take();
        if !self.speaks_berth || !to.held.is_empty() {
            let reports = self.steps.take(&self.client, to).await?;
            return Ok(reports.into_iter().map(|report| (report.id.clone(), report)).collect());
        }
        self.steps = Steps::default();
        if let Some(Agreed { agreement, to: before, since }) = agreed.filter(|agreed| agreed.since.elapsed() < WHOLE_EVERY) {
            let (wanted, unwanted) = to.changes_from(&before);
            let wanted: Vec<_> = wanted.into_iter().map(Want::to_wanted).collect();
            if let Some(agreement) = self.client.amend(agreement, &wanted, &unwanted).await? {
                let reports = agreement.reports();
                if lists(to, &reports) {
                    self.agreed = Some(Agreed { agreement, to: to.clone(), since });
                    return Ok(reports);
                }
            }
        }
        let wanted: Vec<_> = to.run.iter().map(Want::to_wanted).collect();
        let agreement = self.client.agree(&wanted).await?;
        let reports = agreement.reports();
        self.agreed = Some(Agreed { agreement, to: to.clone(), since: Instant::now() });
        Ok(reports)
    }
}

/// Whether the host lists what it is to run and nothing else; what is on its way out may be there. If not, it is told
/// the whole set at once.
fn lists(to: &HostWants, reports: &Reports) -> bool {
    to.run.iter().all(|want| reports.contains_key(&want.id))
        && reports.values().all(|r| r.state == WorkloadState::Stopping || to.get(&r.id).is_some())
}

/// Whether the host has no more to stop, and can't be waiting for that to start something anew.
fn is_settled(to: &HostWants, reports: &Reports) -> bool {
    reports.values().all(|r| (to.get(&r.id).is_some() || to.held.contains(&r.id)) && r.state != WorkloadState::Stopping)
}
