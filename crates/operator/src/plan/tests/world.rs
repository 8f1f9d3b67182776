//! A store, hosts that do as they are told, and a clock that the test moves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Heartbeat, PROTOCOL_LABEL, Report, WorkloadState};
use berth_model::condition::{self, Condition};
use berth_model::event::Event;
use berth_model::id::HostId;
use berth_model::resource::{Deployment, Kind, ObjectKey, ReplicaSet, Resource, Workload};
use serde_json::{Value, json};

use crate::plan::{self, Action, Answer, HostView, HostWants, Objects, Plan, PlanConfig, Snapshot, Want};
use crate::store::{Change, EmbeddedStore, Store, StoreError, Watch};

/// What a host says of a workload that it was told to run; `None`: it doesn't list it.
pub(super) type Behaviour = Box<dyn Fn(HostId, &Want) -> Option<Report>>;

pub(super) struct World {
    runtime: tokio::runtime::Runtime,
    store: EmbeddedStore,
    watch: Watch,
    pub(super) snapshot: Snapshot,
    pub(super) behaviour: Behaviour,
    /// Hosts that send no heartbeats and answer nothing.
    pub(super) silent: BTreeSet<HostId>,
    /// Hosts that send heartbeats and answer nothing.
    pub(super) stuck: BTreeSet<HostId>,
    pub(super) events: Vec<Event>,
}

pub(super) fn running(want: &Want) -> Option<Report> {
    Some(Report::new(want.id.clone(), WorkloadState::Running))
}

pub(super) fn starting(want: &Want) -> Option<Report> {
    Some(Report::new(want.id.clone(), WorkloadState::Starting))
}

impl World {
    pub(super) fn new() -> World {
        World::with(PlanConfig::default())
    }

