//! Errors of the local API: the one place that maps them to HTTP statuses.

use berth_operator::store::StoreError;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::server::{Body, respond, whole};

/// What went wrong, for a program and for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For a program.
    pub code: Code,
    /// For a person: what happened, to what, and what to do next.
    pub message: String,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request can't be read.
    BadRequest,
    /// A resource isn't valid.
    Invalid,
    /// There is no such object, or no such path.
    NotFound,
    /// The object is there already, or was changed in between.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The process is stopping.
    Stopping,
    /// Too much of the same is under way.
    Busy,
    /// Berth's own fault.
    Internal,
}

impl ApiError {
    /// An error of kind `code`.
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into() }
    }

    fn status(&self) -> StatusCode {
        match self.code {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::Conflict => StatusCode::CONFLICT,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Stopping | Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn response(&self) -> Response<Body> {
        respond(self.status(), "application/json", whole(serde_json::to_vec(self).expect("an error is plain data")))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let code = match &error {
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::AlreadyExists(_) | StoreError::Conflict { .. } => Code::Conflict,
            StoreError::Invalid(_) => Code::Invalid,
            _ => Code::Internal,
        };
        ApiError::new(code, crate::chain(&error))
    }
}
