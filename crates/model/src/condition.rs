//! Conditions: what a status says, in Kubernetes' shape.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is so, isn't, or isn't known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about: `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one CamelCase word.
    #[serde(default)]
    pub reason: String,
    /// Why, for a person, and what to do next.
    #[serde(default)]
    pub message: String,
    /// When `status` changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<jiff::Timestamp>,
    /// The generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It doesn't.
    False,
    /// Nobody knows, yet or any more.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        })
    }
}

/// The condition of type `kind`, if there is one.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.kind == kind)
}

/// Whether the condition of type `kind` is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|c| c.status == ConditionStatus::True)
}

/// Puts `new` in the place of the condition of its type, or at the end. The transition time of an equal status is kept, so
/// that an unchanged condition compares equal and isn't written again (L17).
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition, now: jiff::Timestamp) {
    match conditions.iter_mut().find(|c| c.kind == new.kind) {
        Some(old) => {
            new.last_transition_time = if old.status == new.status { old.last_transition_time.or(Some(now)) } else { Some(now) };
            *old = new;
        }
        None => {
            new.last_transition_time = Some(now);
            conditions.push(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: ConditionStatus, message: &str) -> Condition {
        let (reason, message) = ("Test".to_owned(), message.to_owned());
        Condition { kind: "Ready".into(), status, reason, message, last_transition_time: None, observed_generation: 1 }
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn l17_setting_an_equal_condition_again_changes_nothing() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(ConditionStatus::True, "up"), at(1));
        let before = conditions.clone();
        set(&mut conditions, ready(ConditionStatus::True, "up"), at(2));
        assert_eq!(conditions, before);
    }

    #[test]
    fn only_a_changed_status_is_a_transition() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(ConditionStatus::True, "up"), at(1));
        set(&mut conditions, ready(ConditionStatus::True, "still up"), at(2));
        assert_eq!(find(&conditions, "Ready").unwrap().last_transition_time, Some(at(1)));
        assert_eq!(find(&conditions, "Ready").unwrap().message, "still up");
        set(&mut conditions, ready(ConditionStatus::False, "down"), at(3));
        assert_eq!(find(&conditions, "Ready").unwrap().last_transition_time, Some(at(3)));
        assert!(!is_true(&conditions, "Ready") && !is_true(&conditions, "Sync"));
        assert_eq!(conditions.len(), 1);
    }
}
