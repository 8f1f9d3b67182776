//! Lanes: how many commands of a kind run and wait, and for how long.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::LaneConfig;

/// Bounds the commands of one kind.
pub(super) struct Lane {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    deadline: Duration,
    shutdown: CancellationToken,
}

impl Lane {
    pub(super) fn new(config: LaneConfig, shutdown: &CancellationToken) -> Lane {
        let running = config.running.clamp(1, Semaphore::MAX_PERMITS / 2);
        let waiting = config.waiting.min(Semaphore::MAX_PERMITS / 2);
        Lane {
            admitted: Arc::new(Semaphore::new(running + waiting)),
            running: Arc::new(Semaphore::new(running)),
            deadline: config.deadline,
            shutdown: shutdown.clone(),
        }
    }

    /// A place in the lane, or none when it is full. Never waits.
    pub(super) fn enter(&self) -> Option<Ticket> {
        let place = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        Some(Ticket { _place: place, running: Arc::clone(&self.running), deadline: self.deadline, shutdown: self.shutdown.clone() })
    }
}

/// A place in a lane, for one command.
pub(super) struct Ticket {
    _place: OwnedSemaphorePermit,
    running: Arc<Semaphore>,
    deadline: Duration,
    shutdown: CancellationToken,
}

impl Ticket {
    /// Waits for its turn and runs `work`, within the lane's deadline.
    pub(super) async fn run<T>(self, work: impl Future<Output = T>) -> Result<T, Cut> {
        let in_turn = async {
            let _turn = self.running.acquire().await.expect("lanes never close");
            work.await
        };
        bounded(self.deadline, &self.shutdown, in_turn).await
    }
}

/// Runs `work`, unless it passes its deadline, panics, or the server shuts down.
pub(super) async fn bounded<T>(deadline: Duration, shutdown: &CancellationToken, work: impl Future<Output = T>) -> Result<T, Cut> {
    // What a panic left behind belongs to the handler, which is shared and has its own invariants.
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(Cut::ShuttingDown),
        result = tokio::time::timeout(deadline, work) => match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(Cut::Panicked),
            Err(_) => Err(Cut::Late(deadline)),
        },
    }
}

/// Why a command has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    #[error("the host didn't finish within {0:?}; ask again later")]
    Late(Duration),
    #[error("the host failed in an unexpected way; its log says how")]
    Panicked,
    #[error("the host is shutting down")]
    ShuttingDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(running: usize, waiting: usize) -> Lane {
        Lane::new(LaneConfig { running, waiting, deadline: Duration::from_secs(5) }, &CancellationToken::new())
    }

    #[test]
    fn a_full_lane_refuses_until_a_place_is_free() {
        let lane = lane(2, 1);
        let mut tickets: Vec<Ticket> = std::iter::from_fn(|| lane.enter()).collect();
        assert_eq!(tickets.len(), 3);
        tickets.pop();
        assert!(lane.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_counts_towards_the_deadline() {
        let lane = lane(1, 1);
        let (first, second) = (lane.enter().unwrap(), lane.enter().unwrap());
        let started = tokio::time::Instant::now();
        let (first, second) = tokio::join!(first.run(std::future::pending::<()>()), second.run(async {}));
        assert_eq!(first, Err(Cut::Late(Duration::from_secs(5))));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        assert!(second.is_err());
    }

    #[tokio::test]
    async fn a_panic_and_a_shutdown_are_results() {
        let shutdown = CancellationToken::new();
        let deadline = Duration::from_secs(5);
        let panicking = async { if deadline.is_zero() { 1 } else { panic!("as the test wants") } };
        assert_eq!(bounded(deadline, &shutdown, panicking).await, Err(Cut::Panicked));
        shutdown.cancel();
        assert_eq!(bounded(deadline, &shutdown, std::future::pending::<()>()).await, Err(Cut::ShuttingDown));
    }
}
