//! The whole loop: store, plan, bus and hosts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_control::MemoryBus;
use berth_model::condition;
use berth_model::event::{Event, EventSink};
use berth_model::resource::{Deployment, Kind, Resource};
use berth_operator::plan::PlanConfig;
use berth_operator::store::{EmbeddedStore, Store, Watch};
use berth_operator::{Operator, OperatorConfig, OperatorError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake_host::{FakeHost, Script};
use crate::objects::{deployment, key, workload};

const LONG: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Sink(Mutex<Vec<Event>>);

impl EventSink for Sink {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

struct World {
    store: Arc<EmbeddedStore>,
    /// The operator's connection.
    bus: MemoryBus,
    events: Arc<Sink>,
    end: CancellationToken,
    operator: JoinHandle<Result<(), OperatorError>>,
}

fn config() -> OperatorConfig {
    OperatorConfig {
        plan: PlanConfig { lease: Duration::from_secs(2), retry_first: Duration::from_millis(50), ..PlanConfig::default() },
        resync_every: Duration::from_millis(500),
        ..OperatorConfig::default()
    }
}

impl World {
    fn start() -> World {
        World::over(Arc::new(EmbeddedStore::in_memory().unwrap()), config())
    }

    fn over(store: Arc<EmbeddedStore>, config: OperatorConfig) -> World {
        let (bus, events, end) = (MemoryBus::default(), Arc::new(Sink::default()), CancellationToken::new());
        let run = Operator::run(store.clone(), Arc::new(bus.clone()), events.clone(), config, end.clone());
        let operator = tokio::spawn(run);
        World { store, bus, events, end, operator }
    }

    fn host(&self, name: &str) -> FakeHost {
        FakeHost::start(&self.bus, name, Script::Obeys)
    }

    /// Waits until `holds` of the store, looking again after each change.
    async fn until(&self, what: &str, holds: impl AsyncFn(&EmbeddedStore) -> bool) {
        let mut watch = self.store.watch();
        let wait = async {
            while !holds(&self.store).await {
                watch.next().await;
            }
        };
        assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "not in time: {what}");
    }

    async fn deployment(&self, name: &str) -> Deployment {
        deployment_in(&self.store, name).await
    }

    /// Waits until the deployment's Ready condition of its latest generation is as wanted.
    async fn until_ready(&self, name: &str, status: &str, reason: &str) {
        let holds = async |store: &EmbeddedStore| {
            let deployment = deployment_in(store, name).await;
            let ready = condition::find(&deployment.status.conditions, "Ready");
            ready.is_some_and(|r| {
                r.status.to_string() == status && r.reason == reason && r.observed_generation == deployment.metadata.generation
            })
        };
        self.until(&format!("{name} Ready={status} {reason}"), holds).await;
    }

    /// Waits until nothing was written for 300 ms.
    async fn quiet(&self) -> Watch {
        let mut watch = self.store.watch();
        let wait = async { while tokio::time::timeout(Duration::from_millis(300), watch.next()).await.is_ok() {} };
        tokio::time::timeout(LONG, wait).await.expect("it comes to rest");
        watch
    }

    async fn shut_down(self) -> Arc<EmbeddedStore> {
        self.end.cancel();
        tokio::time::timeout(LONG, self.operator).await.unwrap().unwrap().unwrap();
        self.store
    }
}

async fn deployment_in(store: &EmbeddedStore, name: &str) -> Deployment {
    let Some(Resource::Deployment(found)) = store.get(&key(Kind::WorkloadDeployment, name)).await.unwrap() else { panic!("no {name}") };
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_runs_on_a_host_and_what_is_deleted_stops() {
    let world = World::start();
    let host = world.host("one");
    world.store.apply(deployment("web", 3, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    host.runs(3).await;
    // Otherwise the deletion may come between the deployment's status and those of its workloads, and one event less is told.
    world.quiet().await;
    world.store.delete(&key(Kind::WorkloadDeployment, "web")).await.unwrap();
    host.runs(0).await;
    world.until("no workloads", async |store| store.list(Kind::Workload, None).await.unwrap().is_empty()).await;
    let events = world.events.clone();
    world.shut_down().await;
    let reasons: Vec<_> = events.0.lock().unwrap().iter().map(|e| e.reason.clone()).collect();
    for reason in ["Registered", "RolloutStarted", "ScaledUp", "Scheduled", "Started", "RolledOut", "Stopped"] {
        assert!(reasons.iter().any(|r| r == reason), "{reason} in {reasons:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l17_a_steady_state_costs_no_writes() {
    let world = World::start();
    let host = world.host("one");
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    host.runs(2).await;
    let mut changes = world.quiet().await;
    // Heartbeats come each 50 ms and sets each 500 ms; nothing of that may be written.
    let quiet = tokio::time::timeout(Duration::from_secs(2), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_an_idle_operator_reacts_to_changes_without_polling() {
    let never = OperatorConfig { resync_every: Duration::from_secs(600), ..config() };
    let world = World::over(Arc::new(EmbeddedStore::in_memory().unwrap()), never);
    world.store.apply(workload("app", None, &[])).await.unwrap();
    let host = world.host("one");
    host.runs(1).await;
    world.store.apply(workload("late", None, &[])).await.unwrap();
    host.runs(2).await;
    world.store.delete(&key(Kind::Workload, "app")).await.unwrap();
    host.runs(1).await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l03_a_host_that_hangs_holds_up_no_other() {
    let world = World::start();
    let (stuck, fine) = (FakeHost::start(&world.bus, "stuck", Script::Hangs), world.host("fine"));
    world.until("two hosts", async |store| store.list(Kind::Host, None).await.unwrap().len() == 2).await;
    world.store.apply(deployment("web", 4, "file:///a.wasm")).await.unwrap();
    fine.runs(2).await;
    world.store.apply(deployment("api", 2, "file:///a.wasm")).await.unwrap();
    fine.runs(3).await;
    stuck.script(Script::Obeys);
    drop(stuck);
    fine.runs(6).await;
    world.until_ready("web", "True", "Ready").await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l02_l09_when_a_host_dies_its_workloads_run_elsewhere_after_its_lease() {
    let world = World::start();
    let (one, two) = (world.host("one"), world.host("two"));
    world.until("two hosts", async |store| store.list(Kind::Host, None).await.unwrap().len() == 2).await;
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    one.runs(1).await;
    two.runs(1).await;
    drop(one);
    two.runs(2).await;
    world.until_ready("web", "True", "Ready").await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l01_losing_the_bus_deletes_nothing() {
    let world = World::start();
    let (one, two) = (world.host("one"), world.host("two"));
    world.until("two hosts", async |store| store.list(Kind::Host, None).await.unwrap().len() == 2).await;
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;

    let mut changes = world.quiet().await;
    world.bus.set_connected(false);
    // More than two leases long nobody is heard.
    let quiet = tokio::time::timeout(Duration::from_secs(5), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    world.bus.set_connected(true);
    let quiet = tokio::time::timeout(Duration::from_secs(3), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!((one.workloads().borrow().len(), two.workloads().borrow().len()), (1, 1));
    // And it works on.
    world.store.apply(deployment("web", 4, "file:///a.wasm")).await.unwrap();
    one.runs(2).await;
    two.runs(2).await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l06_what_a_host_lost_without_a_word_is_started_again() {
    let world = World::start();
    let host = world.host("one");
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    host.runs(2).await;
    host.lose_everything();
    host.runs(2).await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l05_a_start_that_fails_says_why_and_is_tried_again() {
    let world = World::start();
    let host = FakeHost::start(&world.bus, "one", Script::Fails);
    world.store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "False", "CompileFailed").await;
    let message = condition::find(&world.deployment("web").await.status.conditions, "Ready").unwrap().message.clone();
    assert!(message.contains("not a component"), "{message}");
    host.script(Script::Obeys);
    world.until_ready("web", "True", "Ready").await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_says_unasked_is_acted_on_before_the_next_comparison() {
    let slow = OperatorConfig { resync_every: Duration::from_secs(600), ..config() };
    let world = World::over(Arc::new(EmbeddedStore::in_memory().unwrap()), slow);
    let host = world.host("one");
    world.store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    host.announce_failure().await;
    world.until_ready("web", "False", "Trapped").await;
    world.until_ready("web", "True", "Ready").await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_deployment_rolls_over_and_a_restarted_operator_goes_on() {
    let world = World::start();
    let host = world.host("one");
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    drop(host);
    let store = world.shut_down().await;

    let local = OperatorConfig { plan: PlanConfig { hosts_share_process: true, ..config().plan }, ..config() };
    let world = World::over(store, local);
    let host = world.host("one");
    host.runs(2).await;
    world.until_ready("web", "True", "Ready").await;
    world.store.apply(deployment("web", 2, "file:///b.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    let mut workloads = host.workloads();
    let all_new = workloads.wait_for(|all| all.len() == 2 && all.values().all(|w| w.components[0].image.to_string() == "file:///b.wasm"));
    drop(tokio::time::timeout(LONG, all_new).await.unwrap().unwrap());
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_deployments_is_placed_in_few_plans() {
    let world = World::start();
    let host = world.host("one");
    world.until("a host", async |store| !store.list(Kind::Host, None).await.unwrap().is_empty()).await;
    let applies = (0..100).map(|i| world.store.apply(deployment(&format!("web-{i}"), 2, "file:///a.wasm")));
    for applied in futures::future::join_all(applies).await {
        applied.unwrap();
    }
    host.runs(200).await;
    world.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_knows_only_the_upstream_protocol_is_driven_by_single_steps() {
    let world = World::start();
    let host = FakeHost::start_upstream(&world.bus, "upstream");
    world.store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    world.until_ready("web", "True", "Ready").await;
    host.runs(2).await;
    host.lose_everything();
    host.runs(2).await;
    host.script(Script::Fails);
    world.store.apply(deployment("web", 2, "file:///b.wasm")).await.unwrap();
    world.until_ready("web", "False", "StartFailed").await;
    assert_eq!(host.workloads().borrow().len(), 2, "L07");
    host.script(Script::Obeys);
    world.until_ready("web", "True", "Ready").await;
    world.store.delete(&key(Kind::WorkloadDeployment, "web")).await.unwrap();
    host.runs(0).await;
    world.until("no workloads", async |store| store.list(Kind::Workload, None).await.unwrap().is_empty()).await;
    world.shut_down().await;
}
