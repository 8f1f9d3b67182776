//! A service whose behaviour a request's path chooses, servers that run it, and clients.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use berth_http::{BoxError, Connection, Running, Server, ServerConfig, ServerLimits, Service, TlsConfig, authority, headers};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Waits for a condition or an answer; a test that gets none fails.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens within 30 seconds")
}

/// Waits until a number that the service counts is reached.
pub(crate) async fn reaches(count: &watch::Sender<usize>, least: usize) {
    within(count.subscribe().wait_for(|now| *now >= least)).await.expect("the sender is here");
}

/// What requests did, and may do.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// Requests for `/wait` that began.
    pub(crate) began: watch::Sender<usize>,
    /// Requests for `/wait` that are over, answered or dropped.
    pub(crate) over: watch::Sender<usize>,
    /// Bodies of `/flood`, `/short` and `/whole` that are over.
    pub(crate) bodies_over: watch::Sender<usize>,
    /// Upgraded connections that ended.
    pub(crate) upgrades_over: watch::Sender<usize>,
    /// Lets requests for `/wait` go on.
    pub(crate) released: watch::Sender<bool>,
}

/// Counts when dropped.
struct Over<'a>(&'a watch::Sender<usize>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|over| *over += 1);
    }
}

/// Counts a body when dropped.
struct BodyOver(Arc<Behaviour>);

impl Drop for BodyOver {
    fn drop(&mut self) {
        self.0.bodies_over.send_modify(|over| *over += 1);
    }
}

/// Bytes of `/whole`, which come in one piece.
pub(crate) const WHOLE_BYTES: usize = 64 * 1024;

type TestBody = UnsyncBoxBody<Bytes, BoxError>;

fn full(text: impl Into<Bytes>) -> TestBody {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The service of these tests.
pub(crate) struct Paths(pub(crate) Arc<Behaviour>);

impl Service for Paths {
    type Body = TestBody;

    async fn call(&self, mut request: Request<Incoming>, connection: &Arc<Connection>) -> Response<TestBody> {
        match request.uri().path() {
            "/hello" => Response::builder()
                .header("x-thread", std::thread::current().name().unwrap_or("unnamed"))
                .header(
                    "x-spawned",
                    tokio::spawn(async { std::thread::current().name().unwrap_or("unnamed").to_owned() }).await.expect("no panic"),
                )
                .header("x-connection", connection.id)
                .header("x-tls", connection.tls.to_string())
                .header("x-peer", connection.peer.to_string())
                .body(full("hello"))
                .expect("a response"),
            "/echo" => Response::new(request.into_body().map_err(Into::into).boxed_unsync()),
            "/headers" => {
                let authority = authority::check(&request).expect("a host").as_str().to_owned();
                let authority = authority::Authority::parse(&authority).expect("a host");
                headers::strip_request(request.headers_mut());
                headers::forward(request.headers_mut(), connection, authority, headers::Forwarding::Replace);
                Response::new(full(format!("{:?}", request.headers())))
            }
            "/wait" => {
                let _over = Over(&self.0.over);
                self.0.began.send_modify(|began| *began += 1);
                let _ = self.0.released.subscribe().wait_for(|released| *released).await;
                Response::new(full("waited"))
            }
            path @ ("/flood" | "/short") => {
                let over = BodyOver(Arc::clone(&self.0));
                let frames = futures::stream::repeat_with(move || {
                    let _with_the_body = &over;
                    Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))
                });
                let count = if path == "/short" { 1 } else { usize::MAX };
                Response::new(StreamBody::new(futures::StreamExt::take(frames, count)).boxed_unsync())
            }
            "/whole" => {
                let over = BodyOver(Arc::clone(&self.0));
                let whole = Full::new(Bytes::from_static(&[b'x'; WHOLE_BYTES]));
                Response::new(whole.map_err(move |never: Infallible| match (&over, never) {}).boxed_unsync())
            }
            "/upgrade" => {
                let behaviour = Arc::clone(&self.0);
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let _over = Over(&behaviour.upgrades_over);
                    let mut io = TokioIo::new(upgraded.await.expect("upgraded"));
                    let (mut read, mut write) = tokio::io::split(&mut io);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
                Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header(header::CONNECTION, "upgrade")
                    .header(header::UPGRADE, "echo")
                    .body(full(""))
                    .expect("a response")
            }
            "/panic" => panic!("as asked"),
            "/never" => pending().await,
            _ => Response::builder().status(StatusCode::NOT_FOUND).body(full("")).expect("a response"),
        }
    }
}

