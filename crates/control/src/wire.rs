//! JSON as it travels: replies pretty-printed and all else compact, as upstream peers were recorded to do.

use std::error::Error;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::convert::ConvertError;
pub(crate) use crate::generated::berth::control::v1 as ext;
pub(crate) use crate::generated::wasmcloud::runtime::v2 as pb;

const INFALLIBLE: &str = "wire messages made by `convert` have known enum values and timestamps in range";

/// JSON without white space.
pub(crate) fn compact<T: Serialize>(message: &T) -> Bytes {
    serde_json::to_vec(message).expect(INFALLIBLE).into()
}

/// JSON with line breaks and two spaces per level.
pub(crate) fn pretty<T: Serialize>(message: &T) -> Bytes {
    serde_json::to_vec_pretty(message).expect(INFALLIBLE).into()
}

/// Reads a message; fields that this version doesn't know are ignored.
pub(crate) fn decode<T: DeserializeOwned>(message: &'static str, payload: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(payload).map_err(|source| DecodeError::Json { message, source })
}

/// A message that can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It isn't JSON, or not of its type.
    #[error("not a valid {message}")]
    Json {
        /// The type it should have.
        message: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// It has the right form, but values that don't make sense.
    #[error("{message} has invalid values")]
    Values {
        /// Its type.
        message: &'static str,
        /// Which fields, and why.
        #[source]
        source: ConvertError,
    },
}

/// An error and its causes in one line.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// `text` cut to `limit` bytes at a character, with an ellipsis where something is missing.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "\u{2026}";
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}{ELLIPSIS}", &text[..text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()))])
}
