//! The client's end of the local API.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_host::logs::LogLine;
use berth_model::event::Event;
use berth_model::resource::{Kind, Resource, SecretValue};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::error::{ApiError, Code};
use super::escape::encode;
use super::process::Process;
use super::types::{Applied, Apply, Change, EditValues, List, Progress, ResourceRef, Revealed, Top, Version, WatchEvent};
use crate::data::{DataError, check_is_folder, socket_path};
use crate::inspect::Inspection;

/// Time to connect, for the head of an answer, and between its parts unless it has no end. The server is on this machine and guests can't
/// starve it (D6): one that is silent for so long is stopped.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a write, once it is known that somebody answers: thousands of resources may be waiting for a slow disk, and a write waits behind
/// those of others.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest line or answer that is read: a list of some ten thousand workloads.
const MAX_ANSWER: usize = 256 << 20;

/// Talks to the `berth up` on one data folder. Each call is a connection of its own, so calls may run at once.
#[derive(Clone, Debug)]
pub struct Client {
    data_dir: PathBuf,
    socket: PathBuf,
    /// [`WRITE_TIMEOUT`].
    write_timeout: Duration,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no berth is running on the data folder {}: start one with `berth up`, or name another folder with --data-dir", data_dir.display())]
    NotRunning {
        /// The folder.
        data_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder has no socket, or the system refuses it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It listens, but doesn't answer in time.
    #[error("the berth on the data folder {}{} doesn't answer: nothing came for {} s; {}", data_dir.display(), in_brackets(*pid), waited.as_secs(), way_out(*pid))]
    Timeout {
        /// The folder.
        data_dir: PathBuf,
        /// The process that listens, where the system says which.
        pid: Option<i32>,
        /// How long it was given.
        waited: Duration,
    },
    /// It answers, but hasn't finished a write in time.
    #[error("the berth on the data folder {}{} answers, but didn't finish this within {} s: other changes, or a slow disk, may be in its way. It may still do it: `berth get all -A` shows what is there", data_dir.display(), in_brackets(*pid), waited.as_secs())]
    Slow {
        /// The folder.
        data_dir: PathBuf,
        /// The process that listens, where the system says which.
        pid: Option<i32>,
        /// How long it was given.
        waited: Duration,
    },
    /// It says no.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// It went away in the middle of the answer.
    #[error("the running berth closed the connection")]
    Closed(#[source] Option<hyper::Error>),
    /// It answers something that this version doesn't understand.
    #[error("the running berth answers what this one doesn't understand; are both of version {}?", env!("CARGO_PKG_VERSION"))]
    NotUnderstood(#[source] serde_json::Error),
}

fn in_brackets(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn way_out(pid: Option<i32>) -> String {
    let pid = pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    format!(
        "if it was stopped (Ctrl-Z, SIGSTOP), `kill -CONT {pid}` lets it go on; otherwise end it with `kill -KILL {pid}` and start it again \
         with `berth up`, which keeps what was applied"
    )
}

impl ClientError {
    /// Whether there is nobody to talk to, or nobody who answers.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ClientError::NotRunning { .. } | ClientError::Data(_) | ClientError::Timeout { .. } | ClientError::Slow { .. })
    }

    /// Whether the object asked for isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused(ApiError { code: Code::NotFound, .. }))
    }
}

impl Client {
    /// A client of the `berth up` on `data_dir`; nothing is opened yet.
    pub fn new(data_dir: &Path) -> Result<Client, ClientError> {
        check_is_folder(data_dir)?;
        Ok(Client { data_dir: data_dir.into(), socket: socket_path(data_dir)?, write_timeout: WRITE_TIMEOUT })
    }

    /// The data folder it talks to.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The process that listens, to be waited for. It need not answer.
    pub async fn process(&self) -> Result<Process, ClientError> {
        Ok(Process::at(&self.connect().await?))
    }

    /// Who answers.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.call(Method::GET, "/v1/version", Vec::new()).await
    }

    /// Applies resources, each for itself: one that is refused doesn't keep the others.
    pub async fn apply(&self, resources: Vec<Resource>) -> Result<Applied, ClientError> {
        let body = serde_json::to_vec(&Apply { resources }).expect("resources are plain data");
        self.write(Method::POST, "/v1/apply", body).await
    }

    /// Resources of a kind, by namespace and name; of all namespaces when `namespace` is `None`.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<List, ClientError> {
        self.call(Method::GET, &resources(kind, namespace, None, false), Vec::new()).await
    }

