//! What of a response over HTTP/2 waits for its client, to the byte.
//!
//! hyper hands a body's data to h2, which keeps it until the client grants room for it, and both forget the request as soon as they were
//! given the end. So the data itself says what the client takes of it, and the end is kept back until the client has taken the data.
//! That would cost every small response a frame and a system call of its own; so a connection may have a few bytes whose end h2 knows.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// Bytes of one connection's responses that were handed over with their end: no stream is left that would be given up for them.
#[derive(Debug)]
pub(super) struct Unwatched {
    bytes: AtomicUsize,
    most: usize,
}

impl Unwatched {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most }
    }

    fn add(&self, bytes: usize) -> bool {
        let within = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.bytes.fetch_update(Relaxed, Relaxed, within).is_ok()
    }

    fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// One response's data on its way to the client.
#[derive(Debug)]
pub(super) struct Outgoing(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Bytes handed out that the client has not taken.
    left: usize,
    /// When there first was something to take, or the client last took some of it.
    moved: Instant,
    /// Where the bytes count, once their end may be told.
    unwatched: Option<Arc<Unwatched>>,
    /// Who waits for the client to have taken all.
    waiting: Option<Waker>,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { left: 0, moved: Instant::now(), unwatched: None, waiting: None }))
    }

    /// Hands out data.
    pub(super) fn piece(self: &Arc<Self>, bytes: Bytes) -> Piece {
        let mut state = self.lock();
        if state.left == 0 {
            state.moved = Instant::now();
        }
        state.left += bytes.len();
        drop(state);
        Piece { bytes, outgoing: Some(Arc::clone(self)) }
    }

    /// Since when the client has taken nothing of what is there for it; `None` if nothing is.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.left > 0).then_some(state.moved)
    }

    /// Whether the response's end may be told: all was taken, or the rest has room among the connection's unwatched bytes.
    /// After a yes nothing more may be handed out.
    pub(super) fn may_end(&self, unwatched: &Arc<Unwatched>) -> bool {
        self.lock().may_end(unwatched)
    }

    /// Ready when [`Outgoing::may_end`].
    pub(super) fn poll_end(&self, cx: &mut Context<'_>, unwatched: &Arc<Unwatched>) -> Poll<()> {
        let mut state = self.lock();
        if state.may_end(unwatched) {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn taken(&self, bytes: usize) {
        let mut state = self.lock();
        state.left -= bytes;
        state.moved = Instant::now();
        if let Some(unwatched) = &state.unwatched {
            unwatched.subtract(bytes);
        }
        let waiting = if state.left == 0 { state.waiting.take() } else { None };
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }
}

impl State {
    fn may_end(&mut self, unwatched: &Arc<Unwatched>) -> bool {
        if self.left == 0 || self.unwatched.is_some() {
            return true;
        }
        let room = unwatched.add(self.left);
        if room {
            self.unwatched = Some(Arc::clone(unwatched));
        }
        room
    }
}

/// Data of a response, which says when it leaves: written to the socket, or dropped with its stream.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    /// `None` with HTTP/1: there the socket tells.
    outgoing: Option<Arc<Outgoing>>,
}

impl Piece {
    /// Data that nobody keeps count of.
    pub(super) fn uncounted(bytes: Bytes) -> Self {
        Self { bytes, outgoing: None }
    }

    fn left(&self, bytes: usize) {
        if let Some(outgoing) = &self.outgoing
            && bytes > 0
        {
            outgoing.taken(bytes);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.left(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.left(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn piece(outgoing: &Arc<Outgoing>, bytes: usize) -> Piece {
        outgoing.piece(Bytes::from(vec![b'x'; bytes]))
    }

    #[test]
    fn l31_a_connection_has_no_more_unwatched_bytes_than_it_may() {
        let unwatched = Arc::new(Unwatched::new(100));
        let [first, second] = [(); 2].map(|()| Arc::new(Outgoing::new()));
        let mut sixty = piece(&first, 60);
        let fifty = piece(&second, 50);
        assert!(first.may_end(&unwatched) && first.may_end(&unwatched), "asked twice, counted once");
        assert!(!second.may_end(&unwatched));
        sixty.advance(10);
        assert!(second.may_end(&unwatched), "what was taken makes room");
        drop((sixty, fifty));
        assert_eq!(unwatched.bytes.load(Relaxed), 0, "what was dropped counts no longer");
    }

    #[test]
    fn l31_an_end_waits_for_the_last_byte_to_be_taken() {
        let nothing = Arc::new(Unwatched::new(0));
        let outgoing = Arc::new(Outgoing::new());
        let mut cx = Context::from_waker(Waker::noop());
        let [mut one, two] = [1, 2].map(|bytes| piece(&outgoing, bytes));
        assert!(outgoing.poll_end(&mut cx, &nothing).is_pending());
        one.advance(1);
        assert!(outgoing.poll_end(&mut cx, &nothing).is_pending() && outgoing.stalled_since().is_some());
        drop(two);
        assert!(outgoing.poll_end(&mut cx, &nothing).is_ready() && outgoing.stalled_since().is_none());
    }
}
