//! Why a guest gave no answer, and what a client is told: the one place that maps guests' ends to HTTP statuses.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::ending::WorkloadEnded;
use crate::bridge::code::Code;
use crate::copied::failure::CallFailed;
use crate::guest::DeadlinePassed;
use crate::guest_store::NoPlace;
use crate::limiter::Hit;
use crate::metrics::Ended;

/// Longest description of a trap in logs, bytes.
const MAX_DETAIL_BYTES: usize = 8 << 10;

/// Why a guest gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It was not done in time.
    #[error("gave no answer within its {} ms", .0.as_millis())]
    Deadline(Duration),
    /// It asked for more than its limit allows.
    #[error("{}", limit_message(.0))]
    Limit(Hit),
    /// It used up its stack.
    #[error("used up its stack: a recursion too deep, or frames too large")]
    Stack,
    /// It trapped; with the reason and the Wasm backtrace.
    #[error("trapped")]
    Trap(String),
    /// It called `exit`.
    #[error("exited with status {0} before it answered")]
    Exit(i32),
    /// It returned without answering.
    #[error("returned without an answer")]
    NoAnswer,
    /// It answered with an error code of wasi:http.
    #[error("answered with the error {0}")]
    Code(Code),
    /// It answered with an informational status, which no component can: 101 would hand over the connection.
    #[error("answered with status {0}, which is no final one")]
    Informational(u16),
    /// It returned before its answer's body was finished.
    #[error("returned before it had finished the body of its answer")]
    Unfinished,
    /// Its workload ended.
    #[error("was ended: its workload stopped, and the grace period is over")]
    Cut,
    /// There is no free instance; with what of it the engine has no more: instances, memories, tables or stacks.
    #[error("has no free instance: those that the host has room for are taken (instances)")]
    NoInstance(String),
    /// Its task is gone.
    #[error("ended with its host's task")]
    Gone,
    /// It called its workload's service, which gave nothing.
    #[error("{0}")]
    Call(CallFailed),
    /// A component that it is linked to failed, in its own code.
    #[error("failed in component {0}, which {1}")]
    In(Arc<str>, Box<Failure>),
}

fn limit_message(hit: &Hit) -> String {
    match hit {
        Hit::Memory(bytes) if *bytes < 1 << 20 => format!("ran into its memory limit of {} KiB (limits.memory)", bytes >> 10),
        Hit::Memory(bytes) => format!("ran into its memory limit of {} MiB (limits.memory)", bytes >> 20),
        Hit::HostMemory => "ran into the host's memory budget (memory-budget)".into(),
        Hit::Table(elements) => format!("ran into its limit of {elements} table elements (limits.tableElements)"),
    }
}

impl Failure {
    /// What an error of the engine means, together with the limit that the guest hit before.
    pub(crate) fn of(error: &wasmtime::Error, hit: Option<Hit>, timeout: Duration) -> Failure {
        if error.downcast_ref::<DeadlinePassed>().is_some() {
            return Failure::Deadline(timeout);
        }
        if error.downcast_ref::<WorkloadEnded>().is_some() {
            return Failure::Cut;
        }
        if let Some(call) = error.downcast_ref::<CallFailed>() {
            return Failure::Call(call.clone());
        }
        if let Some(pool) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            return Failure::NoInstance(pool.to_string());
        }
        if let Some(none) = error.downcast_ref::<NoPlace>() {
            return Failure::NoInstance(none.to_string());
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Failure::Exit(exit.0);
        }
        if let Some(hit) = hit {
            return Failure::Limit(hit);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Failure::Stack,
            _ => Failure::Trap(detail(error)),
        }
    }

    /// The response, if its status is a final one.
    pub(crate) fn final_only<B>(response: http::Response<B>) -> Result<http::Response<B>, Failure> {
        if response.status().is_informational() { Err(Failure::Informational(response.status().as_u16())) } else { Ok(response) }
    }

    /// The status a client gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Failure::In(_, failure) => failure.status(),
            Failure::Call(call) => call.why.status(),
            Failure::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Failure::NoInstance(_) | Failure::Limit(Hit::HostMemory) | Failure::Cut => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How the request is counted.
    pub(crate) fn ended(&self) -> Ended {
        match self {
            Failure::In(_, failure) => failure.ended(),
            Failure::Call(call) => call.why.ended(),
            Failure::Deadline(_) => Ended::Timeout,
            Failure::NoInstance(_) => Ended::Refused,
            Failure::Limit(_) | Failure::Stack => Ended::Limit,
            _ => Ended::Failed,
        }
    }

    /// The reason of the event, where there is one: in one CamelCase word.
    pub(crate) fn event(&self) -> Option<&'static str> {
        match self {
            Failure::In(_, failure) => failure.event(),
            Failure::Call(call) => Some(call.why.event()),
            Failure::Deadline(_) => Some("DeadlineExceeded"),
            Failure::Limit(Hit::Memory(_)) => Some("MemoryLimit"),
            Failure::Limit(Hit::HostMemory) => Some("HostMemory"),
            Failure::Limit(Hit::Table(_)) => Some("TableLimit"),
            Failure::Stack => Some("StackLimit"),
            Failure::Trap(_) => Some("Trapped"),
            Failure::Exit(_) => Some("Exited"),
            Failure::NoAnswer => Some("NoAnswer"),
            Failure::Unfinished => Some("Unfinished"),
            Failure::Informational(_) => Some("InvalidStatus"),
            Failure::NoInstance(_) => Some("NoInstance"),
            Failure::Code(_) | Failure::Cut | Failure::Gone => None,
        }
    }

    /// What the log says beyond the message: the backtrace (L43).
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Failure::In(_, failure) => failure.detail(),
            Failure::Trap(detail) | Failure::NoInstance(detail) => Some(detail),
            _ => None,
        }
    }
}

/// The chain of causes with the Wasm backtrace, without the host's own stack.
fn detail(error: &wasmtime::Error) -> String {
    let mut text = format!("{error:?}");
    if let Some(own) = text.find("Stack backtrace:") {
        text.truncate(own);
    }
    text.truncate(text.trim_end().len());
    text.truncate(text.floor_char_boundary(MAX_DETAIL_BYTES));
    text
}
