//! The writes of a plan: at most one per object, each with the event that tells of it.

use std::collections::HashSet;

use berth_model::event::{Event, Severity};
use berth_model::resource::{ObjectKey, ObjectMeta, Resource};
use jiff::Timestamp;

/// One write, and what to tell when it has succeeded.
#[derive(Clone, Debug)]
pub struct Write {
    /// What to write.
    pub action: Action,
    /// What happened with it.
    pub events: Vec<Event>,
}

/// What to write.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make the object.
    Create(Resource),
    /// Replace spec and metadata of the version that the plan saw.
    Update(Resource),
    /// Replace the status of the version that the plan saw.
    UpdateStatus(Resource),
    /// Delete the object.
    Delete(ObjectKey),
}

/// Collects writes.
pub(super) struct Writes<'a> {
    now: Timestamp,
    list: Vec<Write>,
    touched: HashSet<&'a str>,
}

impl<'a> Writes<'a> {
    pub(super) fn new(now: Timestamp) -> Writes<'a> {
        Writes { now, list: Vec::new(), touched: HashSet::new() }
    }

    /// Whether this plan writes the object already; what else it needs waits for the next plan.
    pub(super) fn touches(&self, meta: &ObjectMeta) -> bool {
        self.touched.contains(meta.uid.as_str())
    }

    pub(super) fn create(&mut self, resource: Resource, events: Vec<Event>) {
        self.list.push(Write { action: Action::Create(resource), events });
    }

    pub(super) fn update(&mut self, seen: &'a ObjectMeta, resource: Resource, events: Vec<Event>) {
        if self.touched.insert(&seen.uid) {
            self.list.push(Write { action: Action::Update(resource), events });
        }
    }

    pub(super) fn status(&mut self, seen: &'a ObjectMeta, resource: Resource, events: Vec<Event>) {
        if self.touched.insert(&seen.uid) {
            self.list.push(Write { action: Action::UpdateStatus(resource), events });
        }
    }

    pub(super) fn delete(&mut self, seen: &'a ObjectMeta, key: ObjectKey, events: Vec<Event>) {
        if self.touched.insert(&seen.uid) {
            self.list.push(Write { action: Action::Delete(key), events });
        }
    }

    /// An event about the object under `key`.
    pub(super) fn event(&self, key: ObjectKey, severity: Severity, reason: &str, message: String) -> Event {
        let ObjectKey { kind, namespace, name } = key;
        Event { time: self.now, severity, reason: reason.to_owned(), kind, namespace, name, message, count: 1 }
    }

    pub(super) fn into_list(self) -> Vec<Write> {
        self.list
    }
}
