//! Who holds a data folder.

use serde::{Deserialize, Serialize};

/// Who holds a data folder, as its lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Where it answers HTTP; empty while it starts.
    #[serde(default)]
    pub http_addr: String,
    /// When it started.
    pub started: jiff::Timestamp,
}

impl Holder {
    /// This process, from now on.
    pub fn this_process(http_addr: String) -> Holder {
        Holder { pid: std::process::id(), http_addr, started: jiff::Timestamp::now() }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        if !self.http_addr.is_empty() {
            write!(f, ", which answers on {}", self.http_addr)?;
        }
        write!(f, ", since {}", self.started.strftime("%Y-%m-%d %H:%M:%SZ"))
    }
}
