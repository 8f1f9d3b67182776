//! How long the operator's plan takes for 10,000 workloads on 1,000 hosts: when nothing changed, after one host's report changed, and
//! when one host died. The target is 50 ms (release build).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and one that can't go on ends with the reason")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_control::{Heartbeat, PROTOCOL_LABEL, Report, WorkloadState};
use berth_model::id::HostId;
use berth_model::manifest::{Document, parse};
use berth_operator::plan::{Action, Answer, HostView, HostWants, Memory, Objects, Plan, PlanConfig, Snapshot, plan};
use berth_operator::store::{Change, EmbeddedStore, Store, Watch};

const HOSTS: usize = 1_000;
const DEPLOYMENTS: usize = 200;
const REPLICAS: usize = 50;
/// Plans that are timed; the median counts.
const ROUNDS: usize = 25;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut world = runtime.block_on(World::settled());
    println!("{} workloads on {} hosts", world.snapshot.objects.workloads.len(), world.snapshot.hosts.len());
    world.report("nothing changed", |_| {});
    world.report("one workload reported Starting", World::one_starts);
    world.report("one host is silent", World::one_dies);
}

/// A settled world that only the plan looks at.
struct World {
    store: EmbeddedStore,
    watch: Watch,
    snapshot: Snapshot,
}

impl World {
    async fn settled() -> World {
        let store = EmbeddedStore::in_memory().unwrap();
        let watch = store.watch();
        let snapshot = Snapshot {
            now: jiff::Timestamp::now(),
            uptime: Duration::ZERO,
            config: PlanConfig::default(),
            objects: Objects::default(),
            hosts: (0..HOSTS).map(host).collect(),
            listening_since: Some(Duration::ZERO),
            memory: Memory::default(),
        };
        let mut world = World { store, watch, snapshot };
        for i in 0..DEPLOYMENTS {
            for document in parse(&manifest(i), "bench").unwrap() {
                let Document::Resource(resource) = document else { continue };
                world.store.apply(*resource).await.unwrap();
            }
        }
        while world.pass().await {}
        world
    }

    /// Plans, and carries the plan out; says whether anything changed.
    async fn pass(&mut self) -> bool {
        self.read().await;
        let Plan { writes, wants, memory, .. } = plan(&self.snapshot);
        self.snapshot.memory = memory;
        let mut changed = !writes.is_empty();
        for write in writes {
            let done = match write.action {
                Action::Create(resource) => self.store.create(resource).await.map(drop),
                Action::Update(resource) => self.store.update(resource).await.map(drop),
                Action::UpdateStatus(resource) => self.store.update_status(resource).await.map(drop),
                Action::Delete(key) => self.store.delete(&key).await.map(drop),
            };
            done.unwrap();
        }
        for (id, wants) in wants {
            changed |= self.answer(id, wants);
        }
        self.read().await;
        changed
    }

    fn answer(&mut self, id: HostId, wants: Arc<HostWants>) -> bool {
        let view = self.snapshot.hosts.get_mut(&id).unwrap();
        if view.answer.as_ref().is_some_and(|answer| Arc::ptr_eq(&answer.to, &wants)) {
            return false;
        }
        let running = |id: &berth_model::id::WorkloadId| (id.clone(), Report::new(id.clone(), WorkloadState::Running));
        let reports: HashMap<_, _> = wants.run.iter().map(|want| running(&want.id)).collect();
        view.answer = Some(Answer { to: wants, reports });
        true
    }

    async fn read(&mut self) {
        while let Some(change) = self.watch.try_next() {
            match change {
                Change::Added(object) | Change::Modified(object) => self.snapshot.objects.insert(Arc::unwrap_or_clone(object)),
                Change::Deleted(object) => self.snapshot.objects.remove(&object),
                Change::Resync => {
                    self.snapshot.objects = Objects::default();
                    for kind in berth_model::resource::Kind::ALL {
                        for object in self.store.list(kind, None).await.unwrap() {
                            self.snapshot.objects.insert(object);
                        }
                    }
                }
            }
        }
    }

    fn one_starts(&mut self) {
        let answer = self.snapshot.hosts.values_mut().find_map(|view| view.answer.as_mut()).unwrap();
        let report = answer.reports.values_mut().next().unwrap();
        *report = Report::new(report.id.clone(), WorkloadState::Starting);
    }

    fn one_dies(&mut self) {
        self.snapshot.uptime += self.snapshot.config.lease * 2;
        let now = self.snapshot.uptime;
        self.snapshot.hosts.values_mut().skip(1).for_each(|view| view.heard = now);
    }

    /// Times plans of the world after `change`.
    fn report(&mut self, what: &str, change: impl FnOnce(&mut World)) {
        change(self);
        let mut times: Vec<(Duration, usize)> = (0..ROUNDS)
            .map(|_| {
                let begin = Instant::now();
                let planned = plan(&self.snapshot);
                (begin.elapsed(), planned.writes.len())
            })
            .collect();
        times.sort();
        let (median, writes) = times[ROUNDS / 2];
        println!("plan, {what}: {:.1} ms ({writes} writes)", median.as_secs_f64() * 1e3);
    }
}

fn host(i: usize) -> (HostId, HostView) {
    let id = HostId::random();
    let labels = BTreeMap::from([(PROTOCOL_LABEL.to_owned(), "1".to_owned())]);
    let heartbeat = Heartbeat { friendly_name: format!("host-{i}"), labels, ..Heartbeat::new(id) };
    (id, HostView { heartbeat, heard: Duration::ZERO, answer: None })
}

fn manifest(i: usize) -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata: {{name: app-{i}}}\n\
         spec: {{replicas: {REPLICAS}, template: {{spec: {{components: [{{name: main, image: \"file:///{i}.wasm\"}}]}}}}}}\n"
    )
}
