//! What a server is told: where to listen, with which certificate, and within which limits. Values only, nothing is read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how a [`Server`](crate::Server) serves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on. Port 0 takes a free port, which `local_addr` then names.
    pub addr: SocketAddr,
    /// Threads that accept and serve, each with its own listening socket and runtime. Default: one per available core. Zero counts as one.
    pub threads: usize,
    /// Serve TLS with this certificate; `None` serves cleartext. Default: `None`.
    pub tls: Option<TlsConfig>,
    /// Bounds and deadlines.
    pub limits: ServerLimits,
    /// Threads are named `<thread_name>-<number>`. Linux shows the first 15 bytes. Default: `http`.
    pub thread_name: String,
}

impl ServerConfig {
    /// Cleartext on `addr`, with every default.
    pub fn new(addr: SocketAddr) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { addr, threads, tls: None, limits: ServerLimits::default(), thread_name: "http".to_owned() }
    }
}

/// The certificate to serve, as PEM files that may change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, leaf first.
    pub cert_path: PathBuf,
    /// The leaf's private key: PKCS#8, PKCS#1 or SEC1.
    pub key_path: PathBuf,
    /// How often the files are compared with what is in use. Default: [`TlsConfig::RELOAD_EVERY`].
    pub reload_every: Duration,
}

impl TlsConfig {
    /// Soon enough for a rotated certificate, which issuers renew days before it ends; rare enough to cost nothing.
    pub const RELOAD_EVERY: Duration = Duration::from_secs(10);

    /// The given files, looked at again every [`TlsConfig::RELOAD_EVERY`].
    pub fn new(cert_path: impl Into<PathBuf>, key_path: impl Into<PathBuf>) -> Self {
        Self { cert_path: cert_path.into(), key_path: key_path.into(), reload_every: Self::RELOAD_EVERY }
    }
}

/// What one client, and all of them together, may use. Each field's default is the constant of the same name.
///
/// How long a request may take is the service's business; these limits guard what comes before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections open at once on the whole server. One more is answered 503 (with TLS: closed) and counted as refused.
    pub max_connections: usize,
    /// From accepting a connection, or from the first byte of a later request, until the request's head is complete.
    pub header_read_timeout: Duration,
    /// Request line and headers together, for HTTP/1 also the size of a connection's read and write buffers, hence never taken as less
    /// than [`ServerLimits::MIN_HEADER_BYTES`]. More is answered 431.
    pub max_header_bytes: usize,
    /// Header fields of one request. More is answered 431.
    pub max_headers: usize,
    /// How long a connection without a request in flight is kept.
    pub keep_alive_timeout: Duration,
    /// How long a draining server still waits for the first byte of an HTTP/1 connection's first request.
    pub last_call: Duration,
    /// From accepting until the end of the TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// How long a client may refuse to take any byte of a response that is ready before its connection is cut, with HTTP/2 the stream of
    /// that response reset if only it has no room. Every byte gives it as much time again.
    pub write_stall_timeout: Duration,
    /// Requests in flight on one HTTP/2 connection.
    pub http2_max_concurrent_streams: u32,
    /// HTTP/2 streams that were reset by the client before the server looked at them; more ends the connection (CVE-2023-44487).
    pub http2_max_pending_reset_streams: usize,
    /// HTTP/2 streams that the server reset because of a client's protocol error; more ends the connection (RUSTSEC-2024-0003).
    pub http2_max_error_reset_streams: usize,
    /// By how many the requests cancelled on one HTTP/2 connection may exceed those answered, before the connection is cut. It bounds
    /// the work that opening and resetting streams costs, which the two limits above don't see when the server is fast.
    pub http2_max_cancelled_streams: u32,
    /// Bytes of one request's body that wait for the service.
    pub http2_stream_window_bytes: u32,
    /// Bytes of all requests' bodies on one connection that wait for the service.
    pub http2_connection_window_bytes: u32,
    /// Bytes of one response that wait for the client.
    pub http2_send_buffer_bytes: usize,
    /// Bytes of all responses on one HTTP/2 connection that may wait for the client with no deadline but the connection's. A response whose
    /// rest fits is over for the server once it is handed over; another stays, and falls under `write_stall_timeout`, to its last byte.
    pub http2_unwatched_bytes: usize,
    /// How often an HTTP/2 client is asked whether it is still there.
    pub http2_ping_interval: Duration,
    /// How long it may take to answer.
    pub http2_ping_timeout: Duration,
}

