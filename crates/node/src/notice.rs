//! What a person who started the process wants to see: which workload got ready, which didn't and why.
//!
//! [`Observer`] compares what the host says now with what it said before; nothing is told twice.

use std::collections::HashMap;
use std::time::Duration;

use berth_host::{State, Status};
use berth_model::id::WorkloadId;

/// Owners whose last failure is remembered; past it all are forgotten, and may be told once more.
const MAX_FAILURES: usize = 1000;

/// One thing worth a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A component was fetched and is ready to be linked.
    Prepared {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// Its name in the workload.
        component: String,
        /// How long compiling took; `None` when it was compiled before.
        compiled: Option<Duration>,
    },
    /// A workload is in the route.
    Ready {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// How long its start took.
        took: Duration,
        /// Domains it serves; none: it serves what no other claims.
        domains: Vec<String>,
        /// Whether it answers HTTP.
        http: bool,
    },
    /// A workload doesn't run.
    Failed {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// Why, in one CamelCase word.
        reason: String,
        /// Why, for a person.
        message: String,
    },
    /// A workload waits for something that it refers to.
    Waiting {
        /// `namespace/name` of the object.
        owner: String,
        /// Why, in one CamelCase word.
        reason: String,
        /// Why, for a person.
        message: String,
    },
    /// A domain is another's.
    Conflict {
        /// `namespace/name` of who wants it.
        owner: String,
        /// The domain.
        domain: String,
        /// `namespace/name` of who has it.
        holder: String,
    },
}

/// Who a workload belongs to, and how it is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Belonging {
    pub(crate) owner: String,
    pub(crate) domains: Vec<String>,
    pub(crate) http: bool,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: HashMap<WorkloadId, Status>,
    /// The last failure told of each owner: retries under new ids fail alike, and are one piece of news.
    failures: HashMap<String, String>,
}

impl Observer {
    /// Forgets the failure of an owner that is deleted: should the name come again and fail again, that is news.
    pub(crate) fn forget(&mut self, owner: &str) {
        self.failures.remove(owner);
    }

    /// Forgets every failure: who was deleted isn't known.
    pub(crate) fn forget_all(&mut self) {
        self.failures.clear();
    }

    /// What is new in `statuses`.
    pub(crate) fn compare(&mut self, statuses: Vec<Status>, belonging: impl Fn(&Status) -> Belonging) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut seen = HashMap::with_capacity(statuses.len());
        for status in statuses {
            let belongs = belonging(&status);
            let before = self.seen.remove(&status.id);
            self.one(before.as_ref(), &status, belongs, &mut notices);
            seen.insert(status.id.clone(), status);
        }
        self.seen = seen;
        notices
    }

    fn one(&mut self, before: Option<&Status>, now: &Status, belongs: Belonging, notices: &mut Vec<Notice>) {
        let Belonging { owner, domains, http } = belongs;
        for component in now.components.iter().skip(before.map_or(0, |b| b.components.len())) {
            notices.push(Notice::Prepared {
                owner: owner.clone(),
                component: component.name.clone(),
                compiled: (!component.cached).then_some(component.compiled),
            });
        }
        for (domain, holder) in &now.conflicts {
            if before.is_none_or(|b| !b.conflicts.iter().any(|(d, h)| d == domain && h == holder)) {
                notices.push(Notice::Conflict { owner: owner.clone(), domain: domain.to_string(), holder: holder.clone() });
            }
        }
        if now.ready && before.is_none_or(|b| !b.ready) {
            self.failures.remove(&owner);
            let domains = domains.into_iter().filter(|d| !now.conflicts.iter().any(|(c, _)| c.as_str() == d)).collect();
            notices.push(Notice::Ready { owner, took: now.took, domains, http });
        } else if now.state == State::Error
            && before.is_none_or(|b| b.state != State::Error || b.message != now.message)
            && self.failures.get(&owner) != Some(&now.message)
        {
            if self.failures.len() >= MAX_FAILURES {
                self.failures.clear();
            }
            self.failures.insert(owner.clone(), now.message.clone());
            notices.push(Notice::Failed { owner, reason: now.reason.clone(), message: now.message.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(id: &str, state: State, ready: bool, message: &str) -> Status {
        Status {
            id: id.parse().unwrap(),
            namespace: "default".into(),
            name: "hello-1".into(),
            state,
            reason: String::new(),
            message: message.into(),
            conflicts: Vec::new(),
            restarts: 0,
            ready,
            took: Duration::from_millis(5),
            components: Vec::new(),
        }
    }

    fn belonging(_: &Status) -> Belonging {
        Belonging { owner: "default/hello".into(), domains: vec!["a.test".into()], http: true }
    }

    #[test]
    fn getting_ready_is_told_once() {
        let mut observer = Observer::default();
        assert!(observer.compare(vec![status("1", State::Starting, false, "")], belonging).is_empty());
        let ready = observer.compare(vec![status("1", State::Running, true, "")], belonging);
        assert!(matches!(ready.as_slice(), [Notice::Ready { domains, .. }] if domains == &["a.test"]), "{ready:?}");
        assert!(observer.compare(vec![status("1", State::Running, true, "")], belonging).is_empty());
    }

    #[test]
    fn a_failure_that_repeats_under_a_new_id_is_told_once_and_again_after_a_success() {
        let mut observer = Observer::default();
        let failed = |id| vec![status(id, State::Error, false, "no such file")];
        assert_eq!(observer.compare(failed("1"), belonging).len(), 1);
        assert_eq!(observer.compare(failed("2"), belonging), []);
        assert_eq!(observer.compare(vec![status("3", State::Running, true, "")], belonging).len(), 1);
        assert_eq!(observer.compare(failed("4"), belonging).len(), 1);
    }

    #[test]
    fn a_failure_of_a_name_that_was_deleted_and_applied_again_is_told_again() {
        let mut observer = Observer::default();
        let failed = |id| vec![status(id, State::Error, false, "no such file")];
        assert_eq!(observer.compare(failed("1"), belonging).len(), 1);
        observer.forget("default/hello");
        assert_eq!(observer.compare(failed("1"), belonging), [], "its host hasn't let go of it yet, which is no news");
        assert_eq!(observer.compare(Vec::new(), belonging), []);
        assert_eq!(observer.compare(failed("2"), belonging).len(), 1);
        assert_eq!(observer.compare(Vec::new(), belonging), []);
        assert_eq!(observer.compare(failed("3"), belonging), [], "a retry, with a pause before it");
    }

    #[test]
    fn failures_that_are_remembered_are_bounded() {
        let mut observer = Observer::default();
        for n in 0..3 * MAX_FAILURES {
            let owned = |_: &Status| Belonging { owner: format!("default/app-{n}"), ..Belonging::default() };
            assert_eq!(observer.compare(vec![status(&n.to_string(), State::Error, false, "no such file")], owned).len(), 1);
        }
        assert!(observer.failures.len() <= MAX_FAILURES);
    }

    #[test]
    fn a_domain_that_is_anothers_is_told_and_not_given_as_an_address() {
        let mut observer = Observer::default();
        let mut now = status("1", State::Running, true, "");
        now.conflicts.push(("a.test".parse().unwrap(), "default/older".into()));
        let notices = observer.compare(vec![now], belonging);
        assert!(matches!(&notices[0], Notice::Conflict { holder, .. } if holder == "default/older"));
        assert!(matches!(&notices[1], Notice::Ready { domains, .. } if domains.is_empty()));
    }
}
