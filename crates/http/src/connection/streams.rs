//! HTTP/2 streams as tasks of their connection's thread, each given up when its client takes nothing of the response.
//!
//! The socket can't tell: a client that grants one stream no room stalls that stream alone, answers pings, and goes on with others.
//! So each stream counts what of its response waits for the client, and is reset when that doesn't move.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::outgoing::Outgoing;
use super::pulse::LONGEST;

tokio::task_local! {
    /// The response in the stream that runs now. HTTP/1 has none.
    static OUTGOING: Arc<Outgoing>;
}

/// What the stream that runs now sends; `None` with HTTP/1.
pub(super) fn outgoing() -> Option<Arc<Outgoing>> {
    OUTGOING.try_with(Arc::clone).ok()
}

/// Runs streams. Each ends with its connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    stall: Duration,
}

impl Streams {
    /// `stall`: how long a client may take nothing of a response that is ready.
    pub(super) fn new(tasks: TaskTracker, stall: Duration) -> Self {
        Self { tasks, stall: stall.min(LONGEST) }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let outgoing = Arc::new(Outgoing::new());
        self.tasks.spawn(OUTGOING.scope(Arc::clone(&outgoing), unless_stalled(stream, outgoing, self.stall)));
    }
}

/// Runs a stream to its end, or until its client has taken nothing for too long; dropping it then resets it.
async fn unless_stalled(stream: impl Future<Output = ()>, outgoing: Arc<Outgoing>, stall: Duration) {
    let mut stream = pin!(stream);
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // A timer that is already armed is left as it is: it looks again when it fires.
        while let Some(since) = outgoing.stalled_since() {
            let due = since + stall;
            let Some(mut armed) = timer.as_mut().as_pin_mut() else {
                timer.set(Some(tokio::time::sleep_until(due)));
                continue;
            };
            ready!(armed.as_mut().poll(cx));
            if armed.deadline() >= due {
                tracing::debug!("an HTTP/2 client took nothing of its response: the stream is reset");
                return Poll::Ready(());
            }
            armed.reset(due);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};
    use tokio::time::{Instant, advance};

    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    /// Runs a stream that does `moves`, keeps what these give, and then waits for ever; how long it was let.
    async fn lasts<T>(moves: impl AsyncFnOnce(Arc<Outgoing>) -> T) -> Option<Duration> {
        let start = Instant::now();
        let outgoing = Arc::new(Outgoing::new());
        let stream = async {
            let _kept = moves(Arc::clone(&outgoing)).await;
            std::future::pending().await
        };
        tokio::time::timeout(STALL * 10, unless_stalled(stream, Arc::clone(&outgoing), STALL)).await.ok().map(|()| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn l31_a_stream_whose_client_takes_nothing_ends_and_one_that_waits_for_its_service_does_not() {
        assert_eq!(lasts(async |_| ()).await, None);
        assert_eq!(lasts(async |outgoing| outgoing.piece(Bytes::from_static(b"untaken"))).await, Some(STALL));
        assert_eq!(lasts(async |outgoing| drop(outgoing.piece(Bytes::from_static(b"taken")))).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn l31_every_byte_that_a_client_takes_gives_it_new_time() {
        let slowly = async |outgoing: Arc<Outgoing>| {
            let mut piece = outgoing.piece(Bytes::from_static(b"0123456789"));
            for _ in 0..5 {
                tokio::task::yield_now().await;
                advance(STALL / 2).await;
                piece.advance(1);
            }
            piece
        };
        assert_eq!(lasts(slowly).await, Some(STALL * 5 / 2 + STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn l31_what_was_taken_in_time_is_no_reason_to_hurry_with_what_comes_later() {
        let later = async |outgoing: Arc<Outgoing>| {
            let first = outgoing.piece(Bytes::from_static(b"first"));
            tokio::task::yield_now().await;
            drop(first);
            advance(STALL / 2).await;
            outgoing.piece(Bytes::from_static(b"second"))
        };
        assert_eq!(lasts(later).await, Some(STALL / 2 + STALL));
    }
}
