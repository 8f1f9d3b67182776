//! What goes with its owner: in steps, so that the end of one object with ten thousand others keeps no other write waiting.

use std::ops::Bound;

use berth_model::resource::ObjectKey;
use jiff::Timestamp;

use super::{Delta, State};

/// Objects that are deleted in one step because their owner is gone: those with few go with it, and many keep no other write waiting.
const COLLECTED: usize = 256;

impl State {
    /// Whether objects that are gone have left dependents.
    pub(in crate::store) fn has_orphans(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Deletes what objects that are gone have owned, [`COLLECTED`] of it at most, and adds the steps to `deltas`. An object with
    /// another owner stays.
    pub(in crate::store) fn collect(&mut self, now: Timestamp, deltas: &mut Vec<Delta>) {
        let mut left = COLLECTED;
        while left > 0 {
            let Some((uid, last)) = self.gone.first_key_value().map(|(uid, last)| (uid.clone(), last.clone())) else { return };
            let from = last.map_or(Bound::Unbounded, Bound::Excluded);
            let children = self.dependents.get(&uid).into_iter().flat_map(|all| all.range((from.clone(), Bound::Unbounded)));
            let children: Vec<ObjectKey> = children.take(left).cloned().collect();
            // One that a failed commit brought back keeps what it owns.
            let Some(last) = children.last().filter(|_| !self.uids.contains_key(&uid)) else {
                self.gone.remove(&uid);
                continue;
            };
            self.gone.insert(uid.clone(), Some(last.clone()));
            left -= children.len();
            for key in children {
                self.collect_one(&uid, &key, now, deltas);
            }
        }
    }

    fn collect_one(&mut self, uid: &str, key: &ObjectKey, now: Timestamp, deltas: &mut Vec<Delta>) {
        let Some(child) = self.objects.get(key).cloned() else { return };
        if child.metadata().owner_references.iter().all(|owner| owner.uid == uid || self.gone.contains_key(&owner.uid)) {
            self.delete(key, now, deltas);
        } else {
            let mut orphan = (*child).clone();
            orphan.metadata_mut().owner_references.retain(|owner| owner.uid != uid);
            self.put(Some(child), orphan, deltas);
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_model::resource::Resource;

    use super::super::Write;
    use super::*;

    fn workload(name: &str, owner: &str) -> Resource {
        let owner = serde_json::json!([{
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadReplicaSet", "name": "web", "uid": owner, "controller": true
        }]);
        serde_json::from_value(serde_json::json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload",
            "metadata": { "name": name, "namespace": "default", "uid": name, "ownerReferences": owner },
            "spec": { "components": [{ "name": "main", "image": "file:///a.wasm" }] }
        }))
        .unwrap()
    }

    #[test]
    fn what_a_process_that_ended_left_to_collect_is_collected_by_the_next() {
        let mut state = State::new((0..300).map(|i| workload(&format!("web-{i}"), "gone")), 1000);
        let mut deltas = Vec::new();
        assert!(state.has_orphans());
        state.collect(Timestamp::UNIX_EPOCH, &mut deltas);
        assert_eq!((deltas.len(), state.objects.len()), (COLLECTED, 300 - COLLECTED));
        while state.has_orphans() {
            state.collect(Timestamp::UNIX_EPOCH, &mut deltas);
        }
        assert!(state.objects.is_empty());
    }

    #[test]
    fn what_was_taken_back_isnt_collected_because_its_owner_is_kept_elsewhere() {
        let mut mine = workload("mine", "elsewhere");
        mine.metadata_mut().owner_references[0].api_version = "apps/v1".to_owned();
        mine.metadata_mut().owner_references[0].kind = "Deployment".to_owned();
        let mut state = State::new([mine.clone()], 1000);
        let Resource::Workload(workload) = &mut mine else { panic!() };
        workload.status.host_id = Some("host".to_owned());
        let mut deltas = Vec::new();
        state.perform(Write::UpdateStatus(mine), Timestamp::UNIX_EPOCH, &mut deltas).unwrap();
        assert_eq!(deltas.len(), 1);
        state.undo(&deltas);
        assert!(!state.has_orphans());
        state.collect(Timestamp::UNIX_EPOCH, &mut Vec::new());
        assert_eq!(state.objects.len(), 1);
    }

    #[test]
    fn what_was_collected_and_taken_back_is_collected_again() {
        let mut state = State::new((0..10).map(|i| workload(&format!("web-{i}"), "gone")), 1000);
        let mut deltas = Vec::new();
        state.collect(Timestamp::UNIX_EPOCH, &mut deltas);
        assert!(state.objects.is_empty());
        state.undo(&deltas);
        assert_eq!(state.objects.len(), 10);
        state.collect(Timestamp::UNIX_EPOCH, &mut Vec::new());
        assert!(state.objects.is_empty());
    }
}
