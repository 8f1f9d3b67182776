//! What a person who started the process wants to see: which workload got ready, which didn't and why.
//!
//! [`Observer`] compares what the host says now with what it said before; nothing is told twice.

use std::collections::HashMap;
use std::time::Duration;

use berth_host::{State, Status};
use berth_model::id::WorkloadId;

/// Owners whose last failure is remembered; past it all are forgotten, and may be told once more.
const MAX_FAILURES: usize = 1000;

/// The host's reason for a workload whose service is started again.
const RESTARTING: &str = "ServiceRestarting";

/// One thing worth a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A component was fetched and is ready to be linked.
    Prepared {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// Its name in the workload.
        component: String,
        /// How long compiling took; `None` when it was compiled before, zero when it is compiled as a part of another.
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
    /// The service of a workload failed and is started again.
    Restarting {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// Why, for a person.
        message: String,
    },
    /// The service of a workload runs again.
    Recovered {
        /// `namespace/name` of who it belongs to.
        owner: String,
        /// How often it was started again.
        restarts: u32,
    },
    /// The service of a workload has ended by itself, with success.
    Completed {
        /// `namespace/name` of who it belongs to.
        owner: String,
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
    /// What tells this version of the owner's workloads from earlier ones; all replicas of one version have the same.
    pub(crate) version: String,
    pub(crate) domains: Vec<String>,
    pub(crate) http: bool,
}

/// What changed on the host since the last comparison.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct News {
    /// For people.
    pub(crate) notices: Vec<Notice>,
    /// For the operator: statuses that are new or differ.
    pub(crate) changed: Vec<Status>,
    /// For the operator: workloads that the host has no more.
    pub(crate) gone: Vec<WorkloadId>,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: HashMap<WorkloadId, Seen>,
    /// Versions that have workloads on the host, by owner and version: what all replicas do is told once.
    versions: HashMap<(String, String), Version>,
    /// The last failure told of each owner: retries under new ids fail alike, and are one piece of news.
    failures: HashMap<String, String>,
    /// Counts comparisons, to find what is gone.
    pass: u64,
}

/// A workload, as it was last.
#[derive(Debug)]
struct Seen {
    status: Status,
    version: (String, String),
    pass: u64,
}

/// What was told of one version.
#[derive(Debug, Default)]
struct Version {
    /// Workloads on the host.
    there: usize,
    /// Of those, the ready ones.
    ready: usize,
    /// Components told as prepared.
    prepared: usize,
    /// Domains told as another's, and whose.
    conflicts: Vec<(String, String)>,
    /// Whether it was told as ready.
    greeted: bool,
    /// Whether it was told that a service is started again, and not that one runs again.
    restarting: bool,
    /// Whether it was told that a service has completed.
    completed: bool,
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

    /// What is new in `statuses`, which are all. `belonging` is asked only about those that changed.
    pub(crate) fn compare(&mut self, statuses: Vec<Status>, belonging: impl Fn(&Status) -> Belonging) -> News {
        let mut news = News::default();
        self.pass += 1;
        for status in statuses {
            match self.seen.get_mut(&status.id) {
                Some(seen) if seen.status == status => seen.pass = self.pass,
                _ => {
                    self.one(&status, belonging(&status), &mut news.notices);
                    news.changed.push(status);
                }
            }
        }
        let pass = self.pass;
        for (id, seen) in self.seen.extract_if(|_, seen| seen.pass != pass).collect::<Vec<_>>() {
            self.leave(&seen);
            news.gone.push(id);
        }
        news
    }

