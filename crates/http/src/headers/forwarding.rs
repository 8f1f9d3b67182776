//! Tells the next hop about the client: `Forwarded` (RFC 7239) and the `X-Forwarded-*` fields that came before it.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::authority::Authority;
use crate::service::Connection;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// What all the fields of its kind begin with, known ones or not.
const X_FORWARDED: &str = "x-forwarded-";

/// Whether a request's own forwarding fields are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// They are removed: anybody can connect and claim anything.
    #[default]
    Replace,
    /// They stay, with this hop added: only trusted proxies can connect.
    Append,
}

/// Writes the forwarding fields of a request that came over `connection` for `authority`.
pub fn forward(headers: &mut HeaderMap, connection: &Connection, authority: Authority<'_>, forwarding: Forwarding) {
    if forwarding == Forwarding::Replace {
        remove_claims(headers);
    }
    let client = connection.peer_ip_value();
    let chain = match joined(headers, &X_FORWARDED_FOR) {
        None => client.clone(),
        Some(before) => value(format!("{before}, {}", connection.peer_ip())),
    };
    headers.insert(X_FORWARDED_FOR, chain);
    let element = element(connection, authority);
    let element = match joined(headers, &header::FORWARDED) {
        None => element,
        Some(before) => format!("{before}, {element}"),
    };
    headers.insert(header::FORWARDED, value(element));
    // The first hop knows best what the client asked for.
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(connection.scheme()));
    if !headers.contains_key(X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, value(authority.as_str().to_owned()));
    }
}

fn remove_claims(headers: &mut HeaderMap) {
    headers.remove(header::FORWARDED);
    headers.remove(X_REAL_IP);
    // Nearly always empty, and then without an allocation.
    let claims: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(X_FORWARDED)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// A field's values in one; `None` without any, or if one isn't text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let mut joined = values.next()?.to_str().ok()?.to_owned();
    for value in values {
        joined.push_str(", ");
        joined.push_str(value.to_str().ok()?);
    }
    (!joined.is_empty()).then_some(joined)
}

/// This hop's element of `Forwarded`.
fn element(connection: &Connection, authority: Authority<'_>) -> String {
    let mut element = String::with_capacity(64);
    let written = match connection.peer_ip() {
        IpAddr::V4(ip) => write!(element, "for={ip}"),
        IpAddr::V6(ip) => write!(element, "for=\"[{ip}]\""),
    };
    written
        .and_then(|()| write!(element, ";host=\"{authority}\";proto={}", connection.scheme()))
        .expect("writing to a string doesn't fail");
    element
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("addresses, authorities and header values that are text make a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(peer: &str, tls: bool) -> Connection {
        Connection::new(peer.parse().expect("an address"), "127.0.0.1:8000".parse().expect("an address"), tls, 1)
    }

    fn forwarded(mut headers: HeaderMap, peer: &str, tls: bool, forwarding: Forwarding) -> HeaderMap {
        let authority = Authority::parse("a.example:8000").expect("an authority");
        forward(&mut headers, &connection(peer, tls), authority, forwarding);
        headers
    }

    fn claims() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-client-cert", "admin"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-mine", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_a_client_claims_is_replaced_by_what_the_connection_says_l52() {
        let headers = forwarded(claims(), "192.0.2.1:5000", false, Forwarding::Replace);
        let expected = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example:8000"),
            ("forwarded", "for=192.0.2.1;host=\"a.example:8000\";proto=http"),
            ("x-mine", "1"),
        ];
        for (name, value) in expected {
            assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
        assert_eq!(headers.len(), expected.len(), "{headers:?}");
    }

    #[test]
    fn a_trusted_proxys_fields_stay_and_it_is_added_to_them() {
        let headers = forwarded(claims(), "[2001:db8::1]:5000", false, Forwarding::Append);
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 7.7.7.7, 2001:db8::1");
        assert_eq!(headers["forwarded"], "for=6.6.6.6, for=\"[2001:db8::1]\";host=\"a.example:8000\";proto=http");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "b.example");
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_ipv4() {
        let headers = forwarded(HeaderMap::new(), "[::ffff:192.0.2.1]:5000", true, Forwarding::Replace);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }
}
