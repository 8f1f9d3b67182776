//! Why something can't be done with a socket, in the words of either version of WASI.

use std::io;

use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as P2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi::p3::bindings::sockets::types::ErrorCode as P3;
use wasmtime_wasi::sockets::ErrorCode;

use crate::loopback::NetError;

/// Why something can't be done with a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum SocketError {
    Code(ErrorCode),
    /// There are as many as there may be.
    TooMany,
}

impl SocketError {
    pub(super) const DENIED: SocketError = SocketError::Code(ErrorCode::AccessDenied);
    pub(super) const INVALID_STATE: SocketError = SocketError::Code(ErrorCode::InvalidState);
    pub(super) const INVALID_ARGUMENT: SocketError = SocketError::Code(ErrorCode::InvalidArgument);
    pub(super) const UNREACHABLE: SocketError = SocketError::Code(ErrorCode::RemoteUnreachable);
    pub(super) const TOO_LARGE: SocketError = SocketError::Code(ErrorCode::DatagramTooLarge);

    /// Whether a writer is told no more than that the connection is closed.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, SocketError::Code(ErrorCode::ConnectionBroken))
    }

    pub(super) fn p2(self) -> P2 {
        match self {
            SocketError::Code(code) => code.into(),
            SocketError::TooMany => P2::NewSocketLimit,
        }
    }

    /// As streams of 0.2 carry it, which guests ask for its code by `network-error-code`.
    pub(super) fn io(self) -> io::Error {
        io::Error::from(match self {
            SocketError::Code(ErrorCode::ConnectionReset) => io::ErrorKind::ConnectionReset,
            SocketError::Code(ErrorCode::ConnectionAborted) => io::ErrorKind::ConnectionAborted,
            SocketError::Code(ErrorCode::ConnectionBroken) => io::ErrorKind::BrokenPipe,
            SocketError::Code(ErrorCode::RemoteUnreachable) => io::ErrorKind::HostUnreachable,
            SocketError::Code(ErrorCode::Timeout) => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        })
    }

    #[cfg(feature = "wasi-p3")]
    pub(super) fn p3(self) -> P3 {
        match self {
            SocketError::Code(code) => code.into(),
            SocketError::TooMany => P3::Other(Some("too many sockets are open".into())),
        }
    }
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> SocketError {
        SocketError::Code(error.into())
    }
}

impl From<rustix::io::Errno> for SocketError {
    fn from(error: rustix::io::Errno) -> SocketError {
        io::Error::from(error).into()
    }
}

impl From<NetError> for SocketError {
    fn from(error: NetError) -> SocketError {
        SocketError::Code(match error {
            NetError::AddressInUse => ErrorCode::AddressInUse,
            NetError::NotBindable => ErrorCode::AddressNotBindable,
            NetError::Refused => ErrorCode::ConnectionRefused,
            NetError::Reset => ErrorCode::ConnectionReset,
            NetError::Broken => ErrorCode::ConnectionBroken,
            NetError::TooLarge => ErrorCode::DatagramTooLarge,
            NetError::Exhausted => return SocketError::TooMany,
        })
    }
}