    fn one(&mut self, now: &Status, belongs: Belonging, notices: &mut Vec<Notice>) {
        let Belonging { owner, version, domains, http } = belongs;
        let before = self.seen.remove(&now.id);
        let was_ready = before.as_ref().is_some_and(|b| b.status.ready);
        let was_failed = before.as_ref().is_some_and(|b| b.status.state == State::Error && b.status.message == now.message);
        let had = before.as_ref().map_or(0, |b| b.status.components.len());
        let is_new = before.is_none();
        // One that is wanted no more belongs to whom it belonged.
        let key = before.map_or_else(|| (owner.clone(), version), |b| b.version);
        let told = self.versions.entry(key.clone()).or_default();
        told.there += usize::from(is_new);
        for component in now.components.iter().skip(had.max(told.prepared)) {
            notices.push(Notice::Prepared {
                owner: owner.clone(),
                component: component.name.clone(),
                compiled: (!component.cached).then_some(component.compiled),
            });
        }
        told.prepared = told.prepared.max(now.components.len());
        told.conflicts.retain(|told| !was_ready || now.conflicts.contains(told));
        for conflict in &now.conflicts {
            if !told.conflicts.contains(conflict) {
                told.conflicts.push(conflict.clone());
                let (domain, holder) = conflict.clone();
                notices.push(Notice::Conflict { owner: owner.clone(), domain, holder });
            }
        }
        if now.ready && !was_ready {
            told.ready += 1;
            self.failures.remove(&owner);
            if told.greeted && now.restarts > 0 && std::mem::take(&mut told.restarting) {
                notices.push(Notice::Recovered { owner, restarts: now.restarts });
            } else if told.ready == 1 {
                (told.greeted, told.restarting) = (true, false);
                let domains = domains.into_iter().filter(|d| !now.conflicts.iter().any(|(c, _)| c.as_str() == d)).collect();
                notices.push(Notice::Ready { owner, took: now.took, domains, http });
            }
        } else if was_ready && !now.ready {
            told.ready = told.ready.saturating_sub(1);
        }
        if now.state == State::Starting && now.reason == RESTARTING && !std::mem::replace(&mut told.restarting, true) {
            notices.push(Notice::Restarting { owner: key.0.clone(), message: now.message.clone() });
        }
        if now.state == State::Completed && !std::mem::replace(&mut told.completed, true) {
            notices.push(Notice::Completed { owner: key.0.clone() });
        }
        if now.state == State::Error && !now.ready && !was_failed {
            self.failed(&key.0, now, notices);
        }
        self.seen.insert(now.id.clone(), Seen { status: now.clone(), version: key, pass: self.pass });
    }

    fn failed(&mut self, owner: &str, now: &Status, notices: &mut Vec<Notice>) {
        if self.failures.get(owner) == Some(&now.message) {
            return;
        }
        if self.failures.len() >= MAX_FAILURES {
            self.failures.clear();
        }
        self.failures.insert(owner.to_owned(), now.message.clone());
        notices.push(Notice::Failed { owner: owner.to_owned(), reason: now.reason.clone(), message: now.message.clone() });
    }

