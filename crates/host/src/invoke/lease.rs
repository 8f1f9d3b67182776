//! Requests' places in a shared instance, from their reservation to the end of their bodies.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::head::WeakHead;
use super::timer::Interrupted;
use crate::admission::Permit;
use crate::request_id::RequestId;
use crate::reuse::Bounds;

/// A guest that computes is cut this long after the first deadline in its instance, so that a call which only waits is cut alone, by
/// its own timer, and doesn't take its neighbours along.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

/// The places in one instance.
pub(crate) struct Leases {
    state: Mutex<State>,
    /// Told whenever a place is given up, or another deadline is the first.
    stir: Notify,
}

struct State {
    /// The requests in the instance, by their keys.
    places: BTreeMap<u64, Place>,
    /// Requests that the instance was given.
    taken: u32,
    /// Takes no more, and is dropped when it is empty.
    doomed: bool,
}

/// What one request has.
struct Place {
    deadline: Instant,
    /// Its slot. Kept here, not with its reader, who may take no notice of the deadline.
    permit: Option<Permit>,
    awaited: Option<Awaited>,
}

/// An answer that somebody waits for.
pub(crate) struct Awaited {
    /// Weak: who waits hears of it when the instance is gone without a word.
    pub(crate) head: WeakHead,
    pub(crate) id: RequestId,
    /// The time that the request has in all.
    pub(crate) time: Duration,
}

impl Place {
    fn until(deadline: Instant) -> Place {
        Place { deadline, permit: None, awaited: None }
    }
}

impl Leases {
    /// The places of an instance that is made for a first request.
    pub(crate) fn first(deadline: Instant) -> (Arc<Leases>, Lease) {
        let state = State { places: BTreeMap::from([(1, Place::until(deadline))]), taken: 1, doomed: false };
        let leases = Arc::new(Leases { state: Mutex::new(state), stir: Notify::new() });
        let lease = Lease::new(&leases, 1, deadline);
        (leases, lease)
    }

    /// A place, if the bounds leave one.
    pub(crate) fn reserve(self: &Arc<Self>, bounds: &Bounds, deadline: Instant) -> Option<Lease> {
        let mut state = self.lock();
        if state.doomed || state.places.len() >= bounds.max_concurrency as usize || !bounds.allows(state.taken) {
            return None;
        }
        state.taken += 1;
        let key = u64::from(state.taken);
        let is_first = state.places.values().all(|place| deadline < place.deadline);
        state.places.insert(key, Place::until(deadline));
        drop(state);
        if is_first {
            self.stir.notify_waiters();
        }
        Some(Lease::new(self, key, deadline))
    }

    /// Whether the instance may be given another request, now or later.
    pub(crate) fn has_calls_left(&self, bounds: &Bounds) -> bool {
        bounds.allows(self.lock().taken)
    }

    pub(crate) fn doom(&self) {
        self.lock().doomed = true;
        self.stir.notify_waiters();
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.lock().doomed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().places.is_empty()
    }

    /// Whether nobody waits for anything in it any more, nor will.
    pub(crate) fn is_deserted(&self) -> bool {
        let state = self.lock();
        state.doomed && state.places.is_empty()
    }

    /// The first and the last deadline of the requests in the instance.
    pub(crate) fn deadlines(&self) -> Option<(Instant, Instant)> {
        let state = self.lock();
        let deadlines = || state.places.values().map(|place| place.deadline);
        Some((deadlines().min()?, deadlines().max()?))
    }

    /// Resolves when a place was given up, a deadline came before all others, or the instance was doomed, from now on: who looks at the
    /// places after having asked for this misses nothing.
    pub(crate) fn stirred(&self) -> impl Future<Output = ()> {
        self.stir.notified()
    }

