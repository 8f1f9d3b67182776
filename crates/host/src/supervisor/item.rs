//! One workload as the supervisor knows it: what is wanted of it, what of it serves, and how both look from outside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use berth_model::domain::Domain;
use berth_model::id::WorkloadId;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::logs::WorkloadLog;
use crate::metrics::WorkloadMetrics;
use crate::prepare::{HttpWorkload, Prepared};
use crate::routes::Claimant;
use crate::service::Service;
use crate::service::standing::{Phase, Standing};
use crate::status::{State, Status, WantedWorkload};

/// Reason of a workload that serves while another form of it is prepared.
const UPDATING: &str = "Updating";

/// One workload.
pub(super) struct Item {
    /// Tells it from others that had or get its id.
    pub(super) born: u64,
    pub(super) wanted: WantedWorkload,
    /// The preparation that counts: one that was overtaken is dropped.
    pub(super) attempt: u64,
    /// Cancelled with it.
    attempting: DropGuard,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) took: Duration,
    /// The form that serves.
    pub(super) serving: Option<Serving>,
    /// A form that is prepared and serves with the next table of routes.
    pub(super) incoming: Option<Serving>,
    /// Starts when this one has stopped.
    pub(super) next: Option<WantedWorkload>,
    pub(super) conflicts: Vec<(String, String)>,
    pub(super) metrics: Arc<WorkloadMetrics>,
    pub(super) log: Arc<WorkloadLog>,
}

/// A prepared form of a workload with all that routing needs of it, so that an edit changes handler and domains together or not at all.
pub(super) struct Serving {
    attempt: u64,
    prepared: Prepared,
    /// Its service, from when it was up.
    service: Option<Service>,
    /// Without repetitions; empty: what nobody else claims.
    domains: Vec<Domain>,
    owner: String,
    created: jiff::Timestamp,
    took: Duration,
}

impl Serving {
    fn new((prepared, service): (Prepared, Option<Service>), wanted: &WantedWorkload, attempt: u64, took: Duration) -> Serving {
        let domains: BTreeSet<Domain> = wanted.workload.http.iter().flat_map(|http| http.domains.iter().cloned()).collect();
        Serving {
            attempt,
            prepared,
            service,
            domains: domains.into_iter().collect(),
            owner: wanted.owner.clone(),
            created: wanted.created,
            took,
        }
    }

    pub(super) fn http(&self) -> Option<&Arc<HttpWorkload>> {
        self.prepared.http.as_ref()
    }

    pub(super) fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// How many domains it claims; the default is one.
    fn claims(&self) -> usize {
        self.http().map_or(0, |_| self.domains.len().max(1))
    }

    fn reown(&mut self, wanted: &WantedWorkload) {
        self.owner.clone_from(&wanted.owner);
        self.created = wanted.created;
    }
}

impl Item {
    /// One that starts.
    pub(super) fn new(serial: u64, wanted: WantedWorkload, metrics: Arc<WorkloadMetrics>, log: Arc<WorkloadLog>) -> Item {
        Item {
            born: serial,
            wanted,
            attempt: serial,
            attempting: CancellationToken::new().drop_guard(),
            state: State::Starting,
            reason: String::new(),
            message: String::new(),
            took: Duration::ZERO,
            serving: None,
            incoming: None,
            next: None,
            conflicts: Vec::new(),
            metrics,
            log,
        }
    }

    /// Wants another form of it; the one that serves stays as it is, and says that it isn't the one that is wanted.
    pub(super) fn edit(&mut self, attempt: u64, wanted: WantedWorkload) {
        self.wanted = wanted;
        self.attempts(attempt);
        if self.has_form() {
            UPDATING.clone_into(&mut self.reason);
            "the new version is being prepared".clone_into(&mut self.message);
        } else {
            self.state = State::Starting;
            self.reason.clear();
            self.message.clear();
        }
    }

    /// Takes over owner and age. Says whether routes may change.
    pub(super) fn reown(&mut self, wanted: WantedWorkload) -> bool {
        if self.wanted.owner == wanted.owner && self.wanted.created == wanted.created {
            return false;
        }
        let attempt = self.attempt;
        let current = self.serving.iter_mut().chain(&mut self.incoming).filter(|form| form.attempt == attempt);
        current.for_each(|form| form.reown(&wanted));
        self.wanted = wanted;
        true
    }

    /// Keeps a prepared form until routes are published. Returns one that it overtakes.
    pub(super) fn prepared(&mut self, prepared: Prepared, service: Option<Service>, took: Duration) -> Option<Serving> {
        self.incoming.replace(Serving::new((prepared, service), &self.wanted, self.attempt, took))
    }

    /// Says why the service of the wanted form isn't up yet.
    pub(super) fn comes_up(&mut self, standing: &Standing) {
        if !standing.phase.message().is_empty() {
            self.reason = if self.has_form() { UPDATING } else { standing.phase.reason() }.to_owned();
            standing.phase.message().clone_into(&mut self.message);
        }
    }

