//! Conditions that are copied only when they change, so that a plan of an unchanged world allocates and writes nothing (L17).

use berth_model::condition::{self, Condition, ConditionStatus};
use jiff::Timestamp;

/// The conditions of one object, as they were and as they are to be.
pub(super) struct Draft<'a> {
    old: &'a [Condition],
    new: Option<Vec<Condition>>,
    generation: i64,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    pub(super) fn new(old: &'a [Condition], generation: i64, now: Timestamp) -> Draft<'a> {
        Draft { old, new: None, generation, now }
    }

    /// Says how one condition is to be.
    pub(super) fn set(&mut self, kind: &str, status: ConditionStatus, reason: &str, message: &str) {
        let current = condition::find(self.new.as_deref().unwrap_or(self.old), kind);
        let same =
            |c: &Condition| c.status == status && c.observed_generation == self.generation && c.reason == reason && c.message == message;
        if current.is_some_and(same) {
            return;
        }
        let wanted = Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: None,
            observed_generation: self.generation,
        };
        condition::set(self.new.get_or_insert_with(|| self.old.to_vec()), wanted, self.now);
    }

    /// `True` or `False`, each with its reason and message.
    pub(super) fn set_if(&mut self, kind: &str, holds: bool, yes: (&str, &str), no: (&str, &str)) {
        let (status, (reason, message)) = if holds { (ConditionStatus::True, yes) } else { (ConditionStatus::False, no) };
        self.set(kind, status, reason, message);
    }

    /// The new conditions if any differs.
    pub(super) fn finish(self) -> Option<Vec<Condition>> {
        self.new
    }
}
