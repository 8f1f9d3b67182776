//! One workload as the supervisor knows it: what is wanted of it, what of it serves, and how both look from outside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use berth_model::domain::Domain;
use berth_model::id::WorkloadId;

use crate::logs::WorkloadLog;
use crate::metrics::WorkloadMetrics;
use crate::prepare::{HttpWorkload, Prepared};
use crate::routes::Claimant;
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
    /// Without repetitions; empty: what nobody else claims.
    domains: Vec<Domain>,
    owner: String,
    created: jiff::Timestamp,
    took: Duration,
}

impl Serving {
    fn new(prepared: Prepared, wanted: &WantedWorkload, attempt: u64, took: Duration) -> Serving {
        let domains: BTreeSet<Domain> = wanted.workload.http.iter().flat_map(|http| http.domains.iter().cloned()).collect();
        Serving { attempt, prepared, domains: domains.into_iter().collect(), owner: wanted.owner.clone(), created: wanted.created, took }
    }

    pub(super) fn http(&self) -> Option<&Arc<HttpWorkload>> {
        self.prepared.http.as_ref()
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
        self.attempt = attempt;
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

    /// Keeps a prepared form until routes are published.
    pub(super) fn prepared(&mut self, prepared: Prepared, took: Duration) {
        self.incoming = Some(Serving::new(prepared, &self.wanted, self.attempt, took));
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

    /// Stops: nothing of it serves from the next table of routes on. Returns what served.
    pub(super) fn stop(&mut self, attempt: u64) -> Option<Serving> {
        self.state = State::Stopping;
        self.attempt = attempt;
        self.incoming = None;
        self.next = None;
        self.conflicts.clear();
        self.serving.take()
    }

    /// What it asks of the routes, when it serves HTTP.
    pub(super) fn claimant(&self) -> Option<Claimant> {
        let form = self.serving.as_ref()?;
        Some(Claimant { owner: form.owner.clone(), created: form.created, domains: form.domains.clone(), workload: form.http()?.clone() })
    }

    fn has_form(&self) -> bool {
        self.serving.is_some() || self.incoming.is_some()
    }

    fn ready(&self) -> bool {
        let claims = self.serving.as_ref().map(Serving::claims);
        claims.is_some_and(|claims| claims == 0 || self.conflicts.len() < claims)
    }

    pub(super) fn id(&self) -> &WorkloadId {
        &self.wanted.id
    }

    pub(super) fn status(&self) -> Status {
        Status {
            id: self.wanted.id.clone(),
            namespace: self.wanted.workload.namespace.clone(),
            name: self.wanted.workload.name.clone(),
            state: self.state,
            reason: self.reason.clone(),
            message: self.message.clone(),
            conflicts: self.conflicts.clone(),
            restarts: 0,
            ready: self.ready(),
            took: self.took,
            components: self.serving.as_ref().map(|form| form.prepared.components.clone()).unwrap_or_default(),
        }
    }
}
