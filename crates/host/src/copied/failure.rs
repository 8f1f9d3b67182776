//! Why a call of the service gave nothing, in words that name the service and the function: the error that its caller traps with.

use std::sync::Arc;

use http::StatusCode;

use super::door::{MAX_CALLS, MAX_CALLS_BYTES};
use super::value::{MAX_BYTES, Refused};
use crate::metrics::Ended;
use crate::service::NAME;

/// A call of the service that gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("called {function} of component {NAME}, which {why}")]
pub(crate) struct CallFailed {
    /// Interface and function, as the service exports them.
    pub(crate) function: Arc<str>,
    pub(crate) why: Why,
}

/// Why it gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("gave no answer in the time that was left of the request")]
    Late,
    /// It wasn't up when it was called.
    #[error("isn't up: {0}")]
    Down(Arc<str>),
    /// It ended while it was called, by a trap in this call or for another reason.
    #[error("{0}")]
    Ended(Arc<str>),
    #[error("has as many calls as it may have at once ({MAX_CALLS}, and {} MiB of arguments)", MAX_CALLS_BYTES >> 20)]
    Busy,
    #[error("takes at most {} MiB of arguments in a call, as they lie in the host", MAX_BYTES >> 20)]
    LargeArguments,
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "only services of 0.3 are called"))]
    #[error("answered with more than {} MiB, as they lie in the host", MAX_BYTES >> 20)]
    LargeResult,
    /// A plan has no such link.
    #[error("can't be given a value that belongs to its caller's store")]
    Handle,
}

impl Why {
    pub(crate) fn of_arguments(refused: Refused) -> Why {
        match refused {
            Refused::TooLarge => Why::LargeArguments,
            Refused::Handle => Why::Handle,
        }
    }

    #[cfg(feature = "wasi-p3")]
    pub(crate) fn of_result(refused: Refused) -> Why {
        match refused {
            Refused::TooLarge => Why::LargeResult,
            Refused::Handle => Why::Handle,
        }
    }

    /// How the call is counted, and the request that came to nothing by it.
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Why::Late => Ended::Timeout,
            Why::Down(_) | Why::Busy => Ended::Refused,
            Why::Ended(_) => Ended::Failed,
            Why::LargeArguments | Why::LargeResult | Why::Handle => Ended::Limit,
        }
    }

    /// What a client gets whose request came to nothing by it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Why::Late => StatusCode::GATEWAY_TIMEOUT,
            Why::Down(_) | Why::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The reason of the event, in one CamelCase word.
    pub(crate) fn event(&self) -> &'static str {
        match self {
            Why::Late => "DeadlineExceeded",
            _ => "ServiceCallFailed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_names_the_service_the_function_and_the_reason() {
        let failed = |why: Why| CallFailed { function: "x:y/z#f".into(), why }.to_string();
        assert_eq!(failed(Why::Late), "called x:y/z#f of component service, which gave no answer in the time that was left of the request");
        assert_eq!(failed(Why::Ended("trapped".into())), "called x:y/z#f of component service, which trapped");
        assert!(failed(Why::Down("it is being started again".into())).ends_with("which isn't up: it is being started again"));
        assert!(failed(Why::LargeArguments).contains("at most 16 MiB"), "{}", failed(Why::LargeArguments));
    }
}
