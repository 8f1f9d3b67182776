//! Wire messages to and from `berth-model`'s values. What comes from the wire is checked again, by the rules that manifests
//! are checked by, and an error names the field.

mod heartbeat;
mod http;
mod limits;
mod links;
mod report;
mod workload;

pub(crate) use heartbeat::{heartbeat_from_wire, heartbeat_to_wire};
pub(crate) use report::{MAX_MESSAGE_BYTES, Question, answer_of, report_from_status, report_from_wire, report_to_wire, reported};
pub(crate) use workload::{wanted_from_wire, wanted_to_wire, workload_from_wire, workload_to_wire};

use berth_model::validate::Invalid;

/// Values from the wire that don't make sense: which fields, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConvertError(Vec<Invalid>);

impl ConvertError {
    /// One field is wrong.
    fn field(field: impl Into<String>, message: impl Into<String>) -> ConvertError {
        ConvertError(vec![Invalid { field: field.into(), message: message.into() }])
    }

    /// The fields, each with what is wrong.
    pub fn fields(&self) -> &[Invalid] {
        &self.0
    }
}

fn list(fields: &[Invalid]) -> String {
    fields.iter().map(|invalid| format!("{}: {}", invalid.field, invalid.message)).collect::<Vec<_>>().join("; ")
}
