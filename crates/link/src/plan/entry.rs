//! Which component answers HTTP.

use berth_model::interface::InterfaceName;

use super::{Link, Part, Role};
use crate::error::LinkError;

/// The component `named`, or the only one that exports an HTTP handler no sibling imports; `None` where none is wanted.
pub(super) fn find(parts: &[Part<'_>], links: &[Link], named: Option<&str>, wants_http: bool) -> Result<Option<usize>, LinkError> {
    if !wants_http {
        return Ok(None);
    }
    let names = |parts_of: &[usize]| parts_of.iter().map(|part| parts[*part].name.to_owned()).collect::<Vec<_>>();
    let handlers: Vec<usize> = (0..parts.len()).filter(|part| answers_http(&parts[*part])).collect();
    if let Some(named) = named {
        let found = (0..parts.len()).find(|part| parts[*part].name == named && parts[*part].role == Role::Component);
        return match found {
            Some(part) if handlers.contains(&part) => Ok(Some(part)),
            found => Err(LinkError::BadEntry { component: named.to_owned(), exists: found.is_some(), candidates: names(&handlers) }),
        };
    }
    let is_imported = |part: usize| links.iter().any(|link| link.exporter == part && is_http_handler(&link.export));
    let free: Vec<usize> = handlers.iter().copied().filter(|part| !is_imported(*part)).collect();
    match free.as_slice() {
        [only] => Ok(Some(*only)),
        // Links lead in no circle, so of several handlers one is imported by nobody.
        [] => Err(LinkError::NoEntry),
        several => Err(LinkError::SeveralEntries { candidates: names(several) }),
    }
}

/// Whether a part is a component with an HTTP handler, of either version.
pub(super) fn answers_http(part: &Part<'_>) -> bool {
    part.role == Role::Component && part.world.exports().any(is_http_handler)
}

fn is_http_handler(export: &str) -> bool {
    let is_handler = |name: InterfaceName| name.is("wasi", "http", "handler") || name.is("wasi", "http", "incoming-handler");
    export.parse().is_ok_and(is_handler)
}
