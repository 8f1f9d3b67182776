//! How many sockets and connections guests may hold open: each store some, and all stores together a part of the files that the
//! process may open, so that no guest takes the ingress its own. A permit lives as long as what it is for, in whatever part.

use std::sync::{Arc, LazyLock};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Asker;

/// Sockets and outgoing HTTP connections of one store.
const PER_STORE: usize = 64;
/// The part of the process's open files that guests get: one in this many. The ingress and the host itself need the others.
const FILES_PART: u64 = 4;
/// Sockets of all stores where the process may open any number of files.
const MOST: u64 = 65_536;

/// For all hosts of the process: what is shared is the process's limit of open files, as it was when the first guest went out.
static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Arc::new(Semaphore::new(usize::try_from((files / FILES_PART).min(MOST)).unwrap_or(PER_STORE)))
});

/// The right to hold one socket or connection, given back when dropped.
pub(crate) struct Permit {
    _store: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Permit {
    /// Waits until the guest may open one more; the caller bounds the wait.
    pub(crate) async fn take(asker: &Asker) -> Option<Permit> {
        let store = of_store(asker).acquire_owned().await.ok()?;
        let all = ALL.clone().acquire_owned().await.ok()?;
        Some(Permit { _store: store, _all: all })
    }

    /// None: the guest, or all guests together, hold as many as they may.
    pub(crate) fn try_take(asker: &Asker) -> Option<Permit> {
        let store = of_store(asker).try_acquire_owned().ok()?;
        let all = ALL.clone().try_acquire_owned().ok()?;
        Some(Permit { _store: store, _all: all })
    }
}

fn of_store(asker: &Asker) -> Arc<Semaphore> {
    asker.open.get_or_init(|| Arc::new(Semaphore::new(PER_STORE))).clone()
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
}
