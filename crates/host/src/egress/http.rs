//! Outgoing HTTP of guests: granted by `allowedHosts`, resolved once, connected only to addresses the grant leads to, and bounded
//! by the request's deadline. `localhost` is the workload's own loopback. A connection serves one request and is never shared between
//! components.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::Scheme;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::lookup::{MAX_NAME_BYTES, lookup};
use super::permit::{Permit, SocketPermit};
use super::policy::{Denial, Destination, Way};
use super::{Asker, Denied};
use crate::bridge::chain::{Call, Chain};
use crate::bridge::link::By;
use crate::bridge::send::Caller;
use crate::bridge::{Processed, Sent, body, names};
use crate::component::Component;
use crate::invoke::guard::AbortOnDrop;
use crate::request_id::RequestId;

/// Time to wait for a turn, resolve and connect, where the guest asks for no other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body that cross between guest and host at once (L31).
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// The way out of one store, for WASI 0.2 and 0.3 alike.
pub(crate) struct Outgoing {
    asker: Arc<Asker>,
    deadline: Instant,
    /// Where there is no deadline to share: the time that each request has to its answer.
    patience: Option<Duration>,
    /// The request that the guest works for; none for a service.
    call: Option<Arc<Call>>,
    /// The import that the next request comes by.
    by: By,
}

impl Outgoing {
    pub(crate) fn new(asker: Arc<Asker>) -> Outgoing {
        Outgoing { asker, deadline: Instant::now(), patience: None, call: None, by: By::default() }
    }

    /// Gives each outgoing request its own time, where the guest has no deadline.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Says whose request the guest works for.
    pub(crate) fn works_for(&mut self, call: Arc<Call>) {
        self.call = Some(call);
    }

    /// Says for which request, if that is not the one the guest works for as a whole, and by which import the next one is sent.
    pub(crate) fn announce(&mut self, call: Option<Arc<Call>>, by: By) {
        self.by = by;
        self.call = call.or(self.call.take());
    }

    /// Who sends a request with this deadline to another component.
    fn caller(&self, headers: &http::HeaderMap, deadline: Instant) -> Caller {
        let call = self.call.clone().unwrap_or_else(|| {
            let id = RequestId::of(&mut headers.clone());
            // A service's: what it sends is whole only if it lives to its end.
            Arc::new(Call::new(id, deadline, self.asker.fate(), Chain::default()))
        });
        Caller { asker: self.asker.clone(), call }
    }

    /// The deadline that outgoing requests share with the one that makes them.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl WasiHttpHooks for Outgoing {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    #[cfg(feature = "wasi-p3")]
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        processed: Processed,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let deadline = self.patience.map_or(self.deadline, |patience| Instant::now() + patience);
        if self.by == By::Handler || names::sibling(request.uri()).is_some() {
            let caller = self.caller(request.headers(), deadline);
            // Made in its box: it is large to be moved there.
            let call = Box::write(Box::new_uninit(), caller.send(self.by, request, options, processed));
            return call;
        }
        let asker = self.asker.clone();
        let deadline = tokio::time::Instant::from_std(deadline);
        let by = self.by;
        Box::new(async move {
            let (left, mut unread) = body::rest(by, request.body());
            // Its length is the server's affair.
            let request = request.map(|body| body::request(body, asker.fate(), u64::MAX, left));
            let sent = tokio::time::timeout_at(deadline, send(&asker, request, options));
            match body::beside(&mut unread, sent).await.unwrap_or(Err(Error::HttpResponseTimeout)) {
                Ok((response, _)) => Ok((response, body::taken(unread))),
                Err(error) => {
                    body::discard_rest(unread);
                    Err(error)
                }
            }
        })
    }
}

/// What a request asks for.
struct Origin {
    host: String,
    port: u16,
    tls: bool,
}

fn origin(uri: &http::Uri) -> Result<Origin, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host.len() > MAX_NAME_BYTES { Err(Error::HttpRequestUriInvalid) } else { Ok(Origin { host, port, tls }) }
}

async fn send(asker: &Asker, mut request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    let to = origin(request.uri())?;
    let limit = options.as_ref().and_then(|o| o.connect_timeout).unwrap_or(CONNECT_TIMEOUT);
    let opened = tokio::time::timeout(limit, open(asker, &to, Instant::now() + limit)).await;
    let (stream, held) = opened.unwrap_or(Err(Error::ConnectionTimeout))?;
    // The request line of HTTP/1.1 holds a path; the authority is in Host.
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let guard = AbortOnDrop::new(driver.abort_handle());
    let first_byte = options.as_ref().and_then(|o| o.first_byte_timeout);
    let response = match first_byte {
        Some(limit) => tokio::time::timeout(limit, sender.send_request(request)).await.map_err(|_| Error::ConnectionReadTimeout)??,
        None => sender.send_request(request).await?,
    };
    let between = options.as_ref().and_then(|o| o.between_bytes_timeout);
    let response = response.map(|body| ResponseBody { body, between, timer: None, _guard: guard, _held: held }.boxed_unsync());
    Ok((response, Box::new(async { Ok(()) })))
}

