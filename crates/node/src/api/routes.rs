//! The server's end of the local API: a request's path and method to what is done.

use std::sync::Arc;

use berth_host::Host;
use berth_model::resource::{Kind, ObjectKey, ObjectMeta, Resource};
use berth_operator::store::{Applied as Stored, Store, WORKLOAD_FINALIZER};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, Stream, once, unfold};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::line;
use super::error::{ApiError, Code};
use super::escape::decode;
use super::stream::{Following, Logging, Selection, Watching, is_of, lines};
use super::types::{Applied, Apply, Change, EditValues, Figures, List, Outcome, Progress, ResourceRef, Top, Version};
use super::values;
use crate::events::EventRing;
use crate::inspect;
use crate::lifecycle::{Lifecycle, Phase};
use crate::server::{Body, Handler, respond, streamed, whole};

/// Largest request body: a few thousand manifests.
const MAX_BODY: usize = 64 << 20;
/// Log lines told without a `tail`.
const DEFAULT_TAIL: usize = 1000;

/// Resources of one request that wait for the store at once: well within its queue of 1,024, and enough for a shared commit.
const APPLIES_IN_FLIGHT: usize = 64;

/// Answers without an end at once. Fewer than the server's 64 connections, so that `berth stop` and other short calls get theirs.
pub(crate) const MAX_STREAMS: usize = 48;

/// What the local API speaks for.
pub(crate) struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) host: Arc<Host>,
    pub(crate) events: Arc<EventRing>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) about: About,
    /// Room for answers without an end.
    pub(crate) streams: Arc<Semaphore>,
    /// One inspection at a time: each reads all components of a workload.
    pub(crate) inspecting: Mutex<()>,
    /// Applies under way; they outlive their connections.
    pub(crate) applies: TaskTracker,
    /// Ends every stream.
    pub(crate) shutdown: CancellationToken,
}

/// What doesn't change while the process runs.
pub(crate) struct About {
    pub(crate) admin_addr: Option<String>,
    pub(crate) data_dir: String,
    pub(crate) started: jiff::Timestamp,
}

type Answer = Result<Response<Body>, ApiError>;

impl Handler for Api {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        tracing::debug!(method = %request.method(), path = request.uri().path(), "api request");
        self.route(request).await.unwrap_or_else(|error| error.response())
    }
}

