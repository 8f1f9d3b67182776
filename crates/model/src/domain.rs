//! Domains: the names by which HTTP requests find a workload.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use crate::text::{quote, serde_as_text};

/// A host name (or a literal address) without port: lower case, no trailing dot, IPv6 in brackets and in its short form.
/// At most 253 characters, labels of 1 to 63 letters, digits, `-` and `_` (RFC 1035, and the underscore that resolvers
/// and browsers let pass). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain that a `Host` header or `:authority` asks for; `None` when that is no domain.
    pub fn of_authority(authority: &str) -> Option<Domain> {
        authority.parse().ok()
    }

    /// The authority without port and trailing dot, in lower case: what a domain compares equal to. Allocates only when
    /// it must change a letter or shorten an IPv6 address. Doesn't check: what is no domain equals none.
    pub fn normalize(authority: &str) -> Cow<'_, str> {
        let host = without_port(authority);
        if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            return match inner.parse::<Ipv6Addr>() {
                Ok(ip) => {
                    let text = format!("[{ip}]");
                    if text == host { Cow::Borrowed(host) } else { Cow::Owned(text) }
                }
                Err(_) => Cow::Borrowed(host),
            };
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
    }
}

/// Cuts `:port` off, also an empty one (RFC 3986 allows `host:`).
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if authority[colon + 1..].bytes().all(|b| b.is_ascii_digit()) => {
            let host = &authority[..colon];
            // Inside brackets the colon belongs to the address.
            if host.starts_with('[') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}

impl FromStr for Domain {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Domain, InvalidDomain> {
        let invalid = |rule| InvalidDomain { text: quote(text), rule };
        let host = Domain::normalize(text);
        if let Some(inner) = host.strip_prefix('[') {
            return match inner.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
                Some(Ok(_)) => Ok(Domain(host.into())),
                _ => Err(invalid("what stands in brackets must be an IPv6 address")),
            };
        }
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Domain(format!("[{ip}]").into()));
        }
        check_name(&host).map_err(invalid)?;
        Ok(Domain(host.into()))
    }
}

fn check_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it is empty");
    }
    if host.contains("://") || host.contains('/') {
        return Err("give the host name alone, without scheme and path");
    }
    if host.contains('*') {
        return Err("wildcards aren't served; name each host, or leave it out to serve every host that no other workload claims");
    }
    if !host.is_ascii() {
        return Err("write names with other than ASCII letters in their `xn--` form");
    }
    if host.len() > 253 {
        return Err("it is longer than 253 characters");
    }
    for label in host.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("each part between dots must have 1 to 63 characters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("only letters, digits, `-`, `_` and dots are allowed, and a port number after `:`");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part may start or end with `-`");
        }
    }
    Ok(())
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

serde_as_text!(Domain);

/// A text that is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a domain: {rule}")]
pub struct InvalidDomain {
    text: String,
    rule: &'static str,
}