    /// One resource; [`ClientError::is_not_found`] when there is none.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Resource, ClientError> {
        let list: List = self.call(Method::GET, &resources(kind, Some(namespace), Some(name), false), Vec::new()).await?;
        let none = || ApiError::new(Code::NotFound, format!("there is no {kind} {name} in namespace {namespace}"));
        list.items.into_iter().next().ok_or_else(|| none().into())
    }

    /// What the workload of a deployment, a replica set or a workload comes to; [`ClientError::is_not_found`] when there is no such object.
    pub async fn inspect(&self, kind: Kind, namespace: &str, name: &str) -> Result<Inspection, ClientError> {
        let path = format!("/v1/inspect/{}/{}/{}", kind.plural(), encode(namespace), encode(name));
        // An image that left the cache is pulled first.
        self.write(Method::GET, &path, Vec::new()).await
    }

    /// Every object there is, and then each change.
    pub async fn watch(&self, kind: Kind, namespace: Option<&str>, name: Option<&str>) -> Result<Lines<WatchEvent>, ClientError> {
        self.stream(None, Method::GET, &resources(kind, namespace, name, true)).await
    }

    /// Deletes one resource and what it owns.
    pub async fn delete(&self, object: &ResourceRef) -> Result<(), ClientError> {
        let path = format!("/v1/resources/{}/{}/{}", object.kind.plural(), encode(&object.namespace), encode(&object.name));
        self.write::<serde_json::Value>(Method::DELETE, &path, Vec::new()).await.map(drop)
    }

    /// Changes values of the ConfigMap or Secret `object`.
    pub async fn edit_values(&self, object: &ResourceRef, edit: &EditValues) -> Result<Change, ClientError> {
        let body = serde_json::to_vec(edit).expect("values are plain data");
        self.write(Method::POST, &values(object), body).await
    }

    /// The value under `key` of the ConfigMap or Secret `object`, the only way to see one of a Secret.
    pub async fn reveal(&self, object: &ResourceRef, key: &str) -> Result<SecretValue, ClientError> {
        let path = format!("{}/{}", values(object), encode(key));
        Ok(self.call::<Revealed>(Method::GET, &path, Vec::new()).await?.value)
    }

    /// The last `tail` log lines of a workload, or of the workloads of a deployment or replica set; with `follow` also what comes.
    pub async fn logs(&self, namespace: &str, name: &str, tail: usize, follow: bool) -> Result<Lines<LogLine>, ClientError> {
        let path = format!("/v1/logs/{}/{}?tail={tail}&follow={follow}", encode(namespace), encode(name));
        self.stream((!follow).then_some(ANSWER_TIMEOUT), Method::GET, &path).await
    }

    /// The events kept; with `follow` also what comes.
    pub async fn events(&self, follow: bool) -> Result<Lines<Event>, ClientError> {
        self.stream((!follow).then_some(ANSWER_TIMEOUT), Method::GET, &format!("/v1/events?follow={follow}")).await
    }

    /// Figures of what runs.
    pub async fn top(&self) -> Result<Top, ClientError> {
        self.call(Method::GET, "/v1/top", Vec::new()).await
    }

    /// Takes no new requests, and finishes those under way; the process stays.
    pub async fn drain(&self) -> Result<Lines<Progress>, ClientError> {
        self.stream(None, Method::POST, "/v1/drain").await
    }

    /// Drains and ends the process; the stream ends with it.
    pub async fn stop(&self) -> Result<Lines<Progress>, ClientError> {
        self.stream(None, Method::POST, "/v1/stop").await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T, ClientError> {
        self.call_within(ANSWER_TIMEOUT, method, path, body).await
    }

    /// A call that waits for the store, behind the writes that are there already.
    async fn write<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T, ClientError> {
        // A process that is stopped takes a connection and a request without ever answering: better known now than after minutes.
        self.version().await?;
        match self.call_within(self.write_timeout, method, path, body).await {
            Err(ClientError::Timeout { data_dir, pid, waited }) => {
                // Only one that doesn't answer now was stopped.
                self.version().await?;
                Err(ClientError::Slow { data_dir, pid, waited })
            }
            done => done,
        }
    }

    async fn call_within<T: DeserializeOwned>(&self, limit: Duration, method: Method, path: &str, body: Vec<u8>) -> Result<T, ClientError> {
        let mut answer = self.ask(limit, method, path, body).await?;
        let mut bytes = BytesMut::new();
        while let Some(data) = answer.next(Some(ANSWER_TIMEOUT)).await? {
            bytes.extend_from_slice(&data);
            if bytes.len() > MAX_ANSWER {
                return Err(ClientError::Closed(None));
            }
        }
        if answer.status.is_success() {
            return serde_json::from_slice(&bytes).map_err(ClientError::NotUnderstood);
        }
        Err(serde_json::from_slice::<ApiError>(&bytes).map_err(ClientError::NotUnderstood)?.into())
    }

    /// An answer line by line; with `patience` that long at most between its parts.
    async fn stream<T: DeserializeOwned>(&self, patience: Option<Duration>, method: Method, path: &str) -> Result<Lines<T>, ClientError> {
        let answer = self.ask(ANSWER_TIMEOUT, method, path, Vec::new()).await?;
        let status = answer.status;
        let mut lines = Lines { answer, patience, buffer: BytesMut::new(), ended: false, item: PhantomData };
        if status.is_success() {
            return Ok(lines);
        }
        let error = lines.line().await?.unwrap_or_default();
        Err(serde_json::from_slice::<ApiError>(&error).map_err(ClientError::NotUnderstood)?.into())
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let not_running = |source| ClientError::NotRunning { data_dir: self.data_dir.clone(), source };
        match tokio::time::timeout(ANSWER_TIMEOUT, UnixStream::connect(&self.socket)).await {
            Ok(connected) => connected.map_err(not_running),
            Err(_) => Err(ClientError::Timeout { data_dir: self.data_dir.clone(), pid: None, waited: ANSWER_TIMEOUT }),
        }
    }

    async fn ask(&self, limit: Duration, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, ClientError> {
        let stream = self.connect().await?;
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let silent = Silent { data_dir: self.data_dir.clone(), pid };
        match tokio::time::timeout(limit, exchange(stream, method, path, body)).await {
            Ok(exchanged) => exchanged.map(|(status, body, connection)| Answer { status, body, silent, _connection: connection }),
            Err(_) => Err(silent.after(limit)),
        }
    }
}

type Exchanged = (StatusCode, Incoming, AbortOnDropHandle<()>);

/// Sends a request and takes the answer's head.
async fn exchange(stream: UnixStream, method: Method, path: &str, body: Vec<u8>) -> Result<Exchanged, ClientError> {
    let closed = |error| ClientError::Closed(Some(error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(closed)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its end shows as the end of the answer.
        let _ = connection.await;
    }));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "berth")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("names in paths are encoded");
    let response = sender.send_request(request).await.map_err(closed)?;
    Ok((response.status(), response.into_body(), connection))
}

