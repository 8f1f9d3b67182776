//! A request's identity in logs and headers: the client's `x-request-id` where it is well-formed, else a new one.

use std::fmt;

use http::{HeaderMap, HeaderValue};

/// A request's identity; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The request's id, which stands in its headers from now on.
    pub(crate) fn of(headers: &mut HeaderMap) -> RequestId {
        RequestId(berth_http::headers::request_id(headers))
    }

    /// The id for the response.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}
