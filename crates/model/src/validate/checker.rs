//! Collects what is wrong, and looks up what references lead to.

use std::fmt::Display;
use std::str::FromStr;

use super::{Invalid, InvalidSpec, Lookup};
use crate::path::Path;

/// Most replicas of one deployment or replica set: 10,000, as many workloads as one host is built for. Each replica is an object of
/// its own, so an unbounded number would be an unbounded amount of memory.
pub const MAX_REPLICAS: i32 = 10_000;

/// The state of one check.
pub(super) struct Checker<'a> {
    /// Namespace of the object, in which its references lead.
    pub(super) namespace: &'a str,
    /// Absent: references aren't resolved.
    pub(super) lookup: Option<&'a dyn Lookup>,
    invalid: Vec<Invalid>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(namespace: &'a str, lookup: Option<&'a dyn Lookup>) -> Checker<'a> {
        Checker { namespace, lookup, invalid: Vec::new() }
    }

    /// Notes that the field at `path` is wrong.
    pub(super) fn wrong(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.invalid.push(Invalid { field: path.to_string(), message: message.into() });
    }

    /// Notes `message` unless `holds`.
    pub(super) fn demand(&mut self, holds: bool, path: &Path<'_>, message: impl FnOnce() -> String) {
        if !holds {
            self.wrong(path, message());
        }
    }

    /// Parses a text with a grammar of its own.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, text: &str, path: &Path<'_>) -> Option<T> {
        self.keep(text.parse(), path)
    }

    /// The value, or a note why there is none.
    pub(super) fn keep<T, E: Display>(&mut self, result: Result<T, E>, path: &Path<'_>) -> Option<T> {
        result.map_err(|error| self.wrong(path, error.to_string())).ok()
    }

    /// An optional count that must not be negative; 0 when absent.
    pub(super) fn count(&mut self, value: Option<i32>, path: &Path<'_>) -> u32 {
        let value = value.unwrap_or(0);
        u32::try_from(value).unwrap_or_else(|_| {
            self.wrong(path, format!("must be 0 or more, but is {value}"));
            0
        })
    }

    /// A number of replicas: from 0 to [`MAX_REPLICAS`].
    pub(super) fn replicas(&mut self, value: Option<i32>, path: &Path<'_>) {
        let value = value.unwrap_or(1);
        self.demand(value >= 0, path, || format!("must be 0 or more, but is {value}"));
        self.demand(value <= MAX_REPLICAS, path, || format!("must be at most {MAX_REPLICAS}, but is {value}"));
    }

    /// `value` if nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, InvalidSpec> {
        if self.invalid.is_empty() { Ok(value) } else { Err(InvalidSpec(self.invalid)) }
    }
}