fn resources(kind: Kind, namespace: Option<&str>, name: Option<&str>, watch: bool) -> String {
    let mut path = format!("/v1/resources/{}?watch={watch}", kind.plural());
    for (key, value) in [("namespace", namespace), ("name", name)] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", encode(value)));
        }
    }
    path
}

fn values(object: &ResourceRef) -> String {
    format!("/v1/values/{}/{}/{}", object.kind.plural(), encode(&object.namespace), encode(&object.name))
}

/// Who is to blame when nothing comes.
struct Silent {
    data_dir: PathBuf,
    pid: Option<i32>,
}

impl Silent {
    fn after(&self, waited: Duration) -> ClientError {
        ClientError::Timeout { data_dir: self.data_dir.clone(), pid: self.pid, waited }
    }
}

struct Answer {
    status: StatusCode,
    body: Incoming,
    silent: Silent,
    _connection: AbortOnDropHandle<()>,
}

impl Answer {
    /// The next part; `None` at the end. Cancel safe.
    async fn next(&mut self, patience: Option<Duration>) -> Result<Option<Bytes>, ClientError> {
        let frame = match patience {
            Some(patience) => tokio::time::timeout(patience, self.body.frame()).await.map_err(|_| self.silent.after(patience))?,
            None => self.body.frame().await,
        };
        match frame {
            // Trailers carry nothing here.
            Some(frame) => frame.map(|frame| Some(frame.into_data().unwrap_or_default())).map_err(|error| ClientError::Closed(Some(error))),
            None => Ok(None),
        }
    }
}

/// An answer that comes line by line.
pub struct Lines<T> {
    answer: Answer,
    /// Time between two parts; `None` where the next may be long in coming.
    patience: Option<Duration>,
    buffer: BytesMut,
    ended: bool,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next one; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        match self.line().await? {
            Some(line) => serde_json::from_slice(&line).map(Some).map_err(ClientError::NotUnderstood),
            None => Ok(None),
        }
    }
}

impl<T> Lines<T> {
    async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                let mut line = self.buffer.split_to(searched + end + 1);
                line.truncate(searched + end);
                return Ok(Some(line.freeze()));
            }
            searched = self.buffer.len();
            if self.ended || searched > MAX_ANSWER {
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            match self.answer.next(self.patience).await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => self.ended = true,
            }
        }
    }
}

/// Keeps `Serialize` in one place for what is sent and what is answered.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(value).expect("what the API says is plain data");
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests;
