//! One client: a connection of its own, kept or made anew, over HTTP/1.1 or HTTP/2 by prior knowledge.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, Version, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::asks::{Answer, Ask, Payload};
use super::ledger::Kind;

/// A request must be answered whole within this: far above what any takes, below berth's own 30 s, so that a hang shows as one.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Largest answer that is read, bytes.
const MAX_ANSWER: usize = 8 << 20;
/// Pieces of a body without a length, bytes.
const PIECE: usize = 10_000;
/// A client that leaves stays so long at most.
const PATIENCE: Duration = Duration::from_millis(40);

type Body = BoxBody<Bytes, io::Error>;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one connection for all requests.
    Kept,
    /// HTTP/1.1, a connection per request.
    Fresh,
    /// HTTP/2, one connection for all requests, several at once.
    Two,
}

impl Protocol {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Protocol::Kept => "HTTP/1.1 kept",
            Protocol::Fresh => "HTTP/1.1 fresh",
            Protocol::Two => "HTTP/2",
        }
    }
}

/// An open connection; dropping it closes it at once.
pub struct Connection {
    sender: Sender,
    _driver: AbortOnDropHandle<()>,
}

/// The end of a connection that requests go into.
pub enum Sender {
    /// One request after the other.
    One(http1::SendRequest<Body>),
    /// Several at once.
    Two(http2::SendRequest<Body>),
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr, protocol: Protocol) -> Result<Connection, String> {
        let opened = async {
            let stream = TcpStream::connect(addr).await.map_err(|error| format!("can't connect: {error}"))?;
            stream.set_nodelay(true).map_err(|error| format!("can't connect: {error}"))?;
            let io = TokioIo::new(stream);
            if protocol == Protocol::Two {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(|error| failed("handshake", &error))?;
                // Its end shows as the end of requests.
                let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
                return Ok(Connection { sender: Sender::Two(sender), _driver: driver });
            }
            let (sender, driver) = http1::handshake(io).await.map_err(|error| failed("handshake", &error))?;
            let driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
            Ok(Connection { sender: Sender::One(sender), _driver: driver })
        };
        tokio::time::timeout(DEADLINE, opened).await.unwrap_or_else(|_| Err(format!("no connection within {DEADLINE:?}")))
    }

    /// Whether the server has closed it, or it can't take another request.
    pub async fn is_over(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await.is_err(),
            Sender::Two(sender) => sender.ready().await.is_err(),
        }
    }

    /// The end for requests.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }
}

impl Sender {
    /// Another end of the same connection, over HTTP/2.
    pub fn another(&self) -> Option<Sender> {
        match self {
            Sender::One(_) => None,
            Sender::Two(sender) => Some(Sender::Two(sender.clone())),
        }
    }

    /// Asks and judges the answer. A client that leaves is done when it has left.
    pub async fn ask(&mut self, ask: &Ask, port: u16) -> Result<(), String> {
        let within = if ask.kind == Kind::Leave { PATIENCE } else { DEADLINE };
        match tokio::time::timeout(within, self.exchange(ask, port)).await {
            Ok(Ok(answer)) => ask.judge(&answer),
            Ok(Err(_)) if ask.may_break() => Ok(()),
            Ok(Err(what)) => Err(what),
            Err(_) if ask.kind == Kind::Leave => Ok(()),
            Err(_) => Err(format!("no whole answer within {within:?}")),
        }
        .map_err(|what| format!("{} {}{} over {}: {what}", ask.method, ask.workload.domain(), ask.path, self.label()))
    }

    async fn exchange(&mut self, ask: &Ask, port: u16) -> Result<Answer, String> {
        let request = self.request(ask, port);
        let response = match self {
            Sender::One(sender) => sender.send_request(request).await,
            Sender::Two(sender) => sender.send_request(request).await,
        };
        whole(response.map_err(|error| failed("no answer", &error))?).await
    }

    fn request(&self, ask: &Ask, port: u16) -> Request<Body> {
        let authority = format!("{}:{port}", ask.workload.domain());
        let request = Request::builder().method(ask.method.clone());
        let request = match self {
            Sender::One(_) => request.uri(&ask.path).header(header::HOST, authority),
            Sender::Two(_) => request.uri(format!("http://{authority}{}", ask.path)).version(Version::HTTP_2),
        };
        request.body(payload(&ask.body)).expect("methods, domains and paths are written here and are well formed")
    }

    fn label(&self) -> &'static str {
        match self {
            Sender::One(_) => "HTTP/1.1",
            Sender::Two(_) => "HTTP/2",
        }
    }
}

/// One GET on a connection of its own, to where no workload is asked for.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Answer, String> {
    let mut connection = Connection::open(addr, Protocol::Fresh).await?;
    let Sender::One(sender) = connection.sender() else { unreachable!("it was opened for HTTP/1.1") };
    let request = Request::builder().method(Method::GET).uri(path).header(header::HOST, addr.to_string());
    let request = request.body(payload(&Payload::Whole(Bytes::new()))).map_err(|error| error.to_string())?;
    let asked = async { whole(sender.send_request(request).await.map_err(|error| failed("no answer", &error))?).await };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(format!("no whole answer within {DEADLINE:?}")))
}

async fn whole(response: Response<Incoming>) -> Result<Answer, String> {
    let (head, mut body) = response.into_parts();
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| failed(&format!("answered {} and broke off after {} bytes", head.status, content.len()), &error))?;
        if let Ok(piece) = frame.into_data() {
            content.extend_from_slice(&piece);
        }
        if content.len() > MAX_ANSWER {
            return Err(format!("answered more than {MAX_ANSWER} bytes"));
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: content.freeze() })
}

fn payload(payload: &Payload) -> Body {
    let pieces = |content: &Bytes| {
        let content = content.clone();
        let starts = (0..content.len()).step_by(PIECE);
        starts.map(move |at| Ok(Frame::data(content.slice(at..content.len().min(at + PIECE))))).collect::<Vec<_>>()
    };
    match payload {
        Payload::Whole(content) => Full::new(content.clone()).map_err(|never| match never {}).boxed(),
        Payload::Pieces(content) => BodyExt::boxed(StreamBody::new(futures::stream::iter(pieces(content)))),
        Payload::BrokenOff(content) => {
            let left = [Err(io::Error::other("the client leaves"))];
            BodyExt::boxed(StreamBody::new(futures::stream::iter(pieces(content).into_iter().chain(left))))
        }
    }
}

/// What failed, with its causes.
fn failed(what: &str, error: &dyn Error) -> String {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
