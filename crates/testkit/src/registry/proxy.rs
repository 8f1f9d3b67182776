//! A proxy before a registry that makes the faults of real ones: what it forwards comes late, in part, changed, or not at all.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The proxy answers itself: a status, headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The registry sees the request without its `Authorization`, as if that had expired.
    Unauthorized,
    /// The answer's body is shorter than it should be, and its length says so.
    Short(usize),
    /// The connection breaks after so many bytes of the body.
    BreakAfter(usize),
    /// After so many bytes of the body nothing comes until the gate opens.
    HoldAfter(usize, Gate),
    /// A byte of the body is another.
    Changed,
    /// The body goes on for that many bytes more than it should, without a length.
    Endless(usize),
    /// The answer is a redirect to this address.
    RedirectTo(String),
    /// The answer is a redirect to where the request went.
    RedirectToItself,
}

/// What holds answers back until it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Gate {
        Gate(watch::Sender::new(false))
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        // The sender is part of this very value, so it can't be gone.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

#[derive(Default)]
struct Plan {
    /// Faults for requests whose path contains the text: one each, in order.
    next: HashMap<&'static str, Vec<Fault>>,
    /// Faults for all others of them.
    always: HashMap<&'static str, Fault>,
    /// Method and path of every request.
    seen: Vec<String>,
}

