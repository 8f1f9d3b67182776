//! What a guest set of a socket: kept with the socket, and given to the system where it is on the host's network.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::Family;
use super::failure::SocketError;

/// Options of a socket. What isn't set is as the system has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    keep_alive: Option<bool>,
    idle: Option<u64>,
    interval: Option<u64>,
    count: Option<u32>,
    hop_limit: Option<u8>,
    receive_buffer: Option<u64>,
    send_buffer: Option<u64>,
}

const SECOND: u64 = 1_000_000_000;
/// Bounds of keep-alive's times in nanoseconds, and of its count: Linux's (tcp(7)).
const TIMES: (u64, u64) = (SECOND, i16::MAX as u64 * SECOND);
const COUNTS: (u32, u32) = (1, i8::MAX as u32);
/// What a guest is told where it set nothing: Linux's defaults, and what waits on a loopback.
const IDLE: u64 = 7200 * SECOND;
const INTERVAL: u64 = 75 * SECOND;
const COUNT: u32 = 9;
const HOPS: u8 = 64;
const BUFFER: u64 = 64 << 10;
/// The largest buffer that a system is asked for, bytes (L31).
const MOST_BUFFER_BYTES: usize = 1 << 20;

/// WASI: "If the provided value is 0, an `invalid-argument` error is returned."
fn positive<T: Default + PartialEq>(value: T) -> Result<T, SocketError> {
    if value == T::default() { Err(SocketError::INVALID_ARGUMENT) } else { Ok(value) }
}

impl Options {
    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive.unwrap_or(false)
    }

    pub(super) fn set_keep_alive(&mut self, on: bool) -> Result<(), SocketError> {
        self.keep_alive = Some(on);
        Ok(())
    }

    /// Nanoseconds, as all times here.
    pub(super) fn idle(&self) -> u64 {
        self.idle.unwrap_or(IDLE)
    }

    pub(super) fn set_idle(&mut self, time: u64) -> Result<(), SocketError> {
        self.idle = Some(positive(time)?.clamp(TIMES.0, TIMES.1));
        Ok(())
    }

    pub(super) fn interval(&self) -> u64 {
        self.interval.unwrap_or(INTERVAL)
    }

    pub(super) fn set_interval(&mut self, time: u64) -> Result<(), SocketError> {
        self.interval = Some(positive(time)?.clamp(TIMES.0, TIMES.1));
        Ok(())
    }

    pub(super) fn count(&self) -> u32 {
        self.count.unwrap_or(COUNT)
    }

    pub(super) fn set_count(&mut self, count: u32) -> Result<(), SocketError> {
        self.count = Some(positive(count)?.clamp(COUNTS.0, COUNTS.1));
        Ok(())
    }

    pub(super) fn hop_limit(&self) -> u8 {
        self.hop_limit.unwrap_or(HOPS)
    }

    pub(super) fn set_hop_limit(&mut self, hops: u8) -> Result<(), SocketError> {
        self.hop_limit = Some(positive(hops)?);
        Ok(())
    }

    pub(super) fn receive_buffer(&self) -> u64 {
        self.receive_buffer.unwrap_or(BUFFER)
    }

    pub(super) fn set_receive_buffer(&mut self, bytes: u64) -> Result<(), SocketError> {
        self.receive_buffer = Some(positive(bytes)?);
        Ok(())
    }

    pub(super) fn send_buffer(&self) -> u64 {
        self.send_buffer.unwrap_or(BUFFER)
    }

    pub(super) fn set_send_buffer(&mut self, bytes: u64) -> Result<(), SocketError> {
        self.send_buffer = Some(positive(bytes)?);
        Ok(())
    }

    /// Gives what is set to a TCP socket of the system.
    pub(super) fn apply_tcp(&self, socket: impl AsFd, family: Family) -> Result<(), SocketError> {
        let socket = socket.as_fd();
        if let Some(on) = self.keep_alive {
            sockopt::set_socket_keepalive(socket, on)?;
        }
        if let Some(time) = self.idle {
            sockopt::set_tcp_keepidle(socket, Duration::from_nanos(time))?;
        }
        if let Some(time) = self.interval {
            sockopt::set_tcp_keepintvl(socket, Duration::from_nanos(time))?;
        }
        if let Some(count) = self.count {
            sockopt::set_tcp_keepcnt(socket, count)?;
        }
        self.apply(socket, family)
    }

    /// Gives what is set to a socket of the system, of whatever protocol.
    pub(super) fn apply(&self, socket: impl AsFd, family: Family) -> Result<(), SocketError> {
        let socket = socket.as_fd();
        match (self.hop_limit, family) {
            (Some(hops), Family::V4) => sockopt::set_ip_ttl(socket, hops.into())?,
            (Some(hops), Family::V6) => sockopt::set_ipv6_unicast_hops(socket, Some(hops))?,
            (None, _) => {}
        }
        if let Some(bytes) = self.receive_buffer {
            sockopt::set_socket_recv_buffer_size(socket, size(bytes))?;
        }
        if let Some(bytes) = self.send_buffer {
            sockopt::set_socket_send_buffer_size(socket, size(bytes))?;
        }
        Ok(())
    }
}

/// A hint, which the system bounds further.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(MOST_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept_within_what_systems_take_and_zero_is_refused() {
        let mut options = Options::default();
        assert_eq!((options.hop_limit(), options.keep_alive(), options.count()), (64, false, 9));
        options.set_idle(1).unwrap();
        options.set_interval(u64::MAX).unwrap();
        options.set_count(1000).unwrap();
        options.set_hop_limit(7).unwrap();
        options.set_receive_buffer(12345).unwrap();
        assert_eq!((options.idle(), options.interval(), options.count(), options.hop_limit()), (SECOND, TIMES.1, 127, 7));
        assert_eq!((options.receive_buffer(), options.send_buffer()), (12345, BUFFER));
        assert!(options.set_idle(0).is_err() && options.set_interval(0).is_err() && options.set_count(0).is_err());
        assert!(options.set_hop_limit(0).is_err() && options.set_receive_buffer(0).is_err() && options.set_send_buffer(0).is_err());
    }

    #[test]
    fn what_is_set_reaches_a_socket_of_the_system() {
        let mut options = Options::default();
        options.set_keep_alive(true).unwrap();
        options.set_idle(30 * SECOND).unwrap();
        options.set_hop_limit(9).unwrap();
        options.set_send_buffer(u64::MAX).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        options.apply_tcp(&socket, Family::V4).unwrap();
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(30));
        assert_eq!(sockopt::ip_ttl(&socket).unwrap(), 9);
    }
}
