//! How one version follows another: numbers only.
//!
//! A rolling update keeps as many replicas ready as are wanted and has one more than wanted at most, as Kubernetes with
//! `maxSurge: 1, maxUnavailable: 0`. So a broken version gets one replica and stops there, and a third version takes the place of
//! the broken one, never of the one that serves (L07).

use berth_model::resource::DeployPolicy;

/// Replicas of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Wanted until now.
    pub(super) wanted: i32,
    /// Ready.
    pub(super) ready: i32,
    /// There, those on their way out included.
    pub(super) there: i32,
}

/// What each version is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) current: i32,
    /// In the order of the versions given.
    pub(super) old: Vec<i32>,
}

/// The next step towards `wanted` replicas of `current` and none of `old`, which is sorted from the oldest to the latest.
pub(super) fn step(policy: DeployPolicy, wanted: i32, current: Version, old: &[Version]) -> Targets {
    match policy {
        DeployPolicy::RollingUpdate => rolling(wanted, current, old),
        DeployPolicy::Recreate => {
            let gone = old.iter().all(|v| v.there == 0);
            Targets { current: if gone { wanted } else { current.wanted.min(wanted) }, old: vec![0; old.len()] }
        }
    }
}

fn rolling(wanted: i32, current: Version, old: &[Version]) -> Targets {
    let before: Vec<i32> = old.iter().map(|v| v.wanted).collect();
    let total = sum(current.wanted, before.iter().copied());
    let room = wanted.saturating_add(1).saturating_sub(total).max(0);
    let grown = if before.iter().all(|&w| w == 0) { wanted } else { current.wanted.saturating_add(room).min(wanted) };

    let mut targets = Targets { current: grown, old: before };
    // What doesn't serve goes first, but so many stay as are wanted: old replicas that are down for a moment come back, and
    // the new ones aren't there yet.
    let unready_current = (current.wanted - current.ready).max(0);
    let mut spare = total.saturating_sub(wanted).saturating_sub(unready_current).max(0);
    for (target, version) in targets.old.iter_mut().zip(old).rev() {
        let down = (version.wanted - version.ready).clamp(0, spare);
        *target -= down;
        spare -= down;
    }
    // Then what serves, the oldest first, while enough serve.
    let ready = sum(current.ready, old.iter().map(|v| v.ready.min(v.wanted)));
    let mut excess = (ready - wanted).max(0);
    for (target, version) in targets.old.iter_mut().zip(old) {
        let down = version.ready.clamp(0, excess).min(*target);
        *target -= down;
        excess -= down;
    }
    targets
}

/// Numbers that were stored before there was a bound on them must not end the process.
fn sum(first: i32, rest: impl Iterator<Item = i32>) -> i32 {
    rest.fold(first, i32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(wanted: i32, ready: i32) -> Version {
        Version { wanted, ready, there: wanted }
    }

    fn rolling(wanted: i32, current: Version, old: &[Version]) -> Targets {
        step(DeployPolicy::RollingUpdate, wanted, current, old)
    }

    #[test]
    fn a_rolling_update_adds_one_and_removes_one_when_it_is_ready() {
        assert_eq!(rolling(2, version(0, 0), &[version(2, 2)]), Targets { current: 1, old: vec![2] });
        assert_eq!(rolling(2, version(1, 0), &[version(2, 2)]), Targets { current: 1, old: vec![2] });
        assert_eq!(rolling(2, version(1, 1), &[version(2, 2)]), Targets { current: 1, old: vec![1] });
        assert_eq!(rolling(2, version(1, 1), &[version(1, 1)]), Targets { current: 2, old: vec![1] });
        assert_eq!(rolling(2, version(2, 2), &[version(1, 1)]), Targets { current: 2, old: vec![0] });
    }

    #[test]
    fn l07_a_second_rollout_takes_the_place_of_the_broken_first_one() {
        let (healthy, broken) = (version(3, 3), version(1, 0));
        assert_eq!(rolling(3, version(0, 0), &[healthy, broken]), Targets { current: 0, old: vec![3, 0] });
        assert_eq!(rolling(3, version(0, 0), &[healthy, version(0, 0)]), Targets { current: 1, old: vec![3, 0] });
    }

    #[test]
    fn l07_old_replicas_that_are_down_for_a_moment_stay_while_the_new_one_is_broken() {
        assert_eq!(rolling(3, version(1, 0), &[version(3, 0)]), Targets { current: 1, old: vec![3] });
    }

    #[test]
    fn numbers_beyond_all_bounds_dont_overflow() {
        let huge = version(i32::MAX, 0);
        assert_eq!(rolling(i32::MAX, huge, &[huge, huge]).current, i32::MAX);
        assert_eq!(rolling(i32::MAX, version(0, 0), &[]).current, i32::MAX);
    }

    #[test]
    fn recreate_starts_the_new_version_when_the_old_one_is_gone() {
        let leaving = Version { wanted: 0, ready: 0, there: 1 };
        assert_eq!(step(DeployPolicy::Recreate, 2, version(0, 0), &[version(2, 2)]), Targets { current: 0, old: vec![0] });
        assert_eq!(step(DeployPolicy::Recreate, 2, version(0, 0), &[leaving]), Targets { current: 0, old: vec![0] });
        assert_eq!(step(DeployPolicy::Recreate, 2, version(0, 0), &[version(0, 0)]), Targets { current: 2, old: vec![0] });
    }

    fn versions() -> impl Strategy<Value = Version> {
        (0..6i32, 0..6i32).prop_map(|(wanted, ready)| version(wanted, ready.min(wanted)))
    }

    proptest! {
        #[test]
        fn l07_a_step_never_goes_below_the_ready_replicas_that_are_wanted(
            wanted in 0..6i32, current in versions(), old in proptest::collection::vec(versions(), 0..4)
        ) {
            let targets = rolling(wanted, current, &old);
            let ready = current.ready + old.iter().map(|v| v.ready).sum::<i32>();
            // The worst case: each version keeps the unready ones and loses the ready ones last.
            let left = current.ready.min(targets.current) + targets.old.iter().zip(&old).map(|(t, v)| v.ready.min(*t)).sum::<i32>();
            prop_assert!(left >= wanted.min(ready), "{targets:?}");
            prop_assert!(targets.current <= wanted);
            prop_assert!(targets.old.iter().zip(&old).all(|(t, v)| (0..=v.wanted).contains(t)));
        }

        #[test]
        fn a_rollout_of_a_healthy_version_ends(wanted in 0..6i32, current in versions(), old in proptest::collection::vec(versions(), 0..4)) {
            let (mut current, mut old) = (current, old);
            for _ in 0..64 {
                let targets = rolling(wanted, current, &old);
                current = version(targets.current, targets.current);
                old = targets.old.iter().zip(&old).map(|(&t, v)| version(t, v.ready.min(t))).collect();
            }
            prop_assert_eq!(current.wanted, wanted);
            prop_assert!(old.iter().all(|v| v.wanted == 0));
        }
    }
}
