//! The seam between the server and whoever answers: the service, and what it learns of the connection a request came on.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

/// Any error of a response body. The client sees its response cut short; nobody else sees it, so log it where it arises.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that can be sent: frames of bytes and trailers. Implemented for every fitting [`http_body::Body`].
pub trait ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B> ResponseBody for B where B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// What responses carry.
    type Body: ResponseBody;

    /// Answers one request. It can't fail: an error is a response with a status.
    ///
    /// Runs on the thread that serves the connection, among that thread's other connections: anything that computes for more than a
    /// fraction of a millisecond must yield. `tokio::spawn` stays on the same thread.
    ///
    /// The future is dropped, at whatever point it is, when the client disconnects or resets the stream, and when the server is
    /// killed; so is a body in the middle of being sent. With HTTP/1 a disconnect is noticed only while nothing else the client sent
    /// waits unread: a service that ignores a large request body needs a deadline of its own. So does one whose client doesn't send its
    /// body while it keeps the connection alive.
    fn call(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The connection a request came on, the same for all its requests.
#[derive(Debug)]
pub struct Connection {
    /// The other end: the client, or the last proxy before Berth.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Counts a server's connections from 1.
    pub id: u64,
    peer_ip: OnceLock<HeaderValue>,
}

impl Connection {
    /// A connection with these properties.
    pub fn new(peer: SocketAddr, local: SocketAddr, tls: bool, id: u64) -> Self {
        Self { peer, local, tls, id, peer_ip: OnceLock::new() }
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The peer's address without its port, an IPv4 address mapped into IPv6 as IPv4.
    pub fn peer_ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// [`Connection::peer_ip`] as a header value, formatted once per connection.
    pub(crate) fn peer_ip_value(&self) -> &HeaderValue {
        self.peer_ip
            .get_or_init(|| HeaderValue::try_from(self.peer_ip().to_string()).expect("an IP address is made of visible ASCII characters"))
    }
}