impl ServerLimits {
    /// Some 20 KiB each when idle with TLS: 320 MiB at most before any request.
    pub const MAX_CONNECTIONS: usize = 16_384;
    /// A head is one packet for nearly everyone; ten seconds leave room for two lost packets on a bad mobile link.
    pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
    /// Cookies and tokens of real applications stay under 32 KiB; other servers' limits lie between 8 and 80 KiB.
    pub const MAX_HEADER_BYTES: usize = 64 * 1024;
    /// The smallest buffer that hyper's HTTP/1 codec takes.
    pub const MIN_HEADER_BYTES: usize = 8 * 1024;
    /// As many as hyper parses on its stack; any other value costs two allocations per HTTP/1 request.
    pub const MAX_HEADERS: usize = 100;
    /// Above the 60 seconds of common load balancers, so that they, not Berth, end a connection they consider reusable.
    pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
    /// Who has just connected is about to send, and would lose its request: HTTP/1 can't say that nothing more is served. A quarter of a
    /// second is a round trip to the other side of the Earth.
    pub const LAST_CALL: Duration = Duration::from_millis(250);
    /// Two round trips and a signature, with the same leeway as a head.
    pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// A client that takes nothing for a minute is gone or hostile.
    pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);
    /// Above the 100 that RFC 9113 section 6.5.2 recommends as the least.
    pub const HTTP2_MAX_CONCURRENT_STREAMS: u32 = 256;
    /// The `h2` crate's own default.
    pub const HTTP2_MAX_PENDING_RESET_STREAMS: usize = 20;
    /// hyper's own default.
    pub const HTTP2_MAX_ERROR_RESET_STREAMS: usize = 1_024;
    /// Four full sets of concurrent streams given up without a single answer between them.
    pub const HTTP2_MAX_CANCELLED_STREAMS: u32 = 1_024;
    /// A quarter of a connection's: 200 MB/s at 1 ms of round trip.
    pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
    /// hyper's own default; with [`ServerLimits::MAX_CONNECTIONS`] the bound on unread HTTP/2 bodies.
    pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
    /// Enough to keep a socket's buffer full.
    pub const HTTP2_SEND_BUFFER_BYTES: usize = 128 * 1024;
    /// An eighth of what unread requests of the connection may take, and room for 128 responses of 1 KiB at once, which so go out with their
    /// end in one frame.
    pub const HTTP2_UNWATCHED_BYTES: usize = 128 * 1024;
    /// Below the idle timeouts of usual NAT gateways and balancers.
    pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
    /// hyper's own default.
    pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: Self::MAX_CONNECTIONS,
            header_read_timeout: Self::HEADER_READ_TIMEOUT,
            max_header_bytes: Self::MAX_HEADER_BYTES,
            max_headers: Self::MAX_HEADERS,
            keep_alive_timeout: Self::KEEP_ALIVE_TIMEOUT,
            last_call: Self::LAST_CALL,
            tls_handshake_timeout: Self::TLS_HANDSHAKE_TIMEOUT,
            write_stall_timeout: Self::WRITE_STALL_TIMEOUT,
            http2_max_concurrent_streams: Self::HTTP2_MAX_CONCURRENT_STREAMS,
            http2_max_pending_reset_streams: Self::HTTP2_MAX_PENDING_RESET_STREAMS,
            http2_max_error_reset_streams: Self::HTTP2_MAX_ERROR_RESET_STREAMS,
            http2_max_cancelled_streams: Self::HTTP2_MAX_CANCELLED_STREAMS,
            http2_stream_window_bytes: Self::HTTP2_STREAM_WINDOW_BYTES,
            http2_connection_window_bytes: Self::HTTP2_CONNECTION_WINDOW_BYTES,
            http2_send_buffer_bytes: Self::HTTP2_SEND_BUFFER_BYTES,
            http2_unwatched_bytes: Self::HTTP2_UNWATCHED_BYTES,
            http2_ping_interval: Self::HTTP2_PING_INTERVAL,
            http2_ping_timeout: Self::HTTP2_PING_TIMEOUT,
        }
    }
}
