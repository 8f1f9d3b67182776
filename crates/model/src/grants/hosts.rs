//! `allowedHosts` entries.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::address::{Reach, unmapped};
use super::{InvalidGrant, Protocol};
use crate::domain::Domain;
use crate::text::{quote, serde_as_text};

/// One `allowedHosts` entry: `*`, or `[scheme://](host | *.suffix)[:port][/]`. What an entry leaves out, scheme or port, may
/// be any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedHost {
    /// Scheme, in lower case; absent matches any.
    pub scheme: Option<String>,
    /// Which hosts.
    pub host: HostPattern,
    /// Port, 1 to 65,535; absent matches any.
    pub port: Option<u16>,
}

/// Which hosts an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: all of them.
    Any,
    /// `*.suffix`: every name below it, at any depth, but not itself.
    Below(Domain),
    /// One name.
    Name(Domain),
    /// One literal address; an IPv4-mapped one is kept as IPv4.
    Address(IpAddr),
}

impl AllowedHost {
    /// Whether requests of `scheme` are meant, in any case.
    pub fn matches_scheme(&self, scheme: &str) -> bool {
        self.scheme.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(scheme))
    }

    /// Whether `port` is meant.
    pub fn matches_port(&self, port: u16) -> bool {
        self.port.is_none_or(|p| p == port)
    }

    /// Whether sockets of `protocol` are meant: by an entry without scheme, or with `tcp://` or `udp://`.
    pub fn matches_protocol(&self, protocol: Protocol) -> bool {
        self.scheme.as_ref().is_none_or(|s| *s == protocol.as_str())
    }

    /// Whether `name`, normalized, is meant.
    pub fn matches_name(&self, name: &str) -> bool {
        self.host.matches_name(name)
    }

    /// Whether the literal address `ip` is meant.
    pub fn matches_address(&self, ip: IpAddr) -> bool {
        self.host.matches_address(ip)
    }

    /// How far this entry leads: only one that names a host or an address leads into private networks.
    pub fn reach(&self) -> Reach {
        match self.host {
            HostPattern::Any | HostPattern::Below(_) => Reach::PublicOnly,
            HostPattern::Name(_) | HostPattern::Address(_) => Reach::Anywhere,
        }
    }
}

impl HostPattern {
    pub(super) fn matches_name(&self, name: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Below(suffix) => {
                name.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.')).is_some_and(|below| !below.is_empty())
            }
            HostPattern::Name(own) => own.as_str() == name,
            HostPattern::Address(_) => false,
        }
    }

    pub(super) fn matches_address(&self, ip: IpAddr) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Address(own) => *own == unmapped(ip),
            HostPattern::Below(_) | HostPattern::Name(_) => false,
        }
    }

    /// Reads `*`, `*.suffix`, a host name or a literal address (IPv6 with or without brackets); no port.
    pub(super) fn parse(text: &str) -> Result<HostPattern, String> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = inner.parse::<IpAddr>() {
            return Ok(HostPattern::Address(unmapped(ip)));
        }
        if text.contains(':') {
            return Err("a port doesn't belong here, and an IPv6 address must be complete".to_owned());
        }
        let domain = |name: &str| name.parse::<Domain>().map_err(|e| e.to_string());
        match text.strip_prefix('*') {
            Some(rest) => match rest.strip_prefix('.') {
                Some(suffix) if suffix.parse::<IpAddr>().is_err() && !suffix.contains('*') => domain(suffix).map(HostPattern::Below),
                _ => Err("a wildcard stands alone or as `*.` before a name, like `*.example.com`".to_owned()),
            },
            None if text.contains('*') => Err("a wildcard stands alone or as `*.` before a name, like `*.example.com`".to_owned()),
            None => domain(text).map(HostPattern::Name),
        }
    }
}

impl FromStr for AllowedHost {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<AllowedHost, InvalidGrant> {
        let what = "an allowed host (`*`, or `[scheme://](host | *.suffix)[:port]`)";
        let invalid = |rule: &str| InvalidGrant { text: quote(text), what, rule: rule.to_owned() };
        if text == "*" {
            return Ok(AllowedHost { scheme: None, host: HostPattern::Any, port: None });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
            Some(_) => return Err(invalid("the scheme before `://` must be letters and digits, like `https`")),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(invalid("paths, queries, fragments and users can't be told apart; leave them out"));
        }
        let (host, port) = split_port(rest).map_err(&invalid)?;
        if host == "*" {
            return Err(invalid("`*` stands alone, without scheme and port"));
        }
        let host = HostPattern::parse(host).map_err(|rule| invalid(&rule))?;
        Ok(AllowedHost { scheme, host, port })
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    // A bare IPv6 address has colons but no port.
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => {
            let port = &text[colon + 1..];
            match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((&text[..colon], Some(number))),
                _ => Err("the port after `:` must be a number from 1 to 65535"),
            }
        }
        _ => Ok((text, None)),
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        match (&self.host, self.port) {
            // Brackets, or a port would be read as part of the address.
            (HostPattern::Address(IpAddr::V6(ip)), Some(port)) => write!(f, "[{ip}]:{port}"),
            (host, Some(port)) => write!(f, "{host}:{port}"),
            (host, None) => host.fmt(f),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Below(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Name(name) => name.fmt(f),
            HostPattern::Address(ip) => ip.fmt(f),
        }
    }
}

serde_as_text!(AllowedHost);
