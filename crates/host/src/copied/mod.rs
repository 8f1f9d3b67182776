//! Calls into the service by copies: a component imports an interface that its workload's service exports.
//!
//! The two live in stores of their own, mostly on different threads, and the service lives longer than any request, so nothing is shared:
//! arguments and results are copied as plain values, whose bytes are bounded ([`value`]). The importer's linker has a function for each of
//! the interface ([`link`]). A call goes through the service's [`door`], a bounded line that is open while the service runs, to the task
//! that owns its store, which calls the export beside the program's `run` and all calls before it ([`serve`]). How long its caller waits is
//! said in [`wait`].
//!
//! Each side keeps its own authority, limits and log. What comes of a call that failed is an error of the caller ([`failure`]); a trap in the
//! callee's code is the service's failure, which ends its run.

pub(crate) mod door;
pub(crate) mod failure;
pub(crate) mod link;
#[cfg(feature = "wasi-p3")]
pub(crate) mod serve;
pub(crate) mod value;
mod wait;

/// Bytes that one call of the engine may copy out of a store that calls the service, or is it (L31): more than [`value::MAX_BYTES`], so
/// that a value past that is refused with words, and a result past it is no trap of the service.
pub(crate) const HOSTCALL_BYTES: usize = 4 * value::MAX_BYTES;
