//! The door of a service: where calls of it come in while it runs.
//!
//! It is there from when the workload is prepared; each run of the service opens it and, however it ends, closes it, with a word about why.
//! Who calls waits in line for one of the places inside, then for the answer, both as long as it likes. Dropping the call leaves the line, or
//! gives up the answer; what has begun goes on, and keeps its place until it returns.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use wasmtime::component::Val;

use super::failure::Why;

/// Calls that are inside a service at once; more wait in line (L31).
pub(crate) const MAX_INSIDE: usize = 64;
/// Calls of one service at once, those in line among them (L31): more are refused, for each holds its arguments.
pub(crate) const MAX_CALLS: usize = 256;
/// Bytes of the arguments of all these calls together; more are refused.
pub(crate) const MAX_CALLS_BYTES: usize = 64 << 20;

/// A function that the service exports and somebody imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    /// None: the function is exported by itself.
    pub(crate) interface: Option<String>,
    pub(crate) function: String,
}

/// A call on its way.
#[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "services of 0.2 take no calls"))]
pub(crate) struct Visit {
    /// A place among [`Door::exports`].
    pub(crate) function: usize,
    pub(crate) arguments: Vec<Val>,
    /// Closed when nobody wants it any more.
    pub(crate) answer: oneshot::Sender<Result<Vec<Val>, Why>>,
    /// Its place inside, until it returns.
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) _held: Held,
}

/// Where calls of a service come in.
pub(crate) struct Door {
    state: watch::Sender<State>,
    /// Known before the first run.
    exports: Mutex<Vec<Export>>,
    held: Mutex<Load>,
}

/// What calls hold.
#[derive(Clone, Copy, Default)]
struct Load {
    calls: usize,
    bytes: usize,
}

/// A call's part of what all may hold, given back when dropped.
pub(crate) struct Held {
    door: Arc<Door>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.door.held.lock().expect("no panic while held");
        held.calls -= 1;
        held.bytes -= self.bytes;
    }
}

struct State {
    /// Counts runs of the service.
    run: u64,
    line: Option<Line>,
    /// Which run was the last to end, and why, as said of the service: "trapped". Kept while the next one runs, for callers who hear late.
    ended: (u64, Arc<str>),
    /// Why it isn't up, as a sentence.
    down: Arc<str>,
}

/// Where callers of one run wait.
#[derive(Clone)]
struct Line {
    /// Those inside. Closed with the run.
    places: Arc<Semaphore>,
    /// Has room for all who have a place.
    calls: mpsc::Sender<Visit>,
}

/// The door of one run; closed when dropped.
pub(crate) struct Opened<'a> {
    door: &'a Door,
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "services of 0.2 take no calls"))]
    pub(crate) visits: mpsc::Receiver<Visit>,
}

impl Door {
    pub(crate) fn new() -> Arc<Door> {
        let state = State { run: 0, line: None, ended: (0, "was ended".into()), down: "it has not started yet".into() };
        Arc::new(Door { state: watch::Sender::new(state), exports: Mutex::default(), held: Mutex::default() })
    }

    /// The place of a function that somebody will call.
    pub(crate) fn know(&self, export: Export) -> usize {
        let mut exports = self.exports.lock().expect("no panic while held");
        exports.iter().position(|known| *known == export).unwrap_or_else(|| {
            exports.push(export);
            exports.len() - 1
        })
    }

    /// The right to call with so many bytes of arguments, asked for before they are copied.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Why> {
        let mut held = self.held.lock().expect("no panic while held");
        if held.calls >= MAX_CALLS || held.bytes.saturating_add(bytes) > MAX_CALLS_BYTES {
            return Err(Why::Busy);
        }
        *held = Load { calls: held.calls + 1, bytes: held.bytes + bytes };
        Ok(Held { door: self.clone(), bytes })
    }

    /// Opens it for a run of the service that begins.
    pub(crate) fn open(&self) -> Opened<'_> {
        let (calls, visits) = mpsc::channel(MAX_INSIDE);
        self.state.send_modify(|state| {
            state.run += 1;
            state.line = Some(Line { places: Arc::new(Semaphore::new(MAX_INSIDE)), calls });
        });
        Opened { door: self, visits }
    }

    /// Says why the service isn't up, in a sentence.
    pub(crate) fn down(&self, why: &str) {
        self.state.send_modify(|state| state.down = why.into());
    }

    /// Calls a function and waits for its result.
    ///
    /// Cancel safe: a call that hasn't begun doesn't, and one that has is nobody's.
    pub(crate) async fn call(&self, function: usize, arguments: Vec<Val>, held: Held) -> Result<Vec<Val>, Why> {
        let (run, line) = {
            let state = self.state.borrow();
            (state.run, state.line.clone().ok_or_else(|| Why::Down(state.down.clone()))?)
        };
        let Ok(place) = line.places.acquire_owned().await else { return Err(self.end_of(run).await) };
        let (answer, answered) = oneshot::channel();
        let visit = Visit { function, arguments, answer, _place: place, _held: held };
        if line.calls.send(visit).await.is_err() {
            return Err(self.end_of(run).await);
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(self.end_of(run).await),
        }
    }

    /// What that run came to, once that is said.
    async fn end_of(&self, run: u64) -> Why {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| state.run != run || state.line.is_none()).await {
            Ok(state) if state.ended.0 == run => Why::Ended(state.ended.1.clone()),
            // It has ended once more meanwhile.
            _ => Why::Ended("was ended".into()),
        }
    }
}

