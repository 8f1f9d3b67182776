//! Which host a request is for, and whether its target is one Berth serves: the checks before any routing.

use std::fmt;
use std::net::Ipv6Addr;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};

/// The longest host: RFC 1035 section 2.3.4.
pub const MAX_HOST_BYTES: usize = 255;
/// The longest path and query: what RFC 9110 section 4.1 recommends to support at least.
pub const MAX_TARGET_BYTES: usize = 8_000;
/// How much of what a client sent an error repeats.
const SHOWN_BYTES: usize = 80;

/// A host with an optional port, as a request names it: checked, not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    text: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Takes `host`, `host:port`, `[v6]` and `[v6]:port`, where a host is made of letters, digits, `-`, `_` and `.`. User information
    /// and anything else RFC 3986 would allow is refused.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = split(text);
        let named = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        named.then_some(Self { text, host, port })
    }

    /// All of it, as the request has it.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host, in the client's case, an IPv6 address in brackets.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port, if the client named one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The host, brackets included, and what follows the colon after it.
pub(crate) fn split(authority: &str) -> (&str, Option<&str>) {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket..].find(':') {
        Some(colon) => (&authority[..bracket + colon], Some(&authority[bracket + colon + 1..])),
        None => (authority, None),
    }
}

fn is_name(host: &str) -> bool {
    (1..=MAX_HOST_BYTES).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Why a request can't be routed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Neither a `Host` header nor an authority in the target.
    #[error("the request names no host")]
    NoHost,
    /// More than one `Host` header (RFC 9112 section 3.2).
    #[error("the request has {0} Host headers")]
    SeveralHosts(usize),
    /// Not a host.
    #[error("{0:?} isn't a host name or address with an optional port")]
    InvalidHost(String),
    /// HTTP/2's `:authority` and `Host` differ (RFC 9113 section 8.3.1).
    #[error("the request is for {authority:?} but its Host header says {host:?}")]
    TwoHosts {
        /// The pseudo-header.
        authority: String,
        /// The header.
        host: String,
    },
    /// `CONNECT`, which is for proxies that tunnel.
    #[error("CONNECT isn't served here")]
    Connect,
    /// A target that is no path, such as `*` for anything but `OPTIONS`.
    #[error("{0:?} isn't a path that begins with a slash")]
    InvalidTarget(String),
    /// A path and query of more than [`MAX_TARGET_BYTES`].
    #[error("the path and query have {0} bytes, {max} at most are served", max = MAX_TARGET_BYTES)]
    LongTarget(usize),
}

impl BadRequest {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::LongTarget(_) => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request's target and finds the host it is for. Doesn't allocate unless it refuses.
///
/// HTTP/1.1 requires exactly one `Host` header, but a host in the target itself counts before it (RFC 9112 section 3.2.2). HTTP/2 has
/// `:authority`, from which `Host` may not differ.
pub fn check<B>(request: &Request<B>) -> Result<Authority<'_>, BadRequest> {
    check_target(request)?;
    let header = host_header(request.headers())?;
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let text = match (authority, header, request.version()) {
        (None, None, _) | (_, None, Version::HTTP_11) => return Err(BadRequest::NoHost),
        (Some(authority), Some(host), Version::HTTP_2) if !authority.eq_ignore_ascii_case(host) => {
            return Err(BadRequest::TwoHosts { authority: shown(authority), host: shown(host) });
        }
        (Some(authority), _, _) => authority,
        (None, Some(host), _) => host,
    };
    match text {
        "" => Err(BadRequest::NoHost),
        text => Authority::parse(text).ok_or_else(|| BadRequest::InvalidHost(shown(text))),
    }
}

fn check_target<B>(request: &Request<B>) -> Result<(), BadRequest> {
    if request.method() == Method::CONNECT {
        return Err(BadRequest::Connect);
    }
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if target.len() > MAX_TARGET_BYTES {
        return Err(BadRequest::LongTarget(target.len()));
    }
    // An absolute target may have a query without a path.
    let rooted = target.starts_with(['/', '?']) || (target == "*" && request.method() == Method::OPTIONS);
    if rooted { Ok(()) } else { Err(BadRequest::InvalidTarget(shown(target))) }
}

fn host_header(headers: &HeaderMap) -> Result<Option<&str>, BadRequest> {
    let mut values = headers.get_all(header::HOST).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match values.count() {
        0 => first.to_str().map(Some).map_err(|_| BadRequest::InvalidHost(shown(&String::from_utf8_lossy(first.as_bytes())))),
        more => Err(BadRequest::SeveralHosts(more + 1)),
    }
}