impl Api {
    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let segments: Vec<String> = path.split('/').skip(1).map(decode).collect::<Option<_>>().ok_or_else(|| not_understood(&path))?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["v1", "version"]) => Ok(json(&self.version())),
            (&Method::POST, ["v1", "apply"]) => self.apply(request.into_body()).await,
            (&Method::GET, ["v1", "resources", plural]) => self.resources(kind(plural)?, &query).await,
            (&Method::DELETE, ["v1", "resources", plural, namespace, name]) => self.delete(kind(plural)?, namespace, name).await,
            (&Method::GET, ["v1", "inspect", plural, namespace, name]) => self.inspect(kind(plural)?, namespace, name).await,
            (&Method::POST, ["v1", "values", plural, namespace, name]) => {
                let key = values::key(kind(plural)?, namespace, name)?;
                self.edit(key, request.into_body()).await
            }
            (&Method::GET, ["v1", "values", plural, namespace, name, key]) => {
                let object = values::key(kind(plural)?, namespace, name)?;
                Ok(json(&values::reveal(self.store.as_ref(), &object, key).await?))
            }
            (&Method::GET, ["v1", "logs", namespace, name]) => self.logs(namespace, name, &query).await,
            (&Method::GET, ["v1", "events"]) => {
                let follow = query.flag("follow")?;
                let slot = self.slot(follow)?;
                Ok(self.stream(lines(Following::start(self.events.clone(), follow)), slot))
            }
            (&Method::GET, ["v1", "top"]) => Ok(json(&self.top())),
            (&Method::POST, ["v1", "drain"]) => {
                self.lifecycle.drain();
                Ok(self.progress(false))
            }
            (&Method::POST, ["v1", "stop"]) => {
                self.lifecycle.stop();
                Ok(self.progress(true))
            }
            (method, _) => Err(not_understood(&format!("{method} {path}"))),
        }
    }

    fn version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            http_addr: self.host.http_addr().to_string(),
            admin_addr: self.about.admin_addr.clone(),
            data_dir: self.about.data_dir.clone(),
            host_id: self.host.id().to_string(),
            started: self.about.started,
            draining: self.lifecycle.phase() != Phase::Serving,
        }
    }

    async fn apply(&self, body: Incoming) -> Answer {
        let apply: Apply = self.read(body).await?;
        if apply.resources.len() > Apply::MAX {
            return Err(ApiError::new(Code::TooLarge, format!("more than {} resources: apply them in parts", Apply::MAX)));
        }
        // A task of its own: what is accepted is applied whole, also when the client goes away.
        let store = self.store.clone();
        let applied = self.applies.spawn(async move { apply_all(store.as_ref(), apply.resources).await }).await;
        let applied = applied.map_err(|error| ApiError::new(Code::Internal, format!("applying ended early: {error}")))?;
        Ok(json(&applied))
    }

    async fn edit(&self, object: ObjectKey, body: Incoming) -> Answer {
        let edit: EditValues = self.read(body).await?;
        let store = self.store.clone();
        let edited = self.applies.spawn(async move { values::edit(store.as_ref(), object, edit).await }).await;
        let edited = edited.map_err(|error| ApiError::new(Code::Internal, format!("the change ended early: {error}")))?;
        Ok(json(&edited?))
    }

    /// The body of a request that changes something.
    async fn read<T: DeserializeOwned>(&self, body: Incoming) -> Result<T, ApiError> {
        if self.lifecycle.phase() != Phase::Serving {
            return Err(ApiError::new(Code::Stopping, "this berth is draining and takes no changes; start it again with `berth up`"));
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                ApiError::new(Code::TooLarge, format!("the manifests are larger than {} MiB: apply them in parts", MAX_BODY >> 20))
            } else {
                ApiError::new(Code::BadRequest, format!("the request was cut off: {error}"))
            }
        })?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| ApiError::new(Code::BadRequest, format!("the request isn't understood: {error}")))
    }

    async fn resources(&self, kind: Kind, query: &Query) -> Answer {
        let selection = Selection { kind, namespace: query.text("namespace"), name: query.text("name") };
        if query.flag("watch")? {
            let slot = self.slot(true)?;
            let source = Watching::start(self.store.clone(), selection).await?;
            return Ok(self.stream(lines(source), slot));
        }
        let items = selection.list(self.store.as_ref()).await?;
        if let (true, Some(name), Some(namespace)) = (items.is_empty(), &selection.name, &selection.namespace) {
            return Err(missing(kind, namespace, name));
        }
        Ok(json(&List { items }))
    }

    async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Answer {
        if kind == Kind::Host {
            return Err(ApiError::new(Code::Invalid, "hosts come and go by themselves: end one with `berth stop`"));
        }
        let key = ObjectKey { kind, namespace: namespace.into(), name: name.into() };
        if !self.store.delete(&key).await? {
            return Err(missing(kind, namespace, name));
        }
        Ok(json(&serde_json::json!({})))
    }

    async fn inspect(&self, kind: Kind, namespace: &str, name: &str) -> Answer {
        let key = ObjectKey { kind, namespace: namespace.into(), name: name.into() };
        let Some(resource) = self.store.get(&key).await? else { return Err(missing(kind, namespace, name)) };
        let _turn = self.inspecting.lock().await;
        let inspection = inspect::stored(self.store.as_ref(), &self.host, &resource).await?;
        let inspection = inspection.ok_or_else(|| ApiError::new(Code::Invalid, format!("a {kind} has no workload to inspect")))?;
        Ok(json(&inspection))
    }

    async fn logs(&self, namespace: &str, name: &str, query: &Query) -> Answer {
        let tail = query.number("tail")?.unwrap_or(DEFAULT_TAIL);
        let follow = query.flag("follow")?;
        let slot = self.slot(follow)?;
        let source = Logging::start(self.host.logs(), namespace.into(), name.into(), tail, follow);
        if source.is_empty() && !self.has_workload(namespace, name).await? {
            let message = format!("no workload, replica set or deployment {name} in namespace {namespace}: see `berth get all -A`");
            return Err(ApiError::new(Code::NotFound, message));
        }
        Ok(self.stream(lines(source), slot))
    }

    async fn has_workload(&self, namespace: &str, name: &str) -> Result<bool, ApiError> {
        for kind in [Kind::WorkloadDeployment, Kind::WorkloadReplicaSet] {
            let key = ObjectKey { kind, namespace: namespace.into(), name: name.into() };
            if self.store.get(&key).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(self.store.list(Kind::Workload, Some(namespace)).await?.iter().any(|w| is_of(&w.metadata().name, name)))
    }

    fn top(&self) -> Top {
        let mut workloads: Vec<Figures> = self.host.figures().into_iter().map(Figures::from).collect();
        workloads.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Top { workloads }
    }

    /// `draining`, then `drained` when that is so; with `stay` the answer then stays open until the process ends.
    fn progress(&self, stay: bool) -> Response<Body> {
        let first = once(async { line(&Progress::Draining) });
        let drained = unfold(Some(self.lifecycle.clone()), |lifecycle| async move {
            lifecycle?.drained().await;
            Some((line(&Progress::Drained), None))
        });
        let ended = self.shutdown.clone();
        let rest = unfold((), move |()| {
            let ended = ended.clone();
            async move {
                if stay {
                    ended.cancelled().await;
                }
                None::<(Bytes, ())>
            }
        });
        // Not cut off by the shutdown: the drain comes before it, and its word should be heard.
        respond(StatusCode::OK, "application/jsonl", streamed(first.chain(drained).chain(rest)))
    }

    /// Room for an answer that has no end, if it is one.
    fn slot(&self, endless: bool) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if !endless {
            return Ok(None);
        }
        self.streams.clone().try_acquire_owned().map(Some).map_err(|_| {
            let message = format!("{MAX_STREAMS} watches and followed logs or events are open already: end one of them, and try again");
            ApiError::new(Code::Busy, message)
        })
    }

    fn stream(&self, lines: impl Stream<Item = Bytes> + Send + 'static, slot: Option<OwnedSemaphorePermit>) -> Response<Body> {
        let lines = lines.take_until(self.shutdown.clone().cancelled_owned()).inspect(move |_| {
            // Held for as long as the answer is.
            let _ = &slot;
        });
        respond(StatusCode::OK, "application/jsonl", streamed(lines))
    }
}

