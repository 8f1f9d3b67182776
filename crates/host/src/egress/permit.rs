//! How many sockets, connections and files guests may hold open: each store some, and all stores of a host together a part of the files that
//! the process may open, so that no guest takes the ingress its own. A permit lives as long as what it is for, in whatever part.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::Asker;
use crate::component::Component;
use crate::logs::Stream;
use crate::metrics::Counter;

/// Sockets of one store, and its HTTP connections on the workload's loopback: memory of the host, wherever they lead.
const SOCKETS_PER_STORE: usize = 512;
/// Sockets and outgoing HTTP connections of one store that lead beyond the workload's loopback: open files.
const PER_STORE: usize = 64;

/// The sockets, outgoing connections and open files that all guests of a host may hold.
pub(crate) struct GuestConnections {
    most: usize,
    free: Arc<Semaphore>,
    /// Sockets that weren't made, files that weren't opened, and requests that had to wait for want of one.
    refused: Counter,
}

impl GuestConnections {
    pub(crate) fn new(most: usize) -> GuestConnections {
        let most = most.min(Semaphore::MAX_PERMITS);
        GuestConnections { most, free: Arc::new(Semaphore::new(most)), refused: Counter::default() }
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    /// The right to have one file open, if there is one left.
    pub(crate) fn try_file(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.free.clone().try_acquire_owned().ok();
        if permit.is_none() {
            self.refused.inc();
        }
        permit
    }

    /// Sockets that weren't made, files that weren't opened, and requests that had to wait for want of one.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }
}

/// The right to have one socket, given back when dropped.
pub(crate) struct SocketPermit {
    _store: OwnedSemaphorePermit,
}

impl SocketPermit {
    /// None: the guest has as many as it may.
    pub(crate) fn try_take(asker: &Asker) -> Option<SocketPermit> {
        Some(SocketPermit { _store: sockets_of_store(asker).try_acquire_owned().ok()? })
    }
}

/// Waits for the right to have one more socket.
pub(crate) struct NextSocket {
    semaphore: PollSemaphore,
    next: Option<SocketPermit>,
}

impl NextSocket {
    pub(crate) fn new(asker: &Asker) -> NextSocket {
        NextSocket { semaphore: PollSemaphore::new(sockets_of_store(asker)), next: None }
    }

    /// Ready when there is one to take.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none() {
            self.next = std::task::ready!(self.semaphore.poll_acquire(cx)).map(|_store| SocketPermit { _store });
        }
        Poll::Ready(())
    }

    /// None before it is ready.
    pub(crate) fn take(&mut self) -> Option<SocketPermit> {
        self.next.take()
    }
}

fn sockets_of_store(asker: &Asker) -> Arc<Semaphore> {
    asker.sockets.get_or_init(|| Arc::new(Semaphore::new(SOCKETS_PER_STORE))).clone()
}

/// The right to hold one open file for a socket or connection, given back when dropped.
pub(crate) struct Permit {
    _store: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Permit {
    /// Waits until the guest may open one more; the caller bounds the wait.
    pub(crate) async fn take(asker: &Asker) -> Option<Permit> {
        if let Some(permit) = Permit::try_take(asker) {
            return Some(permit);
        }
        let store = of_store(asker).acquire_owned().await.ok()?;
        let all = of_all(asker).free.clone().acquire_owned().await.ok()?;
        Some(Permit { _store: store, _all: all })
    }

    /// None, and told to whom the workload belongs: the guest, or all guests together, hold as many as they may.
    pub(crate) fn try_take(asker: &Asker) -> Option<Permit> {
        let Ok(store) = of_store(asker).try_acquire_owned() else {
            tell(asker, &format!("holds {PER_STORE} sockets and connections, as many as one instance may"));
            return None;
        };
        let all = of_all(asker);
        let Ok(free) = all.free.clone().try_acquire_owned() else {
            all.refused.inc();
            tell(asker, &format!("finds all {} sockets and connections of the host's guests taken (guest-connections)", all.most));
            return None;
        };
        Some(Permit { _store: store, _all: free })
    }
}

/// Waits for the right to one more of the host's open files, where no store holds it: for what comes to a service from outside.
pub(crate) async fn take_outside(component: &Component) -> Option<OwnedSemaphorePermit> {
    component.host.connections.free.clone().acquire_owned().await.ok()
}

fn of_store(asker: &Asker) -> Arc<Semaphore> {
    asker.open.get_or_init(|| Arc::new(Semaphore::new(PER_STORE))).clone()
}

fn of_all(asker: &Asker) -> &GuestConnections {
    &asker.component.host.connections
}

/// An event and a log line, as often as the workload may speak.
fn tell(asker: &Asker, what: &str) {
    let component = &asker.component;
    let message = format!("component {} {what}: a socket isn't made then, and a request waits", component.name);
    if component.warn("ConnectionLimit", message.clone()) {
        component.log.write(&component.name, asker.request(), Stream::Host, &message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn l31_a_guest_holds_so_many_connections_and_gets_the_next_when_it_closes_one() {
        let (component, _logs) = crate::component::tests::component();
        let asker = Asker::new(component.clone(), None);
        let mut held: Vec<Permit> = std::iter::from_fn(|| Permit::try_take(&asker)).collect();
        assert_eq!(held.len(), PER_STORE);
        assert!(Permit::try_take(&Asker::new(component, None)).is_some(), "another guest has its own");
        held.pop();
        assert!(Permit::take(&asker).await.is_some());
    }

    #[tokio::test]
    async fn l31_a_guest_has_so_many_sockets_and_the_next_when_it_drops_one() {
        let (component, _logs) = crate::component::tests::component();
        let asker = Asker::new(component, None);
        let mut held: Vec<SocketPermit> = std::iter::from_fn(|| SocketPermit::try_take(&asker)).collect();
        assert_eq!(held.len(), SOCKETS_PER_STORE);
        let mut next = NextSocket::new(&asker);
        let (_, ()) = tokio::join!(std::future::poll_fn(|cx| next.poll_ready(cx)), async { drop(held.pop()) });
        assert!(next.take().is_some() && next.take().is_none());
    }

    #[tokio::test]
    async fn l31_all_guests_together_hold_so_many_connections_and_are_told_the_settings_name() {
        let (component, logs) = crate::component::tests::component();
        let all = || &component.host.connections;
        let held: Vec<Permit> =
            std::iter::repeat_with(|| Asker::new(component.clone(), None)).map_while(|asker| Permit::try_take(&asker)).collect();
        assert_eq!((held.len(), all().held(), all().refused()), (all().most(), all().most(), 1));
        let said = logs.tail("default", None, 10);
        assert!(said.iter().any(|line| line.text.contains("(guest-connections)")), "{said:?}");
        let asker = Asker::new(component.clone(), None);
        let mut waits = Box::pin(Permit::take(&asker));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        drop(held);
        assert!(waits.await.is_some());
        assert_eq!((all().held(), all().refused()), (0, 2));
    }
}
