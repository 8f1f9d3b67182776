//! Every role in one process: operator, host, bus, store and local API, as `berth up` runs them, on a free port.
//!
//! A test says what it wants and awaits that it is so ([`World::eventually`]); nothing sleeps. What a test can't go on without panics
//! with words.

mod http;
mod manifest;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_node::api::{Applied, Client, Outcome};
use berth_node::host::Host;
use berth_node::host::logs::LogLine;
use berth_node::lifecycle::Lifecycle;
use berth_node::model::condition::{self, ConditionStatus};
use berth_node::model::event::Event;
use berth_node::model::manifest::{Document, parse};
use berth_node::model::resource::{Kind, ObjectKey, Resource};
use berth_node::notice::Notice;
use berth_node::roles::local::{Local, LocalConfig, LocalError};
use berth_node::store::Store;
use tokio::sync::broadcast;

pub use self::http::{Answer, request};
pub use self::manifest::Manifest;

/// How long a test waits for what must come: far above what it takes on a busy machine, below a test's own limit.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at again though nothing is known to have changed: for what no watch tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a world is made of.
#[derive(Clone, Debug, Default)]
pub struct WorldConfig {
    /// The process. By default it keeps nothing and answers on a free port of 127.0.0.1.
    pub local: LocalConfig,
}

/// Operator, host and all between them, running.
pub struct World {
    local: Local,
    client: Client,
}

impl World {
    /// Starts a world. Call it in a runtime with two threads or more, as `berth up` has.
    ///
    /// # Panics
    /// If it can't start; see [`World::try_start`].
    pub async fn start(config: WorldConfig) -> World {
        World::try_start(config).await.unwrap_or_else(|error| panic!("the world can't start: {}", berth_node::chain(&error)))
    }

    /// Starts a world, or says why it can't be.
    ///
    /// # Errors
    /// As [`Local::start`].
    pub async fn try_start(config: WorldConfig) -> Result<World, LocalError> {
        let local = Local::start(config.local).await?;
        let client = Client::new(local.data_dir()).expect("the socket's path was good enough to listen on");
        Ok(World { local, client })
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// If the text isn't a manifest or a resource is refused; see [`World::try_apply`].
    pub async fn apply(&self, yaml: &str) -> Applied {
        let applied = self.try_apply(yaml).await;
        for change in &applied.results {
            assert!(change.outcome != Outcome::Refused, "{:?} is refused: {:?}", change.object, change.error);
        }
        applied
    }

    /// Applies manifests through the store, as the local API does.
    ///
    /// # Panics
    /// If the text isn't a manifest.
    pub async fn try_apply(&self, yaml: &str) -> Applied {
        let documents = parse(yaml, "test").unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let resources = documents.into_iter().filter_map(|document| match document {
            Document::Resource(resource) => Some(*resource),
            Document::Skipped { .. } => None,
        });
        self.local.apply(resources.collect()).await
    }

    /// The local API's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The host.
    pub fn host(&self) -> &Arc<Host> {
        self.local.host()
    }

    /// The resources.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.local.store()
    }

    /// Who asks for drain and end.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        self.local.lifecycle()
    }

    /// The process itself.
    pub fn local(&mut self) -> &mut Local {
        &mut self.local
    }

    /// What `berth up` would say; the first call gets all from the start.
    pub fn notices(&mut self) -> broadcast::Receiver<Notice> {
        self.local.notices()
    }

    /// Where HTTP is answered.
    pub fn addr(&self) -> SocketAddr {
        self.local.http_addr()
    }

    /// Where `/livez`, `/readyz` and `/metrics` answer.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.local.admin_addr()
    }

    /// GETs a path of a domain on a connection of its own.
    ///
    /// # Errors
    /// When the connection breaks before the answer is whole, or nothing comes within [`PATIENCE`].
    pub async fn http_get(&self, domain: &str, path: &str) -> Result<Answer, String> {
        http::get(self.addr(), domain, path).await
    }

    /// Events so far, the oldest first.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.local.events().recent()
    }

    /// Log lines of a deployment's or a workload's, the oldest first.
    pub fn logs(&self, namespace: &str, name: &str) -> Vec<Arc<LogLine>> {
        self.host().logs().tail(namespace, Some(name), usize::MAX)
    }

    /// One object of the namespace `default`.
    ///
    /// # Panics
    /// If the store can't be read.
    pub async fn get(&self, kind: Kind, name: &str) -> Option<Resource> {
        let key = ObjectKey { kind, namespace: "default".into(), name: name.into() };
        self.store().get(&key).await.expect("the store can be read")
    }

    /// Waits until `condition` yields something; it is looked at after each change of a resource, a workload, the events or the logs.
    ///
    /// # Panics
    /// If that takes longer than `deadline`: `what` says what was waited for.
    pub async fn eventually<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut() -> F,
    ) -> T {
        let mut resources = self.store().watch();
        let mut workloads = self.host().changes();
        let (_, mut events) = self.local.events().follow();
        let mut logs = self.host().logs().follow();
        let waited = tokio::time::timeout(deadline, async {
            loop {
                if let Some(found) = condition().await {
                    return found;
                }
                tokio::select! {
                    _ = resources.next() => {}
                    _ = workloads.changed() => {}
                    _ = events.recv() => {}
                    _ = logs.recv() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            }
        });
        match waited.await {
            Ok(found) => found,
            Err(_) => panic!("not within {deadline:?}: {what}\nevents: {:#?}", self.events()),
        }
    }

    /// Waits until a deployment of the namespace `default` is ready in its newest generation, and nothing older runs.
    ///
    /// # Panics
    /// If it doesn't get ready within [`PATIENCE`].
    pub async fn ready(&self, name: &str) {
        self.eventually(&format!("deployment {name} is ready"), PATIENCE, || async {
            let Some(Resource::Deployment(deployment)) = self.get(Kind::WorkloadDeployment, name).await else { return None };
            let ready = condition::find(&deployment.status.conditions, "Ready")?;
            let newest = ready.observed_generation >= deployment.metadata.generation;
            let alone = deployment.status.previous_replica_set.is_none();
            (ready.status == ConditionStatus::True && newest && alone).then_some(())
        })
        .await;
    }

    /// Drains and ends everything, as `berth stop` does.
    pub async fn shutdown(self) {
        self.local.shutdown().await;
    }
}
