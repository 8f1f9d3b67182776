//! Ids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::quote;

/// A host's id: a UUID, made when the process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(Uuid);

impl HostId {
    /// A new random id.
    pub fn random() -> HostId {
        HostId(Uuid::new_v4())
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HostId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<HostId, InvalidId> {
        text.parse().map(HostId).map_err(|_| InvalidId { what: "host id", text: quote(text), rule: "a UUID" })
    }
}

/// A workload's id on the wire: the Workload object's uid. Peers choose it, so it is any printable text of 1 to 128
/// characters without white space. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId(Arc<str>);

impl WorkloadId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkloadId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<WorkloadId, InvalidId> {
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidId { what: "workload id", text: quote(text), rule: "1 to 128 printable ASCII characters without spaces" });
        }
        Ok(WorkloadId(text.into()))
    }
}

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: it must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_themselves_and_nothing_else_is_one() {
        let host = HostId::random();
        assert_eq!(host.to_string().parse::<HostId>().unwrap(), host);
        assert!("host-1".parse::<HostId>().unwrap_err().to_string().contains("must be a UUID"));
        let id: WorkloadId = "6f9619ff-8b86".parse().unwrap();
        assert_eq!(id.to_string(), id.as_str());
        for bad in ["", "a b", "a\nb", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<WorkloadId>().is_err(), "{bad}");
        }
    }
}
