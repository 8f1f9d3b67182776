//! HTTP/2 streams as tasks of their connection's thread, each given up when its client takes nothing of the response.
//!
//! The socket can't tell: a client that grants one stream no room stalls that stream alone, answers pings, and goes on with others.
//! So the response's body says whose turn it is each time it is asked for more, and a stream whose client lets its turn pass is reset.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::pulse::LONGEST;

/// Who is to move on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The service: it has not answered, or has no more of its body yet.
    Service,
    /// The client, which has this many parts of a response to take: the head is the first.
    Client(u64),
}

tokio::task_local! {
    /// The turn in the stream that runs now. HTTP/1 has none: there the socket tells.
    static TURN: Cell<Turn>;
}

/// There is one more part of the response: the client is to take it.
pub(super) fn offered() {
    let _ = TURN.try_with(|turn| {
        turn.set(match turn.get() {
            Turn::Service => Turn::Client(1),
            Turn::Client(parts) => Turn::Client(parts.wrapping_add(1)),
        });
    });
}

/// The client has taken all that there is, and waits for the service.
pub(super) fn awaited() {
    let _ = TURN.try_with(|turn| turn.set(Turn::Service));
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
        self.tasks.spawn(TURN.scope(Cell::new(Turn::Service), unless_stalled(stream, self.stall)));
    }
}

/// Runs a stream to its end, or until its client has let its turn pass; dropping it then resets it.
async fn unless_stalled(stream: impl Future<Output = ()>, stall: Duration) {
    let mut stream = pin!(stream);
    let mut timer = pin!(None);
    let mut timed = Turn::Service;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let turn = TURN.with(Cell::get);
        if turn == Turn::Service {
            timer.set(None);
            timed = turn;
            return Poll::Pending;
        }
        if turn != timed {
            timer.set(Some(tokio::time::sleep(stall)));
            timed = turn;
        }
        let armed = timer.as_mut().as_pin_mut().expect("armed with the turn");
        armed.poll(cx).map(|()| tracing::debug!("an HTTP/2 client took nothing of its response: the stream is reset"))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    /// Runs a stream that does `moves` and then waits for ever; how long it was let.
    async fn lasts(moves: impl Future<Output = ()>) -> Option<Duration> {
        let start = tokio::time::Instant::now();
        let stream = async {
            moves.await;
            std::future::pending().await
        };
        let run = TURN.scope(Cell::new(Turn::Service), unless_stalled(stream, STALL));
        tokio::time::timeout(STALL * 10, run).await.ok().map(|()| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn l31_a_stream_whose_client_takes_nothing_ends_and_one_that_waits_for_its_service_does_not() {
        assert_eq!(lasts(async {}).await, None);
        assert_eq!(lasts(async { offered() }).await, Some(STALL));
        let answered_and_taken = async {
            offered();
            awaited();
        };
        assert_eq!(lasts(answered_and_taken).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn l31_every_part_that_a_client_takes_gives_it_new_time() {
        let slowly = async {
            for _ in 0..5 {
                offered();
                tokio::task::yield_now().await;
                tokio::time::advance(STALL / 2).await;
            }
        };
        assert_eq!(lasts(slowly).await, Some(STALL * 2 + STALL));
    }
}
