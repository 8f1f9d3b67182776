//! What the fixture guests share, whichever WASI version they speak: request targets, JSON text, and faults.
//!
//! Knows nothing of HTTP bindings; whatever reaches the host from here goes through Rust's standard library (WASI 0.2), but for the sockets
//! of WASI 0.3, which are there with the feature `p3`.

pub mod fault;
pub mod files;
pub mod json;
pub mod log;
#[cfg(feature = "p3")]
pub mod sockets;
pub mod target;
pub mod volume;

pub use target::Target;

/// An error's name the same way for both WASI versions: `AccessDenied` from `ErrorCode::AccessDenied` (a variant's
/// Debug text) and from `access-denied` (an enum's name).
#[must_use]
pub fn error_name(text: &str) -> String {
    let text = text.strip_prefix("ErrorCode::").unwrap_or(text);
    text.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}
