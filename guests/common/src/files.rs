//! What a guest finds of a file system.

use crate::json;

/// A JSON object: the preopened folders, and what opening `path` said.
#[must_use]
pub fn report(preopens: impl IntoIterator<Item = String>, path: &str) -> String {
    let opened = match std::fs::read(path) {
        Ok(content) => format!("read {} bytes", content.len()),
        Err(error) => format!("error: {error}"),
    };
    json::object([
        ("preopens".to_owned(), json::array(preopens.into_iter().map(|name| json::string(&name)))),
        ("path".to_owned(), json::string(path)),
        ("open".to_owned(), json::string(&opened)),
    ])
}
