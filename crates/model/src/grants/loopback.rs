//! `allowedHostLoopbackPorts` entries.

use std::fmt;
use std::str::FromStr;

use super::InvalidGrant;
use crate::text::{quote, serde_as_text};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `allowedHostLoopbackPorts` entry: `PORT[/tcp|/udp]`, tcp by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopbackPort {
    /// Port, 1 to 65,535.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl FromStr for LoopbackPort {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<LoopbackPort, InvalidGrant> {
        let invalid = |rule: &str| InvalidGrant { text: quote(text), what: "a loopback port (`PORT[/tcp|/udp]`)", rule: rule.to_owned() };
        let (number, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp),
            Some((number, "udp")) => (number, Protocol::Udp),
            Some(_) => return Err(invalid("the protocol after `/` must be `tcp` or `udp`")),
        };
        match number.parse::<u16>() {
            Ok(port) if port > 0 && number.bytes().all(|b| b.is_ascii_digit()) => Ok(LoopbackPort { port, protocol }),
            _ => Err(invalid("the port must be a number from 1 to 65535")),
        }
    }
}

impl fmt::Display for LoopbackPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

serde_as_text!(LoopbackPort);
