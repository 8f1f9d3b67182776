//! A guest's store, from its making to its memory's return.
//!
//! However a store goes, with its request, with a task that was ended, or with the warm instances of a workload, it goes through here: its
//! memory is given back by [`crate::reclaim`] if it is much, and what it took of the host's budget, and the slot of its request, are free
//! only after that. So guests that fill memory faster than it is given back wait for their own slots.

use std::ops::{Deref, DerefMut};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

use crate::admission::Permit;
use crate::guest::Guest;
use crate::invoke::Code;
use crate::limiter::Account;

/// A store of one instance.
pub(crate) struct GuestStore {
    store: Option<Store<Guest>>,
    place: Option<OwnedSemaphorePermit>,
    permit: Option<Permit>,
}

/// As many instances as there may be are there.
#[derive(Debug, thiserror::Error)]
#[error("maximum concurrent limit for component instances of code that isn't optimized yet reached")]
pub(crate) struct NoPlace;

/// A store that ended. Dropped in the order of its fields: memory first, then what it was counted as.
pub(crate) struct Spent {
    _store: Store<Guest>,
    _account: Option<Account>,
    _place: Option<OwnedSemaphorePermit>,
    _permit: Option<Permit>,
}

impl GuestStore {
    pub(crate) fn new(store: Store<Guest>) -> GuestStore {
        GuestStore { store: Some(store), place: None, permit: None }
    }

    /// Takes a place for its instance, until the store's memory is given back, where it comes from no pool.
    pub(crate) fn occupy(&mut self, code: &Code) -> Result<(), NoPlace> {
        if let Some(places) = &code.places {
            self.place = Some(places.take(code.compiled.component.resources_required().as_ref()).ok_or(NoPlace)?);
        }
        Ok(())
    }

    /// Holds the slot of the request that the guest works for, until the store's memory is given back or the slot taken out.
    pub(crate) fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// The slot of a request that ended, where the store stays.
    pub(crate) fn release(&mut self) -> Option<Permit> {
        self.permit.take()
    }
}

impl Deref for GuestStore {
    type Target = Store<Guest>;

    fn deref(&self) -> &Store<Guest> {
        self.store.as_ref().expect("taken only when dropped")
    }
}

impl DerefMut for GuestStore {
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        self.store.as_mut().expect("taken only when dropped")
    }
}

impl Drop for GuestStore {
    fn drop(&mut self) {
        let Some(mut store) = self.store.take() else { return };
        let account = store.data_mut().limiter.close();
        let bytes = account.as_ref().map_or(0, Account::bytes);
        let host = store.data().host().clone();
        host.reclaim.drop(Spent { _store: store, _account: account, _place: self.place.take(), _permit: self.permit.take() }, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use berth_model::limits::Effective;
    use wasmtime::{Engine, ResourceLimiter};

    use crate::admission::{Admission, HostSlots};
    use crate::component::tests::component;
    use crate::component::{Shared, Unit};
    use crate::guest;

    /// Notes what the host counts when the store that holds it is dropped.
    struct Probe {
        host: Arc<Shared>,
        slots: Arc<HostSlots>,
        seen: Arc<std::sync::Mutex<Vec<(u64, u32)>>>,
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.seen.lock().unwrap().push((self.host.memory.used_bytes(), self.slots.in_use()));
        }
    }

    #[tokio::test]
    async fn l31_l32_memory_and_slot_are_free_only_once_the_store_is_gone() {
        let (component, _logs) = component();
        let slots = Arc::new(HostSlots::new(4));
        let admission = Admission::new(slots.clone(), &Effective::default(), component.metrics.clone());
        let (host, seen) = (component.host.clone(), Arc::default());
        let mut store = guest::store(&Engine::default(), &Unit::single(component.clone()), None, Instant::now());
        store.hold(admission.admit().await.ok());
        assert!(store.data_mut().limiter.memory_growing(0, 32 << 20, None).unwrap());
        store.data_mut().table.push(Probe { host: host.clone(), slots: slots.clone(), seen: Arc::clone(&seen) }).unwrap();
        drop(store);
        assert_eq!(*seen.lock().unwrap(), [(32 << 20, 1)]);
        assert_eq!((host.memory.used_bytes(), slots.in_use(), component.metrics.memory_bytes.get()), (0, 0, 0));
    }
}
