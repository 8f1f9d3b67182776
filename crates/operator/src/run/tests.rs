//! The loop's state, driven by hand: what depends on when something comes.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{Heartbeat, MemoryBus};
use berth_model::event::{Event, EventSink};
use berth_model::id::HostId;
use berth_model::resource::Resource;
use tokio::time::Instant;

use super::*;
use crate::plan::{HostWants, Want};
use crate::store::EmbeddedStore;

struct NoEvents;

impl EventSink for NoEvents {
    fn record(&self, _: Event) {}
}

/// An operator that listens, has heard one host, and does nothing by itself.
fn operator() -> (Running, HostId) {
    let config = OperatorConfig::default();
    let (links, _) = Links::new(Arc::new(MemoryBus::default()), config.resync_every);
    let store = Arc::new(EmbeddedStore::in_memory().unwrap());
    let mut operator = Running::new(store, Arc::new(NoEvents), config, links, Objects::default());
    operator.connected(true);
    let heartbeat = Heartbeat::new(HostId::random());
    let host = heartbeat.id;
    operator.heartbeat(heartbeat);
    (operator, host)
}

/// Lets nothing happen for so long: no event was handled, no plan made.
fn stall(operator: &mut Running, time: Duration) {
    let before = |instant: Instant| instant.checked_sub(time).expect("the machine is up for longer");
    operator.started = before(operator.started);
    operator.last_tick = before(operator.last_tick);
}

fn wants(name: &str) -> Arc<HostWants> {
    let manifest = format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{components: [{{name: main, image: \"file:///a.wasm\"}}]}}\n"
    );
    let documents = berth_model::manifest::parse(&manifest, "test").unwrap();
    let [berth_model::manifest::Document::Resource(resource)] = documents.as_slice() else { panic!("{documents:?}") };
    let Resource::Workload(object) = &**resource else { panic!("{resource:?}") };
    let workload = berth_model::validate::workload(&object.metadata, &object.spec, &NoReferences).unwrap();
    let (id, owner) = ("5b6ad1c0-4d67-4a11-9d0a-2f1f6f1f0001".parse().unwrap(), "default/app".into());
    let want = Want { id, generation: 1, workload: Arc::new(workload), owner, created: Timestamp::UNIX_EPOCH };
    Arc::new(HostWants { run: vec![want], ..HostWants::default() })
}

struct NoReferences;

impl berth_model::validate::Lookup for NoReferences {
    fn config_map(&self, _: &str, _: &str) -> Option<&BTreeMap<String, String>> {
        None
    }
    fn secret(&self, _: &str, _: &str) -> Option<&berth_model::resource::SecretData> {
        None
    }
    fn artifact(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn l06_an_answer_that_was_on_its_way_doesnt_undo_what_the_host_said_since() {
    let (mut operator, host) = operator();
    let to = wants("app");
    let id = to.run[0].id.clone();
    let report = |state| Report::new(id.clone(), state);
    let state = |operator: &Running| operator.snapshot.hosts[&host].answer.as_ref().unwrap().reports[&id].state;
    let answer = |sent, state| Answered { host, to: to.clone(), sent, reports: [(id.clone(), report(state))].into() };

    let sent = Instant::now();
    operator.reports(host, vec![report(WorkloadState::Running)]);
    operator.answered(answer(sent, WorkloadState::Starting));
    assert_eq!(state(&operator), WorkloadState::Running);
    operator.answered(answer(Instant::now(), WorkloadState::Starting));
    assert_eq!(state(&operator), WorkloadState::Starting, "it was asked later");
}

#[tokio::test]
async fn l01_an_operator_that_stood_still_blames_no_host_in_its_next_plan() {
    let (mut operator, host) = operator();
    let lease = operator.snapshot.config.lease;
    stall(&mut operator, lease * 3);
    operator.plan();
    assert!(operator.snapshot.memory.dead.is_empty());
    // Silence counts again from then on.
    let ticked = operator.last_tick;
    stall(&mut operator, lease * 3);
    operator.last_tick = ticked;
    operator.plan();
    assert!(operator.snapshot.memory.dead.contains_key(&host));
}
