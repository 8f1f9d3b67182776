//! The runtime of control tasks (D6: guests run on the host's own threads and can't starve them).

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads for store, operator, bus, API and admin: two, so that one that is busy for a moment doesn't delay a heartbeat.
pub const CONTROL_THREADS: usize = 2;

/// A runtime for the control tasks of one process.
///
/// # Errors
///
/// When the system gives no threads.
pub fn control() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(CONTROL_THREADS).thread_name("berth-control").enable_all().build()
}
