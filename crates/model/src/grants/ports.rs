//! Sets of ports, as the owner of a host allows them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{InvalidGrant, Protocol};
use crate::text::quote;

/// Ports by ranges: `PORT[-PORT][/tcp|/udp]`, with commas between; both protocols where none is named. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<Ports>);

/// One range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    range: RangeInclusive<u16>,
    /// None: both.
    protocol: Option<Protocol>,
}

impl PortSet {
    /// These ports, of both protocols.
    pub fn of(range: RangeInclusive<u16>) -> PortSet {
        PortSet(vec![Ports { range, protocol: None }])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `port` of `protocol` is among them.
    pub fn contains(&self, port: u16, protocol: Protocol) -> bool {
        self.0.iter().any(|ports| ports.range.contains(&port) && ports.protocol.is_none_or(|own| own == protocol))
    }
}

impl FromStr for PortSet {
    type Err = InvalidGrant;

    /// An empty text is the empty set.
    fn from_str(text: &str) -> Result<PortSet, InvalidGrant> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(Ports::from_str).collect::<Result<_, _>>().map(PortSet)
    }
}

impl FromStr for Ports {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Ports, InvalidGrant> {
        let invalid =
            |rule: &str| InvalidGrant { text: quote(text), what: "a range of ports (`PORT[-PORT][/tcp|/udp]`)", rule: rule.to_owned() };
        let (range, protocol) = match text.split_once('/') {
            None => (text, None),
            Some((range, "tcp")) => (range, Some(Protocol::Tcp)),
            Some((range, "udp")) => (range, Some(Protocol::Udp)),
            Some(_) => return Err(invalid("the protocol after `/` must be `tcp` or `udp`")),
        };
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && text.bytes().all(|b| b.is_ascii_digit()));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Ports { range: first..=last, protocol }),
            (Some(_), Some(_)) => Err(invalid("the first port of a range isn't above its last")),
            _ => Err(invalid("ports are numbers from 1 to 65535")),
        }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ports) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            let (first, last) = (ports.range.start(), ports.range.end());
            if first == last {
                write!(f, "{first}")?
            } else {
                write!(f, "{first}-{last}")?
            }
            if let Some(protocol) = ports.protocol {
                write!(f, "/{protocol}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_ports_are_read_and_written() {
        let set: PortSet = "5432, 8000-8100/tcp,53/udp".parse().unwrap();
        assert!(set.contains(5432, Protocol::Tcp) && set.contains(5432, Protocol::Udp));
        assert!(set.contains(8000, Protocol::Tcp) && set.contains(8100, Protocol::Tcp) && set.contains(53, Protocol::Udp));
        assert!(!set.contains(8000, Protocol::Udp) && !set.contains(53, Protocol::Tcp) && !set.contains(8101, Protocol::Tcp));
        assert_eq!(set.to_string(), "5432,8000-8100/tcp,53/udp");
        assert!("".parse::<PortSet>().unwrap().is_empty() && PortSet::default().to_string().is_empty());
        for bad in ["0", "65536", "5-4", "a", "1-", "-1", "1-2-3", "53/sctp", "1/tcp/udp", "+1"] {
            assert!(bad.parse::<PortSet>().is_err(), "{bad}");
        }
    }
}
