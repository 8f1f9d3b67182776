//! Removes what RFC 9110 section 7.6.1 calls hop-by-hop: fields for this connection only, and those that `Connection` names.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes a request's hop-by-hop fields, and the credentials for a proxy (RFC 9110 section 11.7.2). `TE: trailers` stays, as gRPC
/// needs it; for an upgrade that shall pass, ask [`upgrade`] before.
pub fn strip_request(headers: &mut HeaderMap) {
    let trailers = has_token(headers, &header::TE, "trailers");
    strip(headers);
    headers.remove(header::PROXY_AUTHORIZATION);
    headers.remove(HTTP2_SETTINGS);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes a response's hop-by-hop fields, and the challenge of a proxy.
pub fn strip_response(headers: &mut HeaderMap) {
    strip(headers);
    headers.remove(header::PROXY_AUTHENTICATE);
}

/// The protocol that an HTTP/1.1 request or response switches to (`websocket`), if `Connection` says that it does.
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::UPGRADE).filter(|_| has_token(headers, &header::CONNECTION, "upgrade"))
}

fn strip(headers: &mut HeaderMap) {
    // Nearly always empty, and then without an allocation.
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION).filter_map(named).collect();
    for name in named {
        headers.remove(name);
    }
    for name in [header::CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
}

/// The field that an option of `Connection` names, if it isn't one that is removed anyway or must not be.
fn named(option: &str) -> Option<HeaderName> {
    if ["close", "keep-alive", "upgrade", "te"].iter().any(|known| option.eq_ignore_ascii_case(known)) {
        return None;
    }
    let name = HeaderName::from_bytes(option.as_bytes()).ok()?;
    // They frame and route the message, which was done by the time this is asked: removing them would only make the next hop see
    // another message than this one did.
    (name != header::HOST && name != header::CONTENT_LENGTH).then_some(name)
}

/// The members of a comma-separated field, without their parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|member| member.split(';').next()).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|member| member.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn stripped(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = headers(fields);
        strip_request(&mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let mut left: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        left.sort();
        left
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_of_the_connection_and_those_it_names_go_no_further_l52() {
        let fields = [
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("x-end", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip"),
            ("host", "a.example"),
        ];
        assert_eq!(stripped(&fields), owned(&[("host", "a.example"), ("x-end", "1")]));
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else_l52() {
        assert_eq!(stripped(&[("te", "gzip;q=0.5, Trailers;q=1"), ("connection", "te")]), owned(&[("te", "trailers")]));
    }

    #[test]
    fn connection_cant_name_away_what_frames_or_routes_the_message_l52() {
        let fields = [("connection", "host, content-length, @"), ("content-length", "3"), ("host", "a.example")];
        assert_eq!(stripped(&fields), owned(&[("content-length", "3"), ("host", "a.example")]));
    }

    #[test]
    fn an_upgrade_counts_only_where_connection_says_so_l52() {
        assert_eq!(
            upgrade(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])),
            Some(&"websocket".parse().expect("a value"))
        );
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&headers(&[("connection", "upgrade")])), None);
    }

    #[test]
    fn responses_lose_the_same_fields_l52() {
        let mut response = headers(&[("connection", "keep-alive"), ("proxy-authenticate", "Basic"), ("te", "trailers"), ("etag", "1")]);
        strip_response(&mut response);
        assert_eq!(response, headers(&[("etag", "1")]));
    }

    proptest! {
        #[test]
        fn nothing_that_connection_names_is_left_l52(
            options in "[a-zA-Z, ;=@-]{0,40}",
            names in prop::collection::vec("[a-z]{1,3}", 0..6),
        ) {
            let mut map = headers(&[("connection", options.trim()), ("host", "a.example")]);
            for name in &names {
                map.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_static("1"));
            }
            strip_request(&mut map);
            prop_assert!(map.contains_key("host"));
            prop_assert!(!map.contains_key("connection"));
            for option in options.split(',').map(|option| option.split(';').next().unwrap_or("").trim().to_ascii_lowercase()) {
                prop_assert!(option == "te" || option == "host" || option == "content-length" || option.is_empty() || !map.contains_key(&option));
            }
        }
    }
}