    fn leave(&mut self, gone: &Seen) {
        let Some(version) = self.versions.get_mut(&gone.version) else { return };
        version.there = version.there.saturating_sub(1);
        version.ready = version.ready.saturating_sub(usize::from(gone.status.ready));
        if version.there == 0 {
            self.versions.remove(&gone.version);
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
        Belonging { owner: "default/hello".into(), version: "1".into(), domains: vec!["a.test".into()], http: true }
    }

    #[test]
    fn getting_ready_is_told_once() {
        let mut observer = Observer::default();
        assert!(observer.compare(vec![status("1", State::Starting, false, "")], belonging).notices.is_empty());
        let ready = observer.compare(vec![status("1", State::Running, true, "")], belonging).notices;
        assert!(matches!(ready.as_slice(), [Notice::Ready { domains, .. }] if domains == &["a.test"]), "{ready:?}");
        assert!(observer.compare(vec![status("1", State::Running, true, "")], belonging) == News::default());
    }

    #[test]
    fn a_failure_that_repeats_under_a_new_id_is_told_once_and_again_after_a_success() {
        let mut observer = Observer::default();
        let failed = |id| vec![status(id, State::Error, false, "no such file")];
        assert_eq!(observer.compare(failed("1"), belonging).notices.len(), 1);
        assert_eq!(observer.compare(failed("2"), belonging).notices, []);
        assert_eq!(observer.compare(vec![status("3", State::Running, true, "")], belonging).notices.len(), 1);
        assert_eq!(observer.compare(failed("4"), belonging).notices.len(), 1);
    }

    #[test]
    fn a_failure_of_a_name_that_was_deleted_and_applied_again_is_told_again() {
        let mut observer = Observer::default();
        let failed = |id| vec![status(id, State::Error, false, "no such file")];
        assert_eq!(observer.compare(failed("1"), belonging).notices.len(), 1);
        observer.forget("default/hello");
        assert_eq!(observer.compare(failed("1"), belonging).notices, [], "its host hasn't let go of it yet, which is no news");
        assert_eq!(observer.compare(Vec::new(), belonging).notices, []);
        assert_eq!(observer.compare(failed("2"), belonging).notices.len(), 1);
        assert_eq!(observer.compare(Vec::new(), belonging).notices, []);
        assert_eq!(observer.compare(failed("3"), belonging).notices, [], "a retry, with a pause before it");
    }

    #[test]
    fn failures_that_are_remembered_are_bounded() {
        let mut observer = Observer::default();
        for n in 0..3 * MAX_FAILURES {
            let owned = |_: &Status| Belonging { owner: format!("default/app-{n}"), ..Belonging::default() };
            assert_eq!(observer.compare(vec![status(&n.to_string(), State::Error, false, "no such file")], owned).notices.len(), 1);
        }
        assert!(observer.failures.len() <= MAX_FAILURES);
    }

    #[test]
    fn a_domain_that_is_anothers_is_told_and_not_given_as_an_address() {
        let mut observer = Observer::default();
        let mut now = status("1", State::Running, true, "");
        now.conflicts.push(("a.test".parse().unwrap(), "default/older".into()));
        let notices = observer.compare(vec![now], belonging).notices;
        assert!(matches!(&notices[0], Notice::Conflict { holder, .. } if holder == "default/older"));
        assert!(matches!(&notices[1], Notice::Ready { domains, .. } if domains.is_empty()));
    }

    #[test]
    fn getting_ready_is_told_once_for_all_replicas_of_a_version_and_again_for_the_next() {
        let of = |status: &Status| Belonging { version: status.message.clone(), ..belonging(status) };
        let replicas = |version: &str, ids: std::ops::Range<u32>| -> Vec<_> {
            ids.map(|id| status(&format!("{version}-{id}"), State::Running, true, version)).collect()
        };
        let mut observer = Observer::default();
        let news = observer.compare(replicas("v1", 0..500), of);
        assert_eq!((news.notices.len(), news.changed.len()), (1, 500));
        assert_eq!(observer.compare(replicas("v1", 0..1000), of).notices, []);
        let both = [replicas("v1", 0..1000), replicas("v2", 0..10)].concat();
        assert_eq!(observer.compare(both, of).notices.len(), 1);
        let news = observer.compare(replicas("v2", 0..10), of);
        assert_eq!((news.notices.len(), news.gone.len()), (0, 1000));
        assert_eq!(observer.versions.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn a_component_is_told_as_prepared_once_for_all_replicas() {
        let prepared = |id: &str| {
            let component = berth_host::ComponentStatus {
                name: "main".into(),
                digest: berth_model::digest::Digest::of(b"a"),
                compiled: Duration::ZERO,
                cached: true,
            };
            Status { components: vec![component], ..status(id, State::Running, true, "") }
        };
        let mut observer = Observer::default();
        assert_eq!(observer.compare(vec![prepared("1"), prepared("2")], belonging).notices.len(), 2, "prepared, and ready");
    }

    #[test]
    fn what_is_gone_is_told_once_and_what_stays_is_not_told_again() {
        let mut observer = Observer::default();
        let now = vec![status("a", State::Running, true, ""), status("b", State::Stopping, false, "")];
        assert_eq!(observer.compare(now.clone(), belonging).changed, now);
        let news = observer.compare(now[..1].to_vec(), belonging);
        assert_eq!((news.changed, news.gone), (Vec::new(), vec!["b".parse().unwrap()]));
        assert_eq!(observer.compare(now[..1].to_vec(), belonging), News::default());
        assert_eq!(observer.compare(now.clone(), belonging).changed, now[1..]);
    }

    #[test]
    fn l33_a_service_that_fails_and_comes_back_is_told_once_for_all_replicas_and_the_address_only_at_first() {
        let mut observer = Observer::default();
        let phase = |id: &str, state, restarts, reason: &str| Status {
            restarts,
            reason: reason.to_owned(),
            ..status(id, state, state == State::Running, "")
        };
        let all = |state, restarts, reason: &str| ["1", "2"].map(|id| phase(id, state, restarts, reason)).to_vec();
        let mut told = |statuses| observer.compare(statuses, belonging).notices;
        let restarting = |notices: &[Notice]| matches!(notices, [Notice::Restarting { .. }]);
        assert!(restarting(&told(all(State::Starting, 0, RESTARTING))));
        assert!(matches!(told(all(State::Running, 1, ""))[..], [Notice::Ready { .. }]));
        assert!(told(all(State::Running, 1, "")).is_empty());
        assert!(restarting(&told(all(State::Starting, 1, RESTARTING))));
        let recovered = told(all(State::Running, 2, ""));
        assert!(matches!(recovered[..], [Notice::Recovered { restarts: 2, .. }]), "{recovered:?}");
        assert!(matches!(told(all(State::Completed, 2, "ServiceCompleted"))[..], [Notice::Completed { .. }]));
    }
}
