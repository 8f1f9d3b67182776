//! Room for services: so many on a host at once, and one more while it takes the place of another.
//!
//! What replaces a service comes up beside it, so a host that is full could never replace any. One place beside those that are counted is
//! therefore for replacements: of a host's services at the limit one is replaced at a time, and when the old one has gone the new one has
//! its place.

use std::sync::{Arc, Mutex, MutexGuard};

use berth_model::workload::Workload;

/// Services at once, beside those that may be there, while one takes the place of another.
const SPARE: usize = 1;

/// The places of a host.
pub(crate) struct Rooms {
    most: u32,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    last: u64,
    tenants: Vec<Tenant>,
}

/// Whose service has a place.
struct Tenant {
    number: u64,
    owner: String,
    workload: Workload,
}

impl Tenant {
    /// Whether `workload` of `owner` takes its place: another version of what the same owner runs, not one more of the same.
    fn is_replaced_by(&self, owner: &str, workload: &Workload) -> bool {
        self.owner == owner && Workload { name: workload.name.clone(), ..self.workload.clone() } != *workload
    }
}

/// A place, given back when dropped.
pub(crate) struct Room {
    rooms: Arc<Rooms>,
    number: u64,
}

impl Rooms {
    pub(crate) fn new(most: u32) -> Arc<Rooms> {
        Arc::new(Rooms { most, taken: Mutex::default() })
    }

    /// A place for the service of `owner`'s workload; none while there is none for it.
    pub(crate) fn take(self: &Arc<Self>, owner: &str, workload: &Workload) -> Option<Room> {
        let mut taken = self.lock();
        let (most, used) = (self.most as usize, taken.tenants.len());
        let replaces = || taken.tenants.iter().any(|tenant| tenant.is_replaced_by(owner, workload));
        if used >= most && !(used < most + SPARE && replaces()) {
            return None;
        }
        taken.last += 1;
        let number = taken.last;
        taken.tenants.push(Tenant { number, owner: owner.to_owned(), workload: workload.clone() });
        Some(Room { rooms: self.clone(), number })
    }

    /// How many are taken.
    pub(crate) fn used(&self) -> usize {
        self.lock().tenants.len()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no panic while held")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.rooms.lock().tenants.retain(|tenant| tenant.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A replica of some version.
    fn replica(name: &str, version: &str) -> Workload {
        Workload {
            namespace: "default".into(),
            name: name.into(),
            annotations: BTreeMap::from([("version".into(), version.into())]),
            components: Vec::new(),
            service: None,
            interfaces: Vec::new(),
            volumes: Vec::new(),
            http: None,
        }
    }

    #[test]
    fn l07_at_the_limit_services_are_replaced_one_at_a_time() {
        let rooms = Rooms::new(2);
        let take = |owner: &str, name: &str, version: &str| rooms.take(owner, &replica(name, version));
        let (old, other) = (take("web", "web-1", "1").unwrap(), take("mail", "mail-1", "1").unwrap());
        assert!(take("news", "news-1", "1").is_none(), "nothing of it goes for it");
        assert!(take("web", "web-2", "1").is_none(), "one more of the same isn't a replacement");
        let new = take("web", "web-2", "2").unwrap();
        assert!(take("mail", "mail-2", "2").is_none() && rooms.used() == 3, "one at a time");
        drop(old);
        assert!(take("news", "news-1", "1").is_none(), "the new one has its place");
        let edited = take("mail", "mail-1", "2").unwrap();
        drop((other, new));
        assert!(take("news", "news-1", "1").is_some());
        drop(edited);
        assert_eq!(rooms.used(), 0);
    }

    #[test]
    fn a_host_without_services_has_no_room_for_a_replacement() {
        assert!(Rooms::new(0).take("web", &replica("web-1", "1")).is_none());
    }
}