/// The part of a client's text that an error repeats.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request<()> {
        let mut builder = Request::builder().version(version).uri(target);
        for host in hosts {
            builder = builder.header(header::HOST, *host);
        }
        builder.body(()).expect("a request")
    }

    fn host_of(version: Version, target: &str, hosts: &[&str]) -> Result<String, BadRequest> {
        check(&request(version, target, hosts)).map(|authority| authority.to_string())
    }

    #[test]
    fn the_host_comes_from_the_header_or_from_the_target_which_wins() {
        assert_eq!(host_of(Version::HTTP_11, "/", &["a.example:8000"]), Ok("a.example:8000".to_owned()));
        assert_eq!(host_of(Version::HTTP_11, "http://b.example/", &["a.example"]), Ok("b.example".to_owned()));
        assert_eq!(host_of(Version::HTTP_2, "http://a.example/", &[]), Ok("a.example".to_owned()));
        assert_eq!(host_of(Version::HTTP_2, "http://a.example/", &["A.example"]), Ok("a.example".to_owned()));
        assert_eq!(host_of(Version::HTTP_10, "/", &["a.example"]), Ok("a.example".to_owned()));
    }

    #[test]
    fn an_absent_doubled_or_contradicted_host_is_refused_with_its_reason() {
        assert_eq!(host_of(Version::HTTP_11, "/", &[]), Err(BadRequest::NoHost));
        assert_eq!(host_of(Version::HTTP_11, "http://a.example/", &[]), Err(BadRequest::NoHost));
        assert_eq!(host_of(Version::HTTP_11, "/", &[""]), Err(BadRequest::NoHost));
        assert_eq!(host_of(Version::HTTP_11, "/", &["a.example", "a.example"]), Err(BadRequest::SeveralHosts(2)));
        let two = host_of(Version::HTTP_2, "http://a.example/", &["b.example"]).expect_err("ambiguous");
        assert_eq!(two.to_string(), r#"the request is for "a.example" but its Host header says "b.example""#);
        assert_eq!(two.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn what_isnt_a_host_is_refused_and_named() {
        for text in ["a b", "user@a.example", "a.example:x", "a.example:65536", "[::1", "[nope]", "a/b", "a:1:2", ":80", "::1", "é"] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
        let error = host_of(Version::HTTP_11, "/", &["a b"]).expect_err("a space");
        assert_eq!(error.to_string(), r#""a b" isn't a host name or address with an optional port"#);
    }

    #[test]
    fn hosts_keep_their_text_and_are_split_from_their_port() {
        let parts = |text| Authority::parse(text).map(|authority| (authority.host(), authority.port()));
        assert_eq!(parts("A.Example"), Some(("A.Example", None)));
        assert_eq!(parts("a.example:"), Some(("a.example", None)));
        assert_eq!(parts("127.0.0.1:8000"), Some(("127.0.0.1", Some(8000))));
        assert_eq!(parts("[::1]:8000"), Some(("[::1]", Some(8000))));
        assert_eq!(parts("[fe80::1]"), Some(("[fe80::1]", None)));
    }

    #[test]
    fn targets_that_arent_paths_are_refused() {
        let refused = |method: Method, target: &str| {
            let request = Request::builder().method(method).uri(target).header(header::HOST, "a.example").body(()).expect("a request");
            check(&request).err()
        };
        assert_eq!(refused(Method::CONNECT, "a.example:443"), Some(BadRequest::Connect));
        assert_eq!(refused(Method::GET, "*"), Some(BadRequest::InvalidTarget("*".to_owned())));
        assert_eq!(refused(Method::OPTIONS, "*"), None);
        assert_eq!(refused(Method::GET, "http://a.example?q"), None);
        let long = refused(Method::GET, &format!("/{}", "a".repeat(MAX_TARGET_BYTES))).expect("too long");
        assert_eq!((long.status(), long), (StatusCode::URI_TOO_LONG, BadRequest::LongTarget(MAX_TARGET_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn parsing_any_text_never_panics_and_parts_make_the_whole(text in "[a-zA-Z0-9.:\\[\\]@_-]{0,40}|\\PC{0,20}") {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert!(text.starts_with(authority.host()));
                let rest = &text[authority.host().len()..];
                match authority.port() {
                    Some(port) => prop_assert_eq!(rest[1..].parse(), Ok(port)),
                    None => prop_assert!(rest.is_empty() || rest == ":"),
                }
            }
        }
    }
}
