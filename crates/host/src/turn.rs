//! Turns: guests that compute share their thread one slice at a time.
//!
//! A guest that used up its tick goes on only after the thread has looked at its sockets and run all that came of it. Of several such
//! guests only one gets a slice before the thread looks again, and the owners they are of are served in rotation. Where guests of an owner
//! compute for long at a stretch ([`crate::pace`]), the next ones wait for a turn before their first slice too; otherwise many that each
//! take a little less than a tick would hold the thread together. So a neighbour waits for about one tick, however many guests compute
//! (measured: with plain yields four that spin held it for 620 ms at the 99th percentile).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::component::Component;
use crate::pace::Pace;
use crate::ticker::Ticking;

thread_local! {
    static LINE: Arc<Line> = Arc::default();
    /// The turn of the guest whose slice runs now.
    static RUNNING: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// A thread's guests that wait for a turn: those of one owner in the order they came, the owners in rotation.
#[derive(Default)]
struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    taken: bool,
    groups: VecDeque<(Group, VecDeque<oneshot::Sender<Turn>>)>,
}

/// What turns are shared among: guests of one owner stand together. The address of the pace that they share.
type Group = usize;

/// The right to compute; given on when it is dropped.
struct Turn(Option<Arc<Line>>);

impl Line {
    /// Waits for a turn. Dropping the future leaves the line, and gives on a turn that just came.
    async fn turn(self: Arc<Line>, group: Group) -> Turn {
        let place = {
            let mut state = self.0.lock().expect("no panic while held");
            if !std::mem::replace(&mut state.taken, true) {
                return Turn(Some(self.clone()));
            }
            let (sender, place) = oneshot::channel();
            match state.groups.iter_mut().find(|(g, _)| *g == group) {
                Some((_, waiting)) => waiting.push_back(sender),
                None => state.groups.push_back((group, VecDeque::from([sender]))),
            }
            place
        };
        // Nobody drops a sender that waits but the line itself, which a turn and this future keep.
        place.await.unwrap_or(Turn(None))
    }

    /// Whose turn it is next; nobody waits otherwise, and the turn is free.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.0.lock().expect("no panic while held");
        let Some((group, mut waiting)) = state.groups.pop_front() else {
            state.taken = false;
            return None;
        };
        let next = waiting.pop_front();
        if !waiting.is_empty() {
            state.groups.push_back((group, waiting));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(line) = self.0.take() else { return };
        let mut turn = Turn(Some(line.clone()));
        while let Some(sender) = line.next() {
            match sender.send(turn) {
                Ok(()) => return,
                // It left the line.
                Err(back) => turn = back,
            }
        }
        turn.0 = None;
    }
}

/// What a guest does at the end of its tick: steps back, and waits for its next turn.
pub(crate) fn next(pace: &Arc<Pace>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(wait(Arc::as_ptr(pace).addr()))
}

/// What a guest does before its first slice: waits for its turn, if guests of its owner compute.
pub(crate) async fn first(pace: &Arc<Pace>) {
    if pace.computes() {
        wait(Arc::as_ptr(pace).addr()).await;
    }
}

async fn wait(group: Group) {
    let held = RUNNING.take();
    // Woken once the thread's driver was polled, behind what was waiting for a socket ...
    tokio::task::yield_now().await;
    // ... and once more, behind what came of that. The turn is kept until then, so that no other guest computes before.
    tokio::task::yield_now().await;
    drop(held);
    let turn = LINE.with(Arc::clone).turn(group).await;
    RUNNING.set(Some(turn));
}

/// Runs a guest of `component`: ticked while it runs, and with its pace noted. A turn goes back whenever the guest waits for something else
/// than its next.
pub(crate) async fn shared<F: Future>(component: Arc<Component>, guest: F) -> F::Output {
    let mut guest = std::pin::pin!(guest);
    let _last = GiveBack;
    poll_fn(|cx| {
        let begin = Instant::now();
        let polled = {
            let _ticking = Ticking::new(&component.host.pulse);
            guest.as_mut().poll(cx)
        };
        RUNNING.take();
        component.pace.note(begin.elapsed());
        polled
    })
    .await
}

/// Gives the turn back also when a guest's poll panics.
struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        let _ = RUNNING.try_with(RefCell::take);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::tests::{component, component_of};

    type Order = Arc<Mutex<Vec<&'static str>>>;

    fn computing(component: &Arc<Component>, name: &'static str, order: &Order) -> tokio::task::JoinHandle<()> {
        let (order, own) = (order.clone(), component.clone());
        tokio::spawn(shared(component.clone(), async move {
            for _ in 0..3 {
                order.lock().unwrap().push(name);
                next(&own.pace).await;
            }
        }))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn l30_guests_that_compute_take_turns_with_the_sockets_between_them() {
        let (order, (component, _)) = (Order::default(), component());
        let (a, b) = (computing(&component, "a", &order), computing(&component, "b", &order));
        a.await.unwrap();
        b.await.unwrap();
        let seen = order.lock().unwrap().clone();
        assert_eq!(seen.len(), 6);
        assert!(seen.windows(3).all(|w| w[0] != w[1] || w[1] != w[2]), "{seen:?}");
        assert!(!LINE.with(|line| line.0.lock().unwrap().taken) && RUNNING.take().is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn l32_turns_go_round_the_owners_however_many_guests_one_has() {
        let order = Order::default();
        let ((many, _), (one, _)) = (component_of("many"), component_of("one"));
        let mut tasks: Vec<_> = (0..10).map(|_| computing(&many, "many", &order)).collect();
        tasks.push(computing(&one, "one", &order));
        for task in tasks {
            task.await.unwrap();
        }
        let seen = order.lock().unwrap().clone();
        let last = seen.iter().rposition(|name| *name == "one").unwrap();
        // Its first slice is one of the eleven that nobody waits for; its second and third come with every second turn.
        assert!(last < 11 + 6, "{seen:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn l30_guests_of_an_owner_that_computes_wait_before_their_first_slice() {
        let (component, _) = component();
        let begins = |component: Arc<Component>| tokio::spawn(shared(component.clone(), async move { first(&component.pace).await }));
        let turn = LINE.with(Arc::clone).turn(0).await;
        begins(component.clone()).await.unwrap();
        for _ in 0..2 {
            component.pace.note(std::time::Duration::from_millis(5));
        }
        let waits = begins(component.clone());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waits.is_finished(), "nobody computes beside a turn");
        drop(turn);
        waits.await.unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_turn_that_nobody_waits_for_any_more_goes_on() {
        let line = Arc::<Line>::default();
        let held = line.clone().turn(1).await;
        let mut left = Box::pin(line.clone().turn(2));
        let mut given = Box::pin(line.clone().turn(3));
        assert!(futures::poll!(left.as_mut()).is_pending() && futures::poll!(given.as_mut()).is_pending());
        drop(left);
        drop(held);
        // It has the turn, and goes without having looked.
        drop(given);
        drop(line.clone().turn(4).await);
        assert!(!line.0.lock().unwrap().taken);
    }
}