/// What a user may say of an object's metadata. The rest is the store's: an object exported from another cluster brings finalizers
/// that nobody here takes away and owners that aren't here (L15). A Workload has its finalizer from the start: the operator would write it
/// before all else.
fn as_applied(kind: Kind, meta: &mut ObjectMeta) {
    let finalizers = if kind == Kind::Workload { vec![WORKLOAD_FINALIZER.to_owned()] } else { Vec::new() };
    let namespace = if meta.namespace.is_empty() { "default".into() } else { std::mem::take(&mut meta.namespace) };
    *meta = ObjectMeta {
        name: std::mem::take(&mut meta.name),
        namespace,
        labels: std::mem::take(&mut meta.labels),
        annotations: std::mem::take(&mut meta.annotations),
        finalizers,
        ..ObjectMeta::default()
    };
}

/// Applies each resource for itself, in order. Several wait for the store at once, which makes them durable together.
pub(crate) async fn apply_all(store: &dyn Store, resources: Vec<Resource>) -> Applied {
    let applied = stream::iter(resources).map(|resource| apply_one(store, resource)).buffered(APPLIES_IN_FLIGHT);
    // Without tokio's budget, each reaches the store's queue when it is first polled, which is in order.
    Applied { results: unconstrained(applied.collect()).await }
}

