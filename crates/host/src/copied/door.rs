//! The door of a service: where calls of it come in while it runs.
//!
//! It is there from when the workload is prepared; each run of the service opens it and, however it ends, closes it, with a word about why.
//! Who calls waits for a place in a bounded queue, then for the answer, both until its own deadline. Dropping the call leaves the queue, or
//! gives up the answer.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use wasmtime::component::Val;

use super::failure::Why;

/// Calls that wait for the service to take them; one more waits until there is room (L31). Waiting ones hold their arguments.
const QUEUE: usize = 16;
/// Calls of one service at once, those that wait for the queue among them (L31): more are refused, for each holds its arguments.
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
pub(crate) struct Held<'a> {
    door: &'a Door,
    bytes: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.door.held.lock().expect("no panic while held");
        held.calls -= 1;
        held.bytes -= self.bytes;
    }
}

struct State {
    /// Counts runs of the service.
    run: u64,
    calls: Option<mpsc::Sender<Visit>>,
    /// Which run was the last to end, and why, as said of the service: "trapped". Kept while the next one runs, for callers who hear late.
    ended: (u64, Arc<str>),
    /// Why it isn't up, as a sentence.
    down: Arc<str>,
}

/// The door of one run; closed when dropped.
pub(crate) struct Opened<'a> {
    door: &'a Door,
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "services of 0.2 take no calls"))]
    pub(crate) visits: mpsc::Receiver<Visit>,
}

impl Door {
    pub(crate) fn new() -> Arc<Door> {
        let state = State { run: 0, calls: None, ended: (0, "was ended".into()), down: "it has not started yet".into() };
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
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held<'_>, Why> {
        let mut held = self.held.lock().expect("no panic while held");
        if held.calls >= MAX_CALLS || held.bytes.saturating_add(bytes) > MAX_CALLS_BYTES {
            return Err(Why::Busy);
        }
        *held = Load { calls: held.calls + 1, bytes: held.bytes + bytes };
        Ok(Held { door: self, bytes })
    }

    /// Opens it for a run of the service that begins.
    pub(crate) fn open(&self) -> Opened<'_> {
        let (calls, visits) = mpsc::channel(QUEUE);
        self.state.send_modify(|state| {
            state.run += 1;
            state.calls = Some(calls);
        });
        Opened { door: self, visits }
    }

    /// Says why the service isn't up, in a sentence.
    pub(crate) fn down(&self, why: &str) {
        self.state.send_modify(|state| state.down = why.into());
    }

    /// Calls a function and waits for its result until `until`.
    ///
    /// Cancel safe: a call that hasn't begun doesn't, and one that has is nobody's.
    pub(crate) async fn call(&self, function: usize, arguments: Vec<Val>, until: Instant) -> Result<Vec<Val>, Why> {
        let (run, calls) = {
            let state = self.state.borrow();
            (state.run, state.calls.clone().ok_or_else(|| Why::Down(state.down.clone()))?)
        };
        let call = async {
            let (answer, answered) = oneshot::channel();
            if calls.send(Visit { function, arguments, answer }).await.is_err() {
                return Err(self.end_of(run).await);
            }
            match answered.await {
                Ok(answer) => answer,
                Err(_) => Err(self.end_of(run).await),
            }
        };
        tokio::time::timeout_at(until.into(), call).await.unwrap_or(Err(Why::Late))
    }

    /// What that run came to, once that is said.
    async fn end_of(&self, run: u64) -> Why {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| state.run != run || state.calls.is_none()).await {
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
            state.calls = None;
            state.ended = (state.run, how.into());
            state.down = format!("it {how}").into();
        });
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        // Mostly it was said how it ended; a task that was aborted says nothing.
        if self.door.state.borrow().calls.is_some() {
            self.ends("was ended");
        }
    }
}

#[cfg(all(test, feature = "wasi-p3"))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn l33_a_closed_door_says_why_before_during_and_after_a_run() {
        let door = Door::new();
        assert_eq!(door.call(0, Vec::new(), soon()).await, Err(Why::Down("it has not started yet".into())));
        let mut opened = door.open();
        let (answer, ()) = tokio::join!(door.call(0, vec![Val::U32(2)], soon()), async {
            let visit = opened.visits.recv().await.unwrap();
            assert_eq!((visit.function, &visit.arguments[..]), (0, &[Val::U32(2)][..]));
            visit.answer.send(Ok(vec![Val::U32(3)])).unwrap();
        });
        assert_eq!(answer, Ok(vec![Val::U32(3)]));
        // A call's end is heard of before its reason is known.
        let (answer, ()) = tokio::join!(door.call(0, Vec::new(), soon()), async {
            drop(opened.visits.recv().await.unwrap());
            tokio::task::yield_now().await;
            opened.ends("trapped");
        });
        assert_eq!(answer, Err(Why::Ended("trapped".into())));
        drop(opened);
        assert_eq!(door.call(0, Vec::new(), soon()).await, Err(Why::Down("it trapped".into())));
        // Nor is it lost on a caller who hears of the end when the next run has begun.
        let next = door.open();
        assert_eq!(door.end_of(1).await, Why::Ended("trapped".into()));
        drop(next);
        assert_eq!(door.end_of(2).await, Why::Ended("was ended".into()));
        door.down("the service trapped; restart 1 of 2 follows");
        assert!(matches!(door.call(0, Vec::new(), soon()).await, Err(Why::Down(why)) if why.ends_with("follows")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_holds_callers_back_until_their_deadline() {
        let door = Door::new();
        let mut opened = door.open();
        let until = Instant::now() + Duration::from_millis(50);
        let calls = (0..QUEUE + 2).map(|_| door.call(0, Vec::new(), until));
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| *answer == Err(Why::Late)), "{answers:?}");
        let mut waiting = 0;
        while let Ok(visit) = opened.visits.try_recv() {
            assert!(visit.answer.is_closed(), "its caller is gone");
            waiting += 1;
        }
        assert_eq!(waiting, QUEUE);
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
