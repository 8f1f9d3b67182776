//! The life of a process that serves: it serves, it drains, it stops, and never goes back (L34).

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes requests.
    Serving,
    /// It takes no new requests; those under way finish.
    Draining,
    /// No request is under way and no service runs, or their grace periods are over.
    Drained,
}

/// Who wants the process to drain or stop, and how far it is.
#[derive(Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle { phase: watch::Sender::new(Phase::Serving), drain: CancellationToken::new(), stop: CancellationToken::new() }
    }
}

impl Lifecycle {
    /// Where it is.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Asks for the drain; at once no longer ready. More than once is the same as once.
    pub fn drain(&self) {
        self.reach(Phase::Draining);
        self.drain.cancel();
    }

    /// Asks for the process to drain and end.
    pub fn stop(&self) {
        self.drain();
        self.stop.cancel();
    }

    /// Waits until a drain is asked for.
    pub async fn drain_wanted(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until the end is asked for.
    pub async fn stop_wanted(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until the drain is done.
    pub async fn drained(&self) {
        // The sender is in `self`, so the channel can't close meanwhile.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Drained).await;
    }

    /// Goes forward to `phase`, never back.
    pub(crate) fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
            }
            forward
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_goes_forward_only() {
        let life = Lifecycle::default();
        assert_eq!(life.phase(), Phase::Serving);
        life.stop();
        life.drain_wanted().await;
        life.stop_wanted().await;
        assert_eq!(life.phase(), Phase::Draining);
        life.reach(Phase::Drained);
        life.drain();
        assert_eq!(life.phase(), Phase::Drained);
        life.drained().await;
    }
}
