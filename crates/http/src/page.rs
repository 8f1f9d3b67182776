//! Answers that Berth gives itself: short, for a person at a terminal or a program, never cached.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// In which form a client wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`: one line.
    #[default]
    Text,
    /// `application/json`: `{"error":{"status":404,"message":"..."}}`.
    Json,
}

impl Format {
    /// JSON if `Accept` names it without refusing it (`q=0`), else text.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let json = accepts.into_iter().any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
                && parts.all(|parameter| parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) != Some(0.0))
        });
        if json { Self::Json } else { Self::Text }
    }
}

/// An answer with `status` that says `message`: what was asked, what is wrong with it and what to do, in one line without a period.
pub fn page(status: StatusCode, message: &str, format: Format) -> Response<Full<Bytes>> {
    let (media, body) = match format {
        Format::Text => ("text/plain; charset=utf-8", format!("{message}\n")),
        Format::Json => {
            let json = serde_json::json!({ "error": { "status": status.as_u16(), "message": message } });
            ("application/json", format!("{json}\n"))
        }
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The message may repeat what the client sent; no browser shall take it for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// [`page`] as text.
pub fn plain(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    page(status, message, Format::Text)
}

/// Has `response` ask the client to try again in so many seconds (RFC 9110 section 10.2.3), for 429 and 503.
pub fn retry_after<B>(mut response: Response<B>, seconds: u32) -> Response<B> {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(response: Response<Full<Bytes>>) -> Bytes {
        match response.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        }
    }

    #[tokio::test]
    async fn text_is_one_line_and_json_is_escaped() {
        let message = r#"no workload serves "a.example""#;
        let text = plain(StatusCode::NOT_FOUND, message);
        assert_eq!(
            (text.status(), &text.headers()[header::CONTENT_TYPE]),
            (StatusCode::NOT_FOUND, &HeaderValue::from_static("text/plain; charset=utf-8"))
        );
        assert_eq!(body(text).await, format!("{message}\n"));
        let json: serde_json::Value =
            serde_json::from_slice(&body(page(StatusCode::NOT_FOUND, message, Format::Json)).await).expect("JSON");
        assert_eq!(json["error"]["message"], message);
        assert_eq!(json["error"]["status"], 404);
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        let wanted = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            Format::wanted(&headers)
        };
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::Text);
        assert_eq!(wanted("*/*"), Format::Text);
        assert_eq!(wanted("text/html, application/json;q=0.9"), Format::Json);
        assert_eq!(wanted("Application/JSON"), Format::Json);
        assert_eq!(wanted("application/json;q=0"), Format::Text);
    }

    #[test]
    fn a_retry_is_asked_for_in_seconds() {
        let response = retry_after(plain(StatusCode::SERVICE_UNAVAILABLE, "full"), 3);
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
    }
}