    pub(super) fn with(config: PlanConfig) -> World {
        let store = EmbeddedStore::in_memory().unwrap();
        let snapshot = Snapshot {
            now: jiff::Timestamp::now(),
            uptime: Duration::ZERO,
            config,
            objects: Objects::default(),
            hosts: BTreeMap::new(),
            listening_since: Some(Duration::ZERO),
            memory: Default::default(),
        };
        World {
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            watch: store.watch(),
            store,
            snapshot,
            behaviour: Box::new(|_, want| running(want)),
            silent: BTreeSet::new(),
            stuck: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// A host that is heard from now on.
    pub(super) fn host(&mut self, name: &str, labels: &[(&str, &str)]) -> HostId {
        self.host_in("", name, labels)
    }

    pub(super) fn host_in(&mut self, environment: &str, name: &str, labels: &[(&str, &str)]) -> HostId {
        let mut heartbeat = Heartbeat::new(HostId::random());
        name.clone_into(&mut heartbeat.friendly_name);
        environment.clone_into(&mut heartbeat.environment);
        heartbeat.labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        heartbeat.labels.insert(PROTOCOL_LABEL.to_owned(), "1".to_owned());
        let id = heartbeat.id;
        self.snapshot.hosts.insert(id, HostView { heartbeat, heard: self.snapshot.uptime, answer: None });
        id
    }

    pub(super) fn label(&mut self, host: HostId, key: &str, value: &str) {
        self.snapshot.hosts.get_mut(&host).unwrap().heartbeat.labels.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn try_apply(&mut self, object: Value) -> Result<(), StoreError> {
        let resource: Resource = serde_json::from_value(object).unwrap();
        self.runtime.block_on(self.store.apply(resource)).map(drop)
    }

    pub(super) fn apply(&mut self, object: Value) {
        self.try_apply(object).unwrap();
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        let key = ObjectKey { kind, namespace: "default".to_owned(), name: name.to_owned() };
        assert!(self.runtime.block_on(self.store.delete(&key)).unwrap());
    }

    /// Plans once and carries it out. Returns the plan, without its memory, and how many writes failed.
    pub(super) fn pass(&mut self) -> (Plan, usize) {
        let plan = self.plan();
        let mut failed = 0;
        for write in plan.writes.clone() {
            let done = self.runtime.block_on(async {
                match write.action {
                    Action::Create(resource) => self.store.create(resource).await.map(drop),
                    Action::Update(resource) => self.store.update(resource).await.map(drop),
                    Action::UpdateStatus(resource) => self.store.update_status(resource).await.map(drop),
                    Action::Delete(key) => self.store.delete(&key).await.map(drop),
                }
            });
            match done {
                Ok(()) => self.events.extend(write.events),
                Err(_) => failed += 1,
            }
        }
        self.answer(&plan.wants);
        self.read();
        (plan, failed)
    }

    /// Plans once; the store takes none of the writes, and hosts do as they are told.
    pub(super) fn pass_without_writes(&mut self) -> Plan {
        let plan = self.plan();
        self.answer(&plan.wants);
        plan
    }

    fn plan(&mut self) -> Plan {
        self.read();
        let mut plan = plan::plan(&self.snapshot);
        self.snapshot.memory = std::mem::take(&mut plan.memory);
        plan
    }

    /// Hosts that aren't silent say what they have.
    fn answer(&mut self, wants: &BTreeMap<HostId, Arc<HostWants>>) {
        for (id, wants) in wants {
            let Some(view) = self.snapshot.hosts.get_mut(id) else { continue };
            if self.silent.contains(id) || self.stuck.contains(id) {
                continue;
            }
            let reports = wants.run.iter().filter_map(|want| (self.behaviour)(*id, want));
            let reports: HashMap<_, _> = reports.map(|report| (report.id.clone(), report)).collect();
            view.answer = Some(Answer { to: wants.clone(), reports });
        }
    }

    /// Plans until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            let before = self.answers();
            let (plan, _) = self.pass();
            if plan.writes.is_empty() && before == self.answers() {
                return;
            }
        }
        panic!("it doesn't settle; the last plan: {:#?}", self.pass().0.writes);
    }

    fn answers(&self) -> Vec<Option<(usize, Vec<Report>)>> {
        let answer = |a: &Answer| {
            let mut reports: Vec<_> = a.reports.values().cloned().collect();
            reports.sort_by(|a, b| a.id.cmp(&b.id));
            (Arc::as_ptr(&a.to) as usize, reports)
        };
        self.snapshot.hosts.values().map(|view| view.answer.as_ref().map(answer)).collect()
    }

    /// Lets time pass; hosts that aren't silent are heard at its end.
    pub(super) fn advance(&mut self, time: Duration) {
        self.snapshot.uptime += time;
        self.snapshot.now = self.snapshot.now.checked_add(time).unwrap();
        for (id, view) in &mut self.snapshot.hosts {
            if !self.silent.contains(id) {
                view.heard = self.snapshot.uptime;
            }
        }
    }

    /// Takes over what changed in the store.
    pub(super) fn read(&mut self) {
        while let Some(change) = self.watch.try_next() {
            match change {
                Change::Added(object) | Change::Modified(object) => self.snapshot.objects.insert(Arc::unwrap_or_clone(object)),
                Change::Deleted(object) => self.snapshot.objects.remove(&object),
                Change::Resync => self.list(),
            }
        }
    }

    /// Reads the whole store anew.
    pub(super) fn list(&mut self) {
        self.snapshot.objects = Objects::default();
        for kind in Kind::ALL {
            let objects = self.runtime.block_on(self.store.list(kind, None)).unwrap();
            objects.into_iter().for_each(|object| self.snapshot.objects.insert(object));
        }
    }

    pub(super) fn workloads(&self) -> Vec<Workload> {
        self.snapshot.objects.workloads.iter().map(|w| (**w).clone()).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.workloads().into_iter().map(|w| w.metadata.name).collect()
    }

    pub(super) fn workload(&self, name: &str) -> Workload {
        (**self.snapshot.objects.workloads.get("default", name).unwrap()).clone()
    }

    pub(super) fn deployment(&self, name: &str) -> Deployment {
        (**self.snapshot.objects.deployments.get("default", name).unwrap()).clone()
    }

    pub(super) fn sets(&self) -> Vec<ReplicaSet> {
        self.snapshot.objects.replica_sets.iter().map(|s| (**s).clone()).collect()
    }

    /// Names of workloads per host.
    pub(super) fn placed(&self) -> BTreeMap<HostId, Vec<String>> {
        let mut placed: BTreeMap<HostId, Vec<String>> = BTreeMap::new();
        for workload in self.workloads() {
            if let Some(host) = workload.status.host_id {
                placed.entry(host.parse().unwrap()).or_default().push(workload.metadata.name);
            }
        }
        placed
    }

    pub(super) fn happened(&self, reason: &str) -> bool {
        self.events.iter().any(|event| event.reason == reason)
    }
}

pub(super) fn ready(conditions: &[Condition]) -> (String, String, String) {
    let ready = condition::find(conditions, "Ready").expect("there is a Ready condition");
    (ready.status.to_string(), ready.reason.clone(), ready.message.clone())
}

pub(super) fn spec(image: &str) -> Value {
    json!({ "components": [{ "name": "main", "image": image }] })
}

pub(super) fn workload(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload", "metadata": { "name": name }, "spec": spec })
}

pub(super) fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    deployment_of(name, replicas, spec(image))
}

pub(super) fn deployment_of(name: &str, replicas: i32, spec: Value) -> Value {
    json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadDeployment", "metadata": { "name": name },
        "spec": { "replicas": replicas, "template": { "spec": spec } }
    })
}

pub(super) fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value } })
}

/// A spec whose environment comes from the ConfigMap `settings`.
pub(super) fn configured_spec() -> Value {
    json!({ "components": [{
        "name": "main", "image": "file:///a.wasm",
        "localResources": { "environment": { "configFrom": [{ "name": "settings" }] } }
    }] })
}

pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}
