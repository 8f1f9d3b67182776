//! The killed moments: from a kill until berth answers again. Only in them may a request fail.
//!
//! Times count from the start of the load.

use std::time::Duration;

/// One killed moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    from: Duration,
    /// `None` while it lasts.
    until: Option<Duration>,
}

/// All killed moments so far.
#[derive(Debug, Default)]
pub struct Outages(Vec<Outage>);

impl Outages {
    /// Berth is about to be killed.
    pub fn begin(&mut self, at: Duration) {
        self.0.push(Outage { from: at, until: None });
    }

    /// Berth answers again.
    pub fn end(&mut self, at: Duration) {
        if let Some(last) = self.0.last_mut() {
            last.until = Some(at);
        }
    }

    /// Whether something that lasted `from..=until` was under way in a killed moment.
    pub fn touch(&self, from: Duration, until: Duration) -> bool {
        self.0.iter().any(|outage| outage.from <= until && outage.until.is_none_or(|end| from <= end))
    }

    /// How long each took to end.
    pub fn lengths(&self) -> Vec<Duration> {
        self.0.iter().filter_map(|outage| Some(outage.until? - outage.from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_what_was_under_way_in_a_killed_moment_is_excused() {
        let mut outages = Outages::default();
        assert!(!outages.touch(s(0), s(100)));
        outages.begin(s(10));
        assert!(!outages.touch(s(8), s(9)));
        assert!(outages.touch(s(9), s(11)), "it began before the kill and ended after it");
        assert!(outages.touch(s(50), s(51)), "the moment lasts");
        outages.end(s(20));
        assert!(outages.touch(s(12), s(13)));
        assert!(outages.touch(s(19), s(30)), "it began while berth was down");
        assert!(!outages.touch(s(21), s(22)));
        assert!(outages.touch(s(1), s(99)));
        assert_eq!(outages.lengths(), [s(10)]);
    }
}