    /// What serves goes on serving: a broken replacement takes nothing away.
    pub(super) fn failed(&mut self, reason: &str, message: &str, took: Duration) {
        if !self.has_form() {
            self.state = State::Error;
        }
        (self.reason, self.message, self.took) = (reason.to_owned(), message.to_owned(), took);
    }

    /// Makes the prepared form the one that serves. Returns the form that it replaces.
    pub(super) fn promote(&mut self) -> Option<Serving> {
        let form = self.incoming.take()?;
        self.state = State::Running;
        self.took = form.took;
        self.conflicts.clear();
        if form.attempt == self.attempt {
            self.reason.clear();
            self.message.clear();
        }
        self.serving.replace(form)
    }

    /// Stops: nothing of it serves from the next table of routes on. Returns what served, and what was about to: its service runs too.
    pub(super) fn stop(&mut self, attempt: u64) -> Vec<Serving> {
        self.state = State::Stopping;
        self.attempts(attempt);
        self.next = None;
        self.conflicts.clear();
        self.serving.take().into_iter().chain(self.incoming.take()).collect()
    }

    /// What it asks of the routes, when it serves HTTP.
    pub(super) fn claimant(&self) -> Option<Claimant> {
        let form = self.serving.as_ref()?;
        Some(Claimant { owner: form.owner.clone(), created: form.created, domains: form.domains.clone(), workload: form.http()?.clone() })
    }

    fn attempts(&mut self, attempt: u64) {
        self.attempt = attempt;
        self.attempting = CancellationToken::new().drop_guard();
    }

    /// Cancelled when another preparation counts, or none.
    pub(super) fn overtaken(&self) -> CancellationToken {
        self.attempting.token().clone()
    }

    fn has_form(&self) -> bool {
        self.serving.is_some() || self.incoming.is_some()
    }

    /// Whether requests reach it and its service, if it has one, is there for them.
    fn ready(&self, service: Option<&Standing>) -> bool {
        let claims = self.serving.as_ref().map(Serving::claims);
        claims.is_some_and(|claims| claims == 0 || self.conflicts.len() < claims)
            && service.is_none_or(|standing| standing.phase == Phase::Running)
    }

    pub(super) fn id(&self) -> &WorkloadId {
        &self.wanted.id
    }

    /// State, reason and message. A service that doesn't run says more than an edit that is under way or has failed (L33).
    fn state(&self, service: Option<&Standing>) -> (State, String, String) {
        match service.map(|standing| &standing.phase) {
            Some(phase) if self.state == State::Running && *phase != Phase::Running => {
                (phase.state(), phase.reason().to_owned(), phase.message().to_owned())
            }
            _ => (self.state, self.reason.clone(), self.message.clone()),
        }
    }

    pub(super) fn status(&self) -> Status {
        let service = self.serving.as_ref().and_then(Serving::service).map(Service::standing);
        let (state, reason, message) = self.state(service.as_ref());
        Status {
            id: self.wanted.id.clone(),
            namespace: self.wanted.workload.namespace.clone(),
            name: self.wanted.workload.name.clone(),
            state,
            reason,
            message,
            conflicts: self.conflicts.clone(),
            restarts: service.as_ref().map_or(0, |standing| standing.restarts),
            ready: self.ready(service.as_ref()),
            took: self.took,
            components: self.serving.as_ref().map(|form| form.prepared.components.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::tests::component;

    fn item() -> Item {
        let workload = berth_model::workload::Workload {
            namespace: "default".into(),
            name: "app".into(),
            annotations: std::collections::BTreeMap::new(),
            components: Vec::new(),
            service: None,
            interfaces: Vec::new(),
            volumes: Vec::new(),
            http: None,
        };
        let id = "default-app".parse().unwrap();
        let wanted = WantedWorkload { id, owner: "default/app".into(), created: jiff::Timestamp::UNIX_EPOCH, workload };
        let (component, _logs) = component();
        Item::new(0, wanted, component.metrics.clone(), component.log.clone())
    }

    #[test]
    fn l34_what_a_stop_takes_away_can_be_told_to_end_whether_it_was_published_or_not() {
        let mut item = item();
        let (published, unpublished) = (Service::of_nobody(), Service::of_nobody());
        assert!(item.prepared(Prepared::nothing(), Some(published.0), Duration::ZERO).is_none());
        item.promote();
        assert!(item.prepared(Prepared::nothing(), Some(unpublished.0), Duration::ZERO).is_none());
        let forms = item.stop(1);
        assert!(forms.len() == 2 && forms.iter().all(|form| form.service().is_some()));
        assert!(!published.1.is_cancelled() && !unpublished.1.is_cancelled(), "nobody cut them");
    }

    #[test]
    fn l34_so_can_a_form_that_was_overtaken_before_it_was_published() {
        let mut item = item();
        let (first, second) = (Service::of_nobody(), Service::of_nobody());
        assert!(item.prepared(Prepared::nothing(), Some(first.0), Duration::ZERO).is_none());
        let overtaken = item.prepared(Prepared::nothing(), Some(second.0), Duration::ZERO);
        assert!(overtaken.is_some_and(|form| form.service().is_some() && !first.1.is_cancelled()));
    }
}