impl Opened<'_> {
    /// The functions that somebody calls, by their places.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn exports(&self) -> Vec<Export> {
        self.door.exports.lock().expect("no panic while held").clone()
    }

    /// Closes it, with how the run came to its end, as said of the service: "trapped". Callers that hear of the end wait for this.
    pub(crate) fn ends(&self, how: &str) {
        self.door.state.send_modify(|state| {
            if let Some(line) = state.line.take() {
                line.places.close();
            }
            state.ended = (state.run, how.into());
            state.down = format!("it {how}").into();
        });
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        // Mostly it was said how it ended; a task that was aborted says nothing.
        if self.door.state.borrow().line.is_some() {
            self.ends("was ended");
        }
    }
}

#[cfg(all(test, feature = "wasi-p3"))]
mod tests {
    use super::*;

    async fn call(door: &Arc<Door>, function: usize, arguments: &[Val]) -> Result<Vec<Val>, Why> {
        door.call(function, arguments.to_vec(), door.hold(0)?).await
    }

    #[tokio::test]
    async fn l33_a_closed_door_says_why_before_during_and_after_a_run() {
        let door = Door::new();
        assert_eq!(call(&door, 0, &[]).await, Err(Why::Down("it has not started yet".into())));
        let mut opened = door.open();
        let (answer, ()) = tokio::join!(call(&door, 0, &[Val::U32(2)]), async {
            let visit = opened.visits.recv().await.unwrap();
            assert_eq!((visit.function, &visit.arguments[..]), (0, &[Val::U32(2)][..]));
            visit.answer.send(Ok(vec![Val::U32(3)])).unwrap();
        });
        assert_eq!(answer, Ok(vec![Val::U32(3)]));
        // A call's end is heard of before its reason is known.
        let (answer, ()) = tokio::join!(call(&door, 0, &[]), async {
            drop(opened.visits.recv().await.unwrap());
            tokio::task::yield_now().await;
            opened.ends("trapped");
        });
        assert_eq!(answer, Err(Why::Ended("trapped".into())));
        drop(opened);
        assert_eq!(call(&door, 0, &[]).await, Err(Why::Down("it trapped".into())));
        // Nor is it lost on a caller who hears of the end when the next run has begun.
        let next = door.open();
        assert_eq!(door.end_of(1).await, Why::Ended("trapped".into()));
        drop(next);
        assert_eq!(door.end_of(2).await, Why::Ended("was ended".into()));
        door.down("the service trapped; restart 1 of 2 follows");
        assert!(matches!(call(&door, 0, &[]).await, Err(Why::Down(why)) if why.ends_with("follows")));
    }

    #[tokio::test]
    async fn l31_who_leaves_the_line_leaves_nothing_in_it_and_what_has_begun_keeps_its_place() {
        let door = Door::new();
        let mut opened = door.open();
        let mut inside: Vec<_> = (0..MAX_INSIDE).map(|_| Box::pin(call(&door, 0, &[]))).collect();
        for one in &mut inside {
            assert!(futures::poll!(one).is_pending());
        }
        let (mut leaves, mut stays) = (Box::pin(call(&door, 1, &[])), Box::pin(call(&door, 2, &[])));
        assert!(futures::poll!(&mut leaves).is_pending() && futures::poll!(&mut stays).is_pending());
        drop(leaves);
        // Nor does a caller that leaves while it is inside make room.
        inside.clear();
        assert!(futures::poll!(&mut stays).is_pending());
        let mut visits = Vec::new();
        opened.visits.recv_many(&mut visits, 2 * MAX_INSIDE).await;
        assert!(visits.len() == MAX_INSIDE && visits.iter().all(|visit| visit.function == 0 && visit.answer.is_closed()));
        visits.pop();
        assert!(futures::poll!(&mut stays).is_pending());
        {
            let next = opened.visits.recv().await.unwrap();
            assert_eq!(next.function, 2);
            next.answer.send(Ok(Vec::new())).unwrap();
        }
        assert_eq!(stays.await, Ok(Vec::new()));
        drop((visits, opened));
        assert_eq!(door.held.lock().unwrap().calls, 0);
    }

    #[tokio::test]
    async fn l33_those_in_line_are_told_how_the_run_ended() {
        let door = Door::new();
        let opened = door.open();
        let mut inside: Vec<_> = (0..MAX_INSIDE).map(|_| Box::pin(call(&door, 0, &[]))).collect();
        for one in &mut inside {
            assert!(futures::poll!(one).is_pending());
        }
        let mut waits = Box::pin(call(&door, 0, &[]));
        assert!(futures::poll!(&mut waits).is_pending());
        opened.ends("trapped");
        assert_eq!(waits.await, Err(Why::Ended("trapped".into())));
    }

    #[test]
    fn l31_what_all_calls_hold_is_bounded_in_number_and_bytes_and_given_back() {
        let door = Door::new();
        let calls: Vec<_> = (0..MAX_CALLS).map(|_| door.hold(1).ok().unwrap()).collect();
        assert_eq!(door.hold(1).err(), Some(Why::Busy));
        drop(calls);
        let much = door.hold(MAX_CALLS_BYTES).ok().unwrap();
        assert_eq!(door.hold(1).err(), Some(Why::Busy));
        drop(much);
        assert!(door.hold(1).is_ok());
    }

    #[test]
    fn functions_are_known_by_their_places() {
        let door = Door::new();
        let export = |function: &str| Export { interface: Some("x:y/z".into()), function: function.into() };
        assert_eq!((door.know(export("f")), door.know(export("g")), door.know(export("f"))), (0, 1, 0));
        assert_eq!(door.open().exports(), [export("f"), export("g")]);
    }
}