async fn apply_one(store: &dyn Store, mut resource: Resource) -> Change {
    as_applied(resource.kind(), resource.metadata_mut());
    values::forget_copies(&mut resource);
    let key = resource.key();
    let object = ResourceRef { kind: key.kind, namespace: key.namespace, name: key.name };
    match store.apply(resource).await {
        Ok((stored, applied)) => {
            let outcome = match applied {
                Stored::Created => Outcome::Created,
                Stored::Configured => Outcome::Configured,
                Stored::Unchanged => Outcome::Unchanged,
            };
            Change { object, outcome, generation: stored.metadata().generation, error: None }
        }
        Err(error) => Change { object, outcome: Outcome::Refused, generation: 0, error: Some(error.into()) },
    }
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    respond(StatusCode::OK, "application/json", whole(serde_json::to_vec(value).expect("what the API says is plain data")))
}

fn kind(plural: &str) -> Result<Kind, ApiError> {
    let found = Kind::ALL.into_iter().find(|kind| kind.plural() == plural);
    found.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no kind of resource called `{plural}`")))
}

pub(super) fn missing(kind: Kind, namespace: &str, name: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no {kind} {name} in namespace {namespace}"))
}

fn not_understood(what: &str) -> ApiError {
    let version = env!("CARGO_PKG_VERSION");
    ApiError::new(Code::NotFound, format!("`{what}` is nothing that berth {version} serves here"))
}

/// A query, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Query, ApiError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            Some((decode(key)?, decode(value)?))
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        pairs.map(Query).ok_or_else(|| ApiError::new(Code::BadRequest, format!("the query `{text}` isn't understood")))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    }

    fn flag(&self, key: &str) -> Result<bool, ApiError> {
        self.read(key, "true or false").map(|value| value.unwrap_or(false))
    }

    fn number(&self, key: &str) -> Result<Option<usize>, ApiError> {
        self.read(key, "a whole number")
    }

    fn read<T: std::str::FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ApiError::new(Code::BadRequest, format!("{key}={text}: must be {what}")))
    }
}

#[cfg(test)]
mod tests {
    use berth_operator::store::EmbeddedStore;

    use super::*;

    #[tokio::test]
    async fn l15_an_applied_workload_has_its_finalizer_from_the_start_and_nothing_else_has() {
        let store = EmbeddedStore::in_memory().unwrap();
        let object = |kind: &str, spec: &str| -> Resource {
            let (version, rest) = ("runtime.wasmcloud.dev/v1alpha1", serde_json::from_str::<serde_json::Value>(spec).unwrap());
            let metadata = serde_json::json!({ "name": "app", "finalizers": ["example.test/guard"] });
            serde_json::from_value(serde_json::json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": rest })).unwrap()
        };
        let workload = object("Workload", r#"{ "components": [{ "name": "main", "image": "file:///a.wasm" }] }"#);
        let artifact = object("Artifact", r#"{ "image": "file:///a.wasm" }"#);
        for (resource, finalizers) in [(workload, vec![WORKLOAD_FINALIZER.to_owned()]), (artifact, vec![])] {
            let key = ObjectKey { kind: resource.kind(), namespace: "default".into(), name: "app".into() };
            let applied = apply_all(&store, vec![resource]).await;
            assert_eq!(applied.results[0].outcome, Outcome::Created, "{:?}", applied.results[0].error);
            assert_eq!(store.get(&key).await.unwrap().unwrap().metadata().finalizers, finalizers);
        }
    }
}