/// The right to hold a connection, given back when dropped.
enum Held {
    #[expect(dead_code, reason = "it is held")]
    Loopback(SocketPermit),
    #[expect(dead_code, reason = "it is held")]
    Network(Permit),
}

/// A connection to where the grants lead, and the right to hold it.
async fn open(asker: &Asker, to: &Origin, until: Instant) -> Result<(Box<dyn Io>, Held), Error> {
    let denied = |denial: Denial, error: Error| {
        asker.deny(Denied::Http, &denial.to_string());
        error
    };
    let scheme = if to.tls { "https" } else { "http" };
    let destination = asker.policy().http(scheme, &to.host, to.port).map_err(|denial| denied(denial, Error::HttpRequestDenied))?;
    let held = match &destination {
        Destination::Ways(ways) if ways.iter().all(|way| matches!(way, Way::Loopback(_))) => {
            Held::Loopback(SocketPermit::try_take(asker).ok_or(Error::ConnectionLimitReached)?)
        }
        _ => Held::Network(Permit::take(asker).await.ok_or(Error::ConnectionLimitReached)?),
    };
    let ways = match destination {
        Destination::Ways(ways) => ways,
        Destination::Name(reach) => {
            let found = lookup(&asker.component, &to.host).await;
            let found = found.ok_or_else(|| Error::DnsError { rcode: Some("name not found".into()), info_code: None })?;
            let found: Vec<IpAddr> = found.into_iter().take(MAX_ADDRESSES).collect();
            let ways = asker.policy().resolved(&to.host, &found, to.port, reach);
            ways.map_err(|denial| denied(denial, Error::DestinationIpProhibited))?
        }
    };
    Ok((connect(&asker.component, to, &ways, until).await?, held))
}

/// A connection, plain or TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to the first address that answers; each gets an equal share of the time that is left, so that one which swallows
/// everything doesn't take the others' chance.
async fn connect(component: &Component, to: &Origin, ways: &[Way], until: Instant) -> Result<Box<dyn Io>, Error> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for (tried, way) in ways.iter().enumerate() {
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(ways.len() - tried).unwrap_or(u32::MAX);
        let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        match tokio::time::timeout(share, go(component, *way)).await.unwrap_or_else(|_| Err(timed_out())) {
            Ok(stream) => return if to.tls { handshake(component, to, stream).await } else { Ok(stream) },
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        std::io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        std::io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::Connect(last),
    })
}

async fn go(component: &Component, way: Way) -> std::io::Result<Box<dyn Io>> {
    match way {
        Way::Loopback(addr) => Ok(Box::new(component.loopback.connect(None, addr).await?)),
        Way::Host(addr) | Way::Network(addr) => {
            let stream = TcpStream::connect(addr).await?;
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
    }
}

async fn handshake(component: &Component, to: &Origin, stream: Box<dyn Io>) -> Result<Box<dyn Io>, Error> {
    let name = ServerName::try_from(to.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = tokio_rustls::TlsConnector::from(client_tls(component).await);
    Ok(Box::new(connector.connect(name, stream).await.map_err(Error::Tls)?))
}

/// How servers are trusted. Reading the system's authorities takes milliseconds, which this thread isn't held up for.
async fn client_tls(component: &Component) -> Arc<rustls::ClientConfig> {
    let tls = &component.host.tls;
    if let Some(made) = tls.made() {
        return made.clone();
    }
    let coming = tls.clone();
    let made = tokio::task::spawn_blocking(move || coming.get().clone()).await;
    made.unwrap_or_else(|_panicked| tls.get().clone())
}

/// The body of a response, with the connection it comes from.
struct ResponseBody {
    body: Incoming,
    between: Option<Duration>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    _guard: AbortOnDrop,
    _held: Held,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame.map(|f| f.map_err(Error::from)));
        }
        let Some(between) = self.between else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        timer.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_swallows_everything_leaves_the_next_its_chance() {
        let (component, _logs) = crate::component::tests::component();
        // A listener whose queue is full answers nobody.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let full = full.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(silent)).await {
            waiting.push(stream);
        }
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Origin { host: "two.example.com".into(), port: 80, tls: false };
        let ways = [silent, good.local_addr().unwrap()].map(Way::Network);
        let start = Instant::now();
        assert!(connect(&component, &to, &ways, start + Duration::from_secs(1)).await.is_ok());
        assert!(start.elapsed() >= Duration::from_millis(400), "the first was tried");
    }
}
