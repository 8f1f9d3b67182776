//! Amounts as people write them: bytes in Kubernetes' notation, durations in Go's.

use std::time::Duration;

use crate::text::quote;

/// Bytes from a Kubernetes quantity: a number, whole or with a decimal point, and one of the suffixes `k M G T P E`
/// (powers of 1,000), `Ki Mi Gi Ti Pi Ei` (powers of 1,024) or none. Rounded up to a whole byte, as Kubernetes does.
/// Kubernetes' exponents (`1e3`) and fractions of a unit (`500m`) are refused: neither helps to say a number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidQuantity> {
    let invalid = || InvalidQuantity { text: quote(text), what: "an amount of bytes: write it like `64Mi`, `1.5Gi`, `500k` or `1000`" };
    let (number, suffix) = split_number(text);
    let unit: u128 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        _ => return Err(invalid()),
    };
    let bytes = scale(number, unit, Round::Up).ok_or_else(invalid)?;
    u64::try_from(bytes).map_err(|_| invalid())
}

/// A duration of hours, minutes, seconds and milliseconds, each at most once and in this order: `1h30m`, `1.5s`, `500ms`.
/// `0` needs no unit. Parts of a nanosecond are cut off.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let invalid = || InvalidQuantity { text: quote(text), what: "a duration: write it like `500ms`, `30s`, `5m` or `1h30m`" };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut smallest = u128::MAX;
    let mut nanos: u128 = 0;
    loop {
        let (number, tail) = split_number(rest);
        let (unit, tail) = split_unit(tail).ok_or_else(invalid)?;
        if unit >= smallest {
            return Err(invalid());
        }
        smallest = unit;
        let part = scale(number, unit, Round::Down).ok_or_else(invalid)?;
        nanos = nanos.checked_add(part).ok_or_else(invalid)?;
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| invalid())
}

/// A duration as [`parse_duration`] reads it, with as few units as say it: `24h`, `1h30m`, `90s` is `1m30s`. Parts of a millisecond are cut
/// off.
pub fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let parts = [("h", millis / 3_600_000), ("m", millis / 60_000 % 60), ("s", millis / 1_000 % 60), ("ms", millis % 1_000)];
    let written: String = parts.iter().filter(|(_, count)| *count > 0).map(|(unit, count)| format!("{count}{unit}")).collect();
    if written.is_empty() { "0s".to_owned() } else { written }
}

/// The leading digits and dots, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// The unit that `text` starts with, in nanoseconds, and what follows.
fn split_unit(text: &str) -> Option<(u128, &str)> {
    // `ms` before `m`: the longer one wins.
    let units = [("ms", 1_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];
    units.into_iter().find_map(|(name, nanos)| text.strip_prefix(name).map(|rest| (nanos, rest)))
}

#[derive(PartialEq)]
enum Round {
    Up,
    Down,
}

/// `number` times `unit` without floating point; `None` when `number` is none or too long.
fn scale(number: &str, unit: u128, round: Round) -> Option<u128> {
    // A u64 has 20 digits; 18 of a fraction keep every product within 128 bits.
    const MAX_WHOLE: usize = 20;
    const MAX_FRACTION: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str, max| text.len() <= max && text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole, MAX_WHOLE) || !digits(fraction, MAX_FRACTION) {
        return None;
    }
    let read = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = read(fraction)?.checked_mul(unit)?;
    let part = if round == Round::Up { part.div_ceil(denominator) } else { part / denominator };
    read(whole)?.checked_mul(unit)?.checked_add(part)
}

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct InvalidQuantity {
    text: String,
    what: &'static str,
}