/// A server that runs [`Paths`].
pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) behaviour: Arc<Behaviour>,
}

impl Site {
    pub(crate) fn start(threads: usize, limits: ServerLimits, tls: Option<TlsConfig>) -> Self {
        let addr = "127.0.0.1:0".parse().expect("an address");
        let config = ServerConfig { threads, limits, tls, thread_name: "serve".to_owned(), ..ServerConfig::new(addr) };
        let behaviour = Arc::<Behaviour>::default();
        let running = Server::bind(config).expect("a free port").serve(Arc::new(Paths(Arc::clone(&behaviour))));
        Self { running, behaviour }
    }

    /// Cleartext, one thread, usual limits.
    pub(crate) fn plain() -> Self {
        Self::start(1, ServerLimits::default(), None)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.running.local_addr())).await.expect("connected")
    }

    /// Sends `text` on a connection of its own.
    pub(crate) async fn send(&self, text: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_ref()).await.expect("sent");
        stream
    }

    /// Waits for the server's counters to be as asked.
    pub(crate) async fn figures(&self, wanted: impl Fn(berth_http::Figures) -> bool) {
        within(async {
            while !wanted(self.running.figures()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) async fn http1(&self) -> Client {
        Client::http1(self.connect().await).await
    }

    pub(crate) async fn http2(&self) -> Client {
        Client::http2(self.connect().await).await
    }
}

/// Everything the server sends until it closes. A reset ends it like a close.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One response with a body of known length, and nothing after it.
pub(crate) async fn response(stream: &mut (impl AsyncRead + Unpin)) -> String {
    within(async {
        let mut text = String::new();
        loop {
            text.push(stream.read_u8().await.expect("more of the response") as char);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().expect("a number"));
                if body.len() == length {
                    return text;
                }
            }
        }
    })
    .await
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// A client's connection, closed when dropped.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinSet<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, driver) = within(http1::handshake(TokioIo::new(io))).await.expect("HTTP/1");
        let mut connection = JoinSet::new();
        connection.spawn(driver);
        Self { sender: Sender::Http1(sender), connection }
    }

    pub(crate) async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::http2_with(io, None).await
    }

    /// `window`: bytes of a response that the server may send before they are asked for; none is the protocol's default.
    pub(crate) async fn http2_with(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, window: Option<u32>) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, driver) = within(builder.handshake(TokioIo::new(io))).await.expect("HTTP/2");
        let mut connection = JoinSet::new();
        connection.spawn(driver);
        Self { sender: Sender::Http2(sender), connection }
    }

    /// Begins a request; the answer is awaited apart from it.
    pub(crate) fn request(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let sent: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = match &mut self.sender {
            Sender::Http1(sender) => Box::pin(sender.send_request(request)),
            Sender::Http2(sender) => Box::pin(sender.send_request(request)),
        };
        sent
    }

    pub(crate) fn begin(&mut self, path: &str) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let request = match self.sender {
            Sender::Http1(_) => Request::builder().uri(path).header(header::HOST, "a.example"),
            Sender::Http2(_) => Request::builder().version(Version::HTTP_2).uri(format!("http://a.example{path}")),
        };
        self.request(request.body(Empty::new()).expect("a request"))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<String> {
        text(within(self.begin(path)).await.expect("an answer")).await
    }

    /// Waits for the server to close.
    pub(crate) async fn closed(&mut self) {
        let _ = within(self.connection.join_next()).await;
    }
}

/// A response with its whole body.
pub(crate) async fn text(response: Response<Incoming>) -> Response<String> {
    let (parts, body) = response.into_parts();
    let bytes = within(body.collect()).await.expect("a whole body").to_bytes();
    Response::from_parts(parts, String::from_utf8_lossy(&bytes).into_owned())
}
