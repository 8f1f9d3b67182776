//! Tells people what can't go on: an object that refers to something that isn't there, or that no host takes.
//!
//! Replicas wait for the same thing, so what is told is told of their owner, once, and again only when it went on in between.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use berth_model::condition::{self, ConditionStatus};
use berth_model::resource::{Kind, ObjectKey, Resource};
use berth_operator::store::{Change, Store};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::notice::Notice;

/// How long an object waits before a person is told: a host needs a moment to be heard at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Different things that are told of one owner; after that it is silent until it goes on.
const MAX_TOLD: usize = 8;

/// Kinds that can wait.
const KINDS: [Kind; 2] = [Kind::Workload, Kind::WorkloadDeployment];

/// Watches the store until shutdown.
pub(super) async fn tell_what_waits(
    store: Arc<dyn Store>,
    notices: broadcast::Sender<Notice>,
    shutdown: CancellationToken,
) -> &'static str {
    const NAME: &str = "watch for what waits";
    let mut changes = store.watch();
    let mut waiting = Waiting::default();
    loop {
        let change = tokio::select! {
            () = shutdown.cancelled() => return NAME,
            () = until(waiting.due()) => None,
            change = changes.next() => match change {
                Some(change) => Some(change),
                None => return NAME,
            },
        };
        match change {
            Some(Change::Added(resource) | Change::Modified(resource)) => waiting.see(&resource, Instant::now()),
            Some(Change::Deleted(resource)) => waiting.gone(&resource),
            Some(Change::Resync) => {
                let mut there = Vec::new();
                for kind in KINDS {
                    // What can't be listed now is seen when it changes.
                    there.extend(store.list(kind, None).await.unwrap_or_default());
                }
                waiting.restart(&there, Instant::now());
            }
            None => {
                for notice in waiting.ripe(Instant::now()) {
                    // Nobody listening is no error.
                    let _ = notices.send(notice);
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Owners whose objects can't go on.
#[derive(Default)]
struct Waiting {
    owners: HashMap<String, Stuck>,
    /// What may have to be told, whose it is, and since when; in the order of time, as all have the same patience.
    queue: VecDeque<(Instant, String, Arc<Notice>)>,
}

/// An owner's objects that can't go on, and why.
#[derive(Default)]
struct Stuck {
    objects: HashMap<ObjectKey, Arc<Notice>>,
    /// At most [`MAX_TOLD`].
    obstacles: Vec<Obstacle>,
}

/// What keeps objects of one owner from going on.
struct Obstacle {
    notice: Arc<Notice>,
    told: bool,
    /// How many wait for it. None: it was told, and isn't told again as long as others wait for something else.
    objects: usize,
}

impl Stuck {
    /// Takes what an object waits for. Returns it if it is a new obstacle.
    fn meet(&mut self, object: ObjectKey, notice: Notice) -> Option<Arc<Notice>> {
        if let Some(before) = self.objects.get(&object) {
            if **before == notice && self.position(before).is_some() {
                return None;
            }
            self.leave(&object);
        }
        if let Some(known) = self.obstacles.iter_mut().find(|obstacle| *obstacle.notice == notice) {
            known.objects += 1;
            self.objects.insert(object, known.notice.clone());
            return None;
        }
        let notice = Arc::new(notice);
        self.objects.insert(object, notice.clone());
        if self.obstacles.len() == MAX_TOLD {
            return None;
        }
        self.obstacles.push(Obstacle { notice: notice.clone(), told: false, objects: 1 });
        Some(notice)
    }

    /// The object waits no more, or for something else.
    fn leave(&mut self, object: &ObjectKey) {
        let Some(i) = self.objects.remove(object).and_then(|notice| self.position(&notice)) else { return };
        let obstacle = &mut self.obstacles[i];
        obstacle.objects -= 1;
        if obstacle.objects == 0 && !obstacle.told {
            self.obstacles.swap_remove(i);
        }
    }

    fn position(&self, notice: &Arc<Notice>) -> Option<usize> {
        self.obstacles.iter().position(|obstacle| Arc::ptr_eq(&obstacle.notice, notice))
    }
}

impl Waiting {
    /// Takes an object as it is now.
    fn see(&mut self, resource: &Resource, now: Instant) {
        let Some((owner, notice)) = obstacle(resource) else { return self.gone(resource) };
        let stuck = self.owners.entry(owner.clone()).or_default();
        if let Some(notice) = stuck.meet(resource.key(), notice) {
            self.queue.push_back((now, owner, notice));
        }
    }

    /// The object goes on, or is gone.
    fn gone(&mut self, resource: &Resource) {
        let owner = owner(resource);
        let Some(stuck) = self.owners.get_mut(&owner) else { return };
        stuck.leave(&resource.key());
        if stuck.objects.is_empty() {
            self.owners.remove(&owner);
        }
    }

    /// Begins anew with all objects there are.
    fn restart(&mut self, there: &[Resource], now: Instant) {
        self.queue.clear();
        for stuck in self.owners.values_mut() {
            stuck.objects.clear();
            stuck.obstacles.retain(|obstacle| obstacle.told);
            stuck.obstacles.iter_mut().for_each(|obstacle| obstacle.objects = 0);
        }
        there.iter().for_each(|resource| self.see(resource, now));
        self.owners.retain(|_, stuck| !stuck.objects.is_empty());
    }

    /// When there is something to tell.
    fn due(&self) -> Option<Instant> {
        self.queue.front().map(|(since, ..)| *since + PATIENCE)
    }

    /// What has waited for long enough.
    fn ripe(&mut self, now: Instant) -> Vec<Notice> {
        let mut ripe = Vec::new();
        while let Some((_, owner, notice)) = self.queue.pop_front_if(|(since, ..)| *since + PATIENCE <= now) {
            let Some(stuck) = self.owners.get_mut(&owner) else { continue };
            // None: it has passed.
            let Some(i) = stuck.position(&notice) else { continue };
            stuck.obstacles[i].told = true;
            ripe.push((*notice).clone());
        }
        ripe
    }
}

/// Who is told about, `namespace/name`.
fn owner(resource: &Resource) -> String {
    let meta = resource.metadata();
    format!("{}/{}", meta.namespace, meta.controller().map_or(&meta.name, |owner| &owner.name))
}

/// What keeps an object from going on, from its conditions, and whose it is.
fn obstacle(resource: &Resource) -> Option<(String, Notice)> {
    let (conditions, kinds): (_, &[&str]) = match resource {
        Resource::Workload(w) => (&w.status.conditions, &["Config", "HostSelection"]),
        Resource::Deployment(d) => (&d.status.conditions, &["Artifact"]),
        _ => return None,
    };
    let found = kinds.iter().filter_map(|kind| condition::find(conditions, kind)).find(|c| c.status == ConditionStatus::False)?;
    let owner = owner(resource);
    Some((owner.clone(), Notice::Waiting { owner, reason: found.reason.clone(), message: found.message.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workload of owner `web`; with a reason, one that waits.
    fn workload(name: &str, reason: Option<&str>) -> Resource {
        let conditions = reason.map(|reason| serde_json::json!([{ "type": "Config", "status": "False", "reason": reason }]));
        let owner = serde_json::json!([{
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadReplicaSet", "name": "web", "uid": "u", "controller": true
        }]);
        serde_json::from_value(serde_json::json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload",
            "metadata": { "name": name, "namespace": "default", "ownerReferences": owner },
            "spec": {}, "status": { "conditions": conditions.unwrap_or_else(|| serde_json::json!([])) }
        }))
        .unwrap()
    }

    #[test]
    fn what_ten_thousand_replicas_wait_for_is_told_once() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        for i in 0..10_000 {
            waiting.see(&workload(&format!("web-{i}"), Some("ReferenceNotFound")), start);
        }
        assert_eq!(waiting.due(), Some(start + PATIENCE));
        assert!(waiting.ripe(start).is_empty(), "it may pass");
        assert_eq!(waiting.ripe(start + PATIENCE).len(), 1);
        assert_eq!(waiting.due(), None);
        waiting.see(&workload("web-0", Some("ReferenceNotFound")), start + PATIENCE);
        assert_eq!(waiting.due(), None);
    }

    #[test]
    fn what_went_on_and_waits_again_is_told_again_and_nothing_of_it_is_kept() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let mut now = start;
        for _ in 0..3 {
            waiting.see(&workload("web-0", Some("ReferenceNotFound")), now);
            now += PATIENCE;
            assert_eq!(waiting.ripe(now).len(), 1);
            waiting.see(&workload("web-0", None), now);
            assert!(waiting.owners.is_empty() && waiting.queue.is_empty());
        }
    }

    #[test]
    fn another_reason_is_told_too_and_a_short_wait_isnt() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.see(&workload("web-0", Some("ReferenceNotFound")), start);
        assert_eq!(waiting.ripe(start + PATIENCE).len(), 1);
        waiting.see(&workload("web-0", Some("InvalidSpec")), start + PATIENCE);
        assert_eq!(waiting.ripe(start + PATIENCE * 2).len(), 1);
        waiting.see(&workload("web-0", None), start + PATIENCE * 2);
        waiting.see(&workload("web-0", Some("InvalidSpec")), start + PATIENCE * 2);
        waiting.see(&workload("web-0", None), start + PATIENCE * 2);
        assert!(waiting.ripe(start + PATIENCE * 9).is_empty());
    }

    #[test]
    fn what_one_replica_waits_for_is_told_though_another_still_says_what_was_told() {
        let reasons = |notices: Vec<Notice>| -> Vec<String> {
            let reason = |notice| if let Notice::Waiting { reason, .. } = notice { reason } else { panic!("{notice:?}") };
            notices.into_iter().map(reason).collect()
        };
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.see(&workload("web-0", Some("A")), start);
        assert_eq!(reasons(waiting.ripe(start + PATIENCE)), ["A"]);
        let later = start + PATIENCE;
        for (name, reason) in
            [("web-1", "B"), ("web-2", "C"), ("web-0", "A"), ("web-3", "A"), ("web-4", "D"), ("web-1", "B"), ("web-4", "A")]
        {
            waiting.see(&workload(name, Some(reason)), later);
        }
        assert_eq!(reasons(waiting.ripe(later + PATIENCE)), ["B", "C"], "D has passed");
        waiting.restart(&[workload("web-1", Some("B")), workload("web-2", Some("E"))], later);
        assert_eq!(reasons(waiting.ripe(later + PATIENCE)), ["E"]);
    }

    #[test]
    fn replicas_that_all_wait_for_something_else_are_told_of_a_few_times() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        for i in 0..100 {
            waiting.see(&workload(&format!("web-{i}"), Some(&format!("R{i}"))), start);
        }
        assert_eq!(waiting.ripe(start + PATIENCE).len(), MAX_TOLD);
        for i in 0..100 {
            waiting.see(&workload(&format!("web-{i}"), None), start);
        }
        assert!(waiting.owners.is_empty() && waiting.queue.is_empty());
    }
}
