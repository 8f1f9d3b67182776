//! Whether a service that ended badly is started again, and when: a decision over times and a draw, apart from clocks and tasks.
//!
//! The wait doubles with each restart within the window, up to a longest one, and a service that was restarted as often as it may be
//! within the window is given up. One that ran well for a whole window begins anew.

use std::collections::VecDeque;
use std::time::Duration;

/// Bounds of restarts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Policy {
    /// Restarts within the window; 0: none.
    pub(crate) most: u64,
    pub(crate) window: Duration,
    /// Wait before the first restart.
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// What becomes of a service that ended badly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// It is started again after this wait, as the so-many-th restart of the window.
    Restart(Duration, u64),
    GiveUp,
}

/// The restarts within the window, the oldest first. There are few however many are allowed, for the waits between them grow: with
/// the defaults 48 fit into a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<Duration>);

impl History {
    /// Decides after an end at `now`, a time since any fixed moment, and remembers the restart. `draw` is from 0 to 1: services that
    /// fell together don't rise together.
    pub(crate) fn ended(&mut self, policy: &Policy, now: Duration, draw: f64) -> Decision {
        while self.0.front().is_some_and(|restart| now.saturating_sub(*restart) >= policy.window) {
            self.0.pop_front();
        }
        let before = self.0.len() as u64;
        if before >= policy.most {
            return Decision::GiveUp;
        }
        let wait = wait(policy, before, draw);
        self.0.push_back(now.saturating_add(wait));
        Decision::Restart(wait, before + 1)
    }
}

/// Half of the doubled wait for sure, the other half by the draw.
fn wait(policy: &Policy, before: u64, draw: f64) -> Duration {
    let doublings = u32::try_from(before).unwrap_or(u32::MAX);
    let full = policy.first.saturating_mul(2_u32.saturating_pow(doublings)).min(policy.longest);
    full / 2 + (full / 2).mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(most: u64) -> Policy {
        Policy { most, window: 600 * SECOND, first: SECOND / 5, longest: 30 * SECOND }
    }

    #[test]
    fn l33_waits_double_and_what_failed_too_often_is_given_up() {
        let (mut history, mut now) = (History::default(), Duration::ZERO);
        let mut waits = Vec::new();
        while let Decision::Restart(wait, number) = history.ended(&policy(5), now, 1.0) {
            waits.push(wait.as_millis());
            assert_eq!(number, waits.len() as u64);
            now += wait;
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200]);
        assert_eq!(History::default().ended(&policy(0), now, 1.0), Decision::GiveUp, "none is allowed");
    }

    #[test]
    fn l33_a_service_that_ran_for_a_window_begins_anew() {
        let mut history = History::default();
        assert!(matches!(history.ended(&policy(1), Duration::ZERO, 0.0), Decision::Restart(_, 1)));
        assert_eq!(history.clone().ended(&policy(1), 600 * SECOND, 0.0), Decision::GiveUp, "its restart came after its end");
        assert!(matches!(history.ended(&policy(1), 601 * SECOND, 0.0), Decision::Restart(_, 1)));
    }

    proptest! {
        #[test]
        fn l33_no_window_sees_more_restarts_than_allowed_and_no_wait_is_out_of_bounds(
            most in 0_u64..20,
            (window, first, longest) in (1_u64..5_000, 1_u64..500, 1_u64..5_000),
            runs in proptest::collection::vec((0_u64..3_000, 0.0_f64..=1.0), 1..60),
        ) {
            let ms = Duration::from_millis;
            let policy = Policy { most, window: ms(window), first: ms(first), longest: ms(longest) };
            let (mut history, mut now, mut restarts) = (History::default(), Duration::ZERO, Vec::new());
            for (ran, draw) in runs {
                now += ms(ran);
                let Decision::Restart(wait, number) = history.ended(&policy, now, draw) else {
                    let recent = restarts.iter().filter(|restart| now - **restart < policy.window).count() as u64;
                    prop_assert_eq!(recent, most, "given up too soon or too late");
                    break;
                };
                prop_assert!(wait >= policy.first.min(policy.longest) / 2 && wait <= policy.longest);
                prop_assert!(number >= 1 && number <= most);
                now += wait;
                restarts.push(now);
                let recent = restarts.iter().filter(|restart| now - **restart < policy.window).count() as u64;
                prop_assert!(recent <= most);
            }
        }

        #[test]
        fn l33_however_many_restarts_are_allowed_few_fit_into_a_window_and_nothing_overflows(
            most in any::<u64>(),
            (first, longest) in (1_u64..u64::MAX, 1_u64..u64::MAX),
            draws in proptest::collection::vec(-1.0_f64..=2.0, 200),
        ) {
            let huge = Policy { most, window: Duration::MAX, first: Duration::from_millis(first), longest: Duration::from_millis(longest) };
            let (mut history, mut now) = (History::default(), Duration::ZERO);
            let (mut crashing, usual) = (History::default(), policy(most));
            let mut clock = Duration::ZERO;
            for draw in draws {
                if let Decision::Restart(wait, _) = history.ended(&huge, now, draw) {
                    now = now.saturating_add(wait);
                }
                if let Decision::Restart(wait, _) = crashing.ended(&usual, clock, draw) {
                    clock += wait;
                }
                prop_assert!(crashing.0.len() <= 48, "{}", crashing.0.len());
            }
        }
    }
}
