//! `localResources.limits`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::checker::Checker;
use crate::limits::Limits;
use crate::path::Path;
use crate::quantity::{InvalidQuantity, parse_bytes, parse_duration};
use crate::resource::LimitsSpec;

const HOUR: Duration = Duration::from_secs(3600);

/// Checks each limit against the bounds of [`Limits`].
pub(super) fn check(checker: &mut Checker<'_>, spec: &LimitsSpec, path: &Path<'_>) -> Limits {
    let mut bytes = |text: &Option<String>, field, range, shown| quantity(checker, text, &path.field(field), parse_bytes, range, shown);
    let memory_bytes = bytes(&spec.memory, "memory", 64 << 10..=4 << 30, "64Ki to 4Gi");
    let max_request_body_bytes = bytes(&spec.max_request_body, "maxRequestBody", 0..=1 << 40, "0 to 1Ti");
    let mut time = |text: &Option<String>, field, range, shown| quantity(checker, text, &path.field(field), parse_duration, range, shown);
    let request_timeout = time(&spec.request_timeout, "requestTimeout", Duration::from_millis(1)..=24 * HOUR, "1ms to 24h");
    let queue_timeout = time(&spec.queue_timeout, "queueTimeout", Duration::ZERO..=HOUR, "0s to 1h");
    let mut number = |value, field, range| within(checker, value, &path.field(field), range);
    Limits {
        memory_bytes,
        request_timeout,
        max_in_flight: number(spec.max_in_flight, "maxInFlight", 1..=65_536),
        max_queued: number(spec.max_queued, "maxQueued", 0..=65_536),
        queue_timeout,
        max_request_body_bytes,
        table_elements: number(spec.table_elements, "tableElements", 0..=10_000_000),
    }
}

fn quantity<T: PartialOrd>(
    checker: &mut Checker<'_>,
    text: &Option<String>,
    path: &Path<'_>,
    parse: fn(&str) -> Result<T, InvalidQuantity>,
    range: RangeInclusive<T>,
    shown: &str,
) -> Option<T> {
    let text = text.as_ref()?;
    let value = checker.keep(parse(text), path)?;
    checker.demand(range.contains(&value), path, || format!("must be {shown}, but is {text}"));
    Some(value)
}

fn within<T: PartialOrd + Display>(checker: &mut Checker<'_>, value: Option<T>, path: &Path<'_>, range: RangeInclusive<T>) -> Option<T> {
    let value = value?;
    checker.demand(range.contains(&value), path, || format!("must be {} to {}, but is {value}", range.start(), range.end()));
    Some(value)
}