/// A proxy before a registry in plain HTTP.
pub struct FaultProxy {
    addr: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    changes: watch::Sender<usize>,
    _task: AbortOnDropHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy without faults on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(upstream: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (plan, changes) = (Arc::<Mutex<Plan>>::default(), watch::Sender::new(0));
        let (shared, noted) = (Arc::clone(&plan), changes.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, noted) = (Arc::clone(&shared), noted.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let fault = take(&shared, &request);
                    noted.send_modify(|count| *count += 1);
                    answer(upstream, request, fault)
                });
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }));
        FaultProxy { addr, plan, changes, _task: task }
    }

    /// Its name in references: address and port.
    pub fn name(&self) -> String {
        self.addr.to_string()
    }

    /// The next request whose path contains `part` meets this; several wait in line.
    pub fn next(&self, part: &'static str, fault: Fault) {
        self.plan().next.entry(part).or_default().push(fault);
    }

    /// Every request whose path contains `part` meets this, unless another one waits for it.
    pub fn always(&self, part: &'static str, fault: Fault) {
        self.plan().always.insert(part, fault);
    }

    /// No faults any more.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.next.clear();
        plan.always.clear();
    }

    /// How many requests came whose method and path, `GET /v2/...`, contain `part`.
    pub fn requests(&self, part: &str) -> usize {
        self.plan().seen.iter().filter(|seen| seen.contains(part)).count()
    }

    /// Waits until so many of these came.
    ///
    /// # Panics
    /// If they don't come in time.
    pub async fn requested(&self, part: &str, count: usize) {
        let mut changes = self.changes.subscribe();
        // The sender is part of this very value, so there is always a next change to wait for.
        let came = tokio::time::timeout(super::PATIENCE, changes.wait_for(|_| self.requests(part) >= count)).await;
        assert!(came.is_ok(), "{} of {count} requests for {part} came", self.requests(part));
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a request; the fault that it meets.
fn take(plan: &Mutex<Plan>, request: &Request<Incoming>) -> Option<Fault> {
    let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
    let path = request.uri().path();
    plan.seen.push(format!("{} {path}", request.method()));
    let waiting = plan.next.iter_mut().find(|(part, faults)| path.contains(**part) && !faults.is_empty());
    match waiting {
        Some((_, faults)) => Some(faults.remove(0)),
        None => plan.always.iter().find(|(part, _)| path.contains(**part)).map(|(_, fault)| fault.clone()),
    }
}

async fn answer(upstream: SocketAddr, mut request: Request<Incoming>, fault: Option<Fault>) -> Result<Response<Pieces>, Infallible> {
    let answered = |status: StatusCode, headers: &[(&'static str, String)]| {
        let mut response = Response::new(Pieces::whole(Bytes::new()));
        *response.status_mut() = status;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header's value");
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    };
    match &fault {
        Some(Fault::Status(status, headers)) => return Ok(answered(StatusCode::from_u16(*status).expect("a status"), headers)),
        Some(Fault::RedirectTo(address)) => {
            return Ok(answered(StatusCode::TEMPORARY_REDIRECT, &[(LOCATION_NAME, address.clone())]));
        }
        Some(Fault::RedirectToItself) => {
            return Ok(answered(StatusCode::TEMPORARY_REDIRECT, &[(LOCATION_NAME, request.uri().path().to_owned())]));
        }
        Some(Fault::Unauthorized) => {
            request.headers_mut().remove(AUTHORIZATION);
        }
        _ => {}
    }
    match forward(upstream, request).await {
        Ok(response) => Ok(with_fault(response, fault)),
        Err(_) => Ok(answered(StatusCode::BAD_GATEWAY, &[])),
    }
}

const LOCATION_NAME: &str = "location";

/// The registry's own answer, whole.
async fn forward(upstream: SocketAddr, request: Request<Incoming>) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    debug_assert_eq!(LOCATION_NAME, LOCATION.as_str());
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Full::new(body.collect().await?.to_bytes()));
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // Its end shows as the end of the answer.
        let _ = connection.await;
    }));
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONNECTION);
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// The answer as the fault makes it.
fn with_fault(response: Response<Bytes>, fault: Option<Fault>) -> Response<Pieces> {
    let (mut parts, body) = response.into_parts();
    let body = match fault {
        Some(Fault::Short(bytes)) => {
            parts.headers.remove(CONTENT_LENGTH);
            Pieces::whole(body.slice(..bytes.min(body.len())))
        }
        Some(Fault::BreakAfter(bytes)) => {
            let (sender, pieces) = Pieces::streamed();
            let first = body.slice(..bytes.min(body.len()));
            // A channel has room for both.
            let _ = sender.try_send(Ok(first));
            let _ = sender.try_send(Err(io::ErrorKind::ConnectionReset.into()));
            pieces
        }
        Some(Fault::HoldAfter(bytes, gate)) => {
            let (sender, mut pieces) = Pieces::streamed();
            let at = bytes.min(body.len());
            pieces.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                // Nobody reads any more: then there is nobody to hold back.
                let _ = sender.send(Ok(body.slice(..at))).await;
                gate.wait().await;
                let _ = sender.send(Ok(body.slice(at..))).await;
            })));
            pieces
        }
        Some(Fault::Changed) => {
            let mut changed = body.to_vec();
            if let Some(byte) = changed.last_mut() {
                *byte ^= 1;
            }
            Pieces::whole(changed.into())
        }
        Some(Fault::Endless(more)) => {
            parts.headers.remove(CONTENT_LENGTH);
            let (sender, pieces) = Pieces::streamed();
            let _ = sender.try_send(Ok(body));
            let _ = sender.try_send(Ok(vec![0; more].into()));
            pieces
        }
        _ => Pieces::whole(body),
    };
    Response::from_parts(parts, body)
}

/// A body that is whole, or comes through a channel.
struct Pieces {
    whole: Option<Bytes>,
    coming: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// What breaks the body off, once what came before is on its way.
    broken: Option<io::Error>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Pieces {
    fn whole(content: Bytes) -> Pieces {
        Pieces { whole: Some(content), coming: None, broken: None, task: None }
    }

    fn streamed() -> (mpsc::Sender<io::Result<Bytes>>, Pieces) {
        let (sender, coming) = mpsc::channel(2);
        (sender, Pieces { whole: None, coming: Some(coming), broken: None, task: None })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(whole) = self.whole.take() {
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let Some(coming) = &mut self.coming else { return Poll::Ready(None) };
        match ready!(coming.poll_recv(context)) {
            Some(Ok(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Ready(None),
            Some(Err(broken)) => {
                // A body that is pending is flushed; one that fails takes with it what wasn't sent yet.
                self.broken = Some(broken);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.whole, &self.coming) {
            (Some(whole), _) => SizeHint::with_exact(u64::try_from(whole.len()).unwrap_or(u64::MAX)),
            (None, None) => SizeHint::with_exact(0),
            (None, Some(_)) => SizeHint::default(),
        }
    }
}