    /// Resolves when the first deadline passes; never where there is none.
    pub(crate) async fn late(&self) {
        match self.deadlines() {
            Some((first, _)) => tokio::time::sleep_until(first.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Gives up the places whose deadline passed, and their slots: their calls and readers had their time. Returns whom to tell.
    pub(crate) fn expire(&self) -> Vec<Awaited> {
        let now = Instant::now();
        let mut state = self.lock();
        let (late, left): (BTreeMap<_, _>, _) = std::mem::take(&mut state.places).into_iter().partition(|(_, place)| place.deadline <= now);
        state.places = left;
        if late.is_empty() {
            return Vec::new();
        }
        state.doomed = true;
        drop(state);
        self.stir.notify_waiters();
        late.into_values().filter_map(|place| place.awaited).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

/// One place. Given up unfinished, the instance may hold half a call, and is doomed.
pub(crate) struct Lease {
    leases: Arc<Leases>,
    key: u64,
    deadline: Instant,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    finished: bool,
    /// Cancelled when it is given up unfinished: the instance goes on, but what it asked of others for this request is of no use.
    gone: Option<CancellationToken>,
}

impl Lease {
    fn new(leases: &Arc<Leases>, key: u64, deadline: Instant) -> Lease {
        Lease { leases: leases.clone(), key, deadline, timer: None, finished: false, gone: None }
    }

    /// What tells this request from the others in the instance.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// What is cancelled when the place is given up unfinished.
    pub(crate) fn gone(&mut self) -> CancellationToken {
        self.gone.get_or_insert_default().clone()
    }

    /// Holds the request's slot as long as the place.
    pub(crate) fn hold(&mut self, permit: Option<Permit>) {
        if let Some(place) = self.leases.lock().places.get_mut(&self.key) {
            place.permit = permit;
        }
    }

    /// Says who is told if the deadline passes before the answer is given.
    pub(crate) fn awaits(&self, awaited: Awaited) {
        if let Some(place) = self.leases.lock().places.get_mut(&self.key) {
            place.awaited = Some(awaited);
        }
    }

    /// The request never began here: gives its slot back, with which it may go elsewhere; or says that it is late, for a slot is gone
    /// where its place is.
    pub(crate) fn unused(mut self) -> Result<Option<Permit>, Interrupted> {
        self.finished = true;
        let permit = self.leases.lock().places.get_mut(&self.key).ok_or(Interrupted::Late)?.permit.take();
        if Instant::now() < self.deadline { Ok(permit) } else { Err(Interrupted::Late) }
    }

    /// The body was read to its end.
    pub(crate) fn finished(mut self) {
        self.finished = true;
    }

    /// Ready when the body took too long.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into()))).as_mut().poll(cx)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take().filter(|_| !self.finished) {
            gone.cancel();
        }
        let mut state = self.leases.lock();
        let place = state.places.remove(&self.key);
        state.doomed |= !self.finished;
        drop(state);
        drop(place);
        self.leases.stir.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use berth_model::limits::Effective;

    use crate::admission::{Admission, HostSlots};
    use crate::metrics::HostMetrics;

    const BOUNDS: Bounds = Bounds { keep: 1, max_calls: Some(3), max_concurrency: 2 };

    #[test]
    fn places_are_bounded_at_once_and_in_all() {
        let soon = Instant::now() + Duration::from_secs(60);
        let (leases, first) = Leases::first(soon);
        let second = leases.reserve(&BOUNDS, soon).unwrap();
        assert!(leases.reserve(&BOUNDS, soon).is_none(), "two at once");
        first.finished();
        let third = leases.reserve(&BOUNDS, soon).unwrap();
        second.finished();
        assert!(!leases.has_calls_left(&BOUNDS) && leases.reserve(&BOUNDS, soon).is_none(), "three in all");
        third.finished();
        assert!(leases.is_empty() && !leases.is_doomed());
    }

    #[tokio::test]
    async fn a_place_that_is_given_up_unfinished_dooms_the_instance_and_says_so() {
        let (leases, first) = Leases::first(Instant::now() + Duration::from_secs(60));
        let (_, ()) = tokio::join!(leases.stirred(), async move { drop(first) });
        assert!(leases.is_doomed() && leases.is_empty());
        assert!(leases.reserve(&BOUNDS, Instant::now()).is_none());
    }

    #[tokio::test]
    async fn l30_a_place_ends_at_its_deadline_with_its_slot_whoever_holds_it() {
        let slots = Arc::new(HostSlots::new(4));
        let admission = Admission::new(slots.clone(), &Effective::default(), HostMetrics::default().workload("default", "test"));
        let (leases, mut held) = Leases::first(Instant::now() + Duration::from_millis(20));
        held.hold(admission.admit().await.ok());
        assert_eq!(slots.in_use(), 1);
        leases.late().await;
        leases.expire();
        assert!(leases.is_empty() && leases.is_doomed());
        assert_eq!(slots.in_use(), 0);
    }

    #[tokio::test]
    async fn a_slot_goes_with_its_place_or_back_to_a_request_that_never_began() {
        let slots = Arc::new(HostSlots::new(4));
        let admission = Admission::new(slots.clone(), &Effective::default(), HostMetrics::default().workload("default", "test"));
        let (leases, mut first) = Leases::first(Instant::now() + Duration::from_secs(60));
        first.hold(admission.admit().await.ok());
        let back = first.unused().unwrap();
        assert!(back.is_some() && slots.in_use() == 1);
        let mut second = leases.reserve(&BOUNDS, Instant::now() + Duration::from_secs(60)).unwrap();
        second.hold(back);
        second.finished();
        assert_eq!(slots.in_use(), 0);
    }

    #[tokio::test]
    async fn l30_a_request_that_never_began_and_whose_time_is_over_goes_nowhere_else() {
        let slots = Arc::new(HostSlots::new(4));
        let admission = Admission::new(slots.clone(), &Effective::default(), HostMetrics::default().workload("default", "test"));
        // Its place expired, and its slot with it.
        let (leases, mut expired) = Leases::first(Instant::now() + Duration::from_millis(20));
        expired.hold(admission.admit().await.ok());
        leases.late().await;
        leases.expire();
        assert_eq!(expired.unused().err(), Some(Interrupted::Late));
        // Its place is still there, with a slot that nobody else got.
        let (_leases, mut late) = Leases::first(Instant::now());
        late.hold(admission.admit().await.ok());
        assert_eq!(late.unused().err(), Some(Interrupted::Late));
        assert_eq!(slots.in_use(), 0);
    }
}
