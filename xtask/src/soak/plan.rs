//! What a soak will do when: decided before it starts, from its options and its seed alone.

use std::time::Duration;

use anyhow::{Result, bail};

/// Kills fall into this part of a soak, so that the process after the last one lives long enough to show its memory flat.
const KILLED_PART: f64 = 0.6;
/// Shortest time between two kills: a process comes back, and load meets it.
const BETWEEN_KILLS: Duration = Duration::from_secs(10);

/// What a soak will do when.
#[derive(Debug)]
pub struct Plan {
    /// How long the load lasts.
    pub length: Duration,
    /// When berth is killed, from the start of the load, ascending.
    pub kills: Vec<Duration>,
}

impl Plan {
    /// Places `kills` at random in the first part of `length`; each has a slot of its own, so that none comes too soon.
    pub fn new(length: Duration, kills: u32, rng: &mut fastrand::Rng) -> Result<Plan> {
        let most = (length.mul_f64(KILLED_PART).as_secs_f64() / (2.0 * BETWEEN_KILLS.as_secs_f64())) as u32;
        if kills > most {
            bail!("{kills} kills don't fit into {} s: at most {most}, or give more --minutes", length.as_secs());
        }
        let slot = length.mul_f64(KILLED_PART) / kills.max(1);
        let within = |slot: Duration, rng: &mut fastrand::Rng| BETWEEN_KILLS + (slot - BETWEEN_KILLS).mul_f64(rng.f64());
        let kills = (0..kills).map(|n| slot * n + within(slot, rng)).collect();
        Ok(Plan { length, kills })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn kills_leave_time_to_come_back_and_a_long_life_at_the_end() {
        for seed in 0..200 {
            let plan = Plan::new(3 * MINUTE, 5, &mut fastrand::Rng::with_seed(seed)).expect("it is right");
            assert_eq!(plan.kills.len(), 5);
            let mut last = Duration::ZERO;
            for kill in &plan.kills {
                assert!(*kill >= last + BETWEEN_KILLS, "{plan:?}");
                last = *kill;
            }
            assert!(last <= plan.length.mul_f64(KILLED_PART), "{plan:?}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        let kills = |seed| Plan::new(MINUTE, 1, &mut fastrand::Rng::with_seed(seed)).expect("it is right").kills;
        assert_eq!(kills(7), kills(7));
        assert_ne!(kills(7), kills(8));
    }

    #[test]
    fn too_many_kills_are_refused_and_none_are_fine() {
        let plan = |kills| Plan::new(MINUTE, kills, &mut fastrand::Rng::with_seed(1));
        assert_eq!(plan(2).expect_err("it is wrong").to_string(), "2 kills don't fit into 60 s: at most 1, or give more --minutes");
        assert_eq!(plan(0).expect("it is right").kills, [Duration::ZERO; 0]);
    }
}
