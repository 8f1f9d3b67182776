//! `allowedIpNameLookups` entries.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::InvalidGrant;
use super::hosts::HostPattern;
use crate::text::{quote, serde_as_text};

/// One `allowedIpNameLookups` entry: `*`, `*.suffix`, a host name or a literal address; no scheme, no port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedName(HostPattern);

impl AllowedName {
    /// Whether `name`, normalized, is meant.
    pub fn matches_name(&self, name: &str) -> bool {
        self.0.matches_name(name)
    }

    /// Whether the literal address `ip` is meant.
    pub fn matches_address(&self, ip: IpAddr) -> bool {
        self.0.matches_address(ip)
    }
}

impl FromStr for AllowedName {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<AllowedName, InvalidGrant> {
        let what = "an allowed name (`*`, `*.suffix`, a host name or an address)";
        HostPattern::parse(text).map(AllowedName).map_err(|rule| InvalidGrant { text: quote(text), what, rule })
    }
}

impl fmt::Display for AllowedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(AllowedName);
