//! The server over real sockets: protocols, TLS, limits, lifecycle, spread over threads.

mod lifecycle;
mod limits;
mod protocols;
mod spread;
mod support;
mod tls;
