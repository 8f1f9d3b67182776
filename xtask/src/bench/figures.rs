//! Figures: medians, quantiles, and how they are written.

use std::time::Duration;

/// The median; `None` of nothing. Of an even number, the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The median of durations; zero of nothing.
pub fn median_time(values: &[Duration]) -> Duration {
    let seconds: Vec<f64> = values.iter().map(Duration::as_secs_f64).collect();
    Duration::from_secs_f64(median(&seconds).unwrap_or_default())
}

/// The median and the range, written with `write`: `3.61 (3.5 to 3.7)`.
pub fn spread(values: &[f64], write: impl Fn(f64) -> String) -> String {
    let Some(middle) = median(values) else { return "-".into() };
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    if values.len() == 1 { write(middle) } else { format!("{} ({} to {})", write(middle), write(low), write(high)) }
}

/// A ratio with two places; a dash where it says nothing.
pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "-".into() }
}

/// A count with commas between thousands.
pub fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time with three significant digits and the unit that suits it.
pub fn time(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    let (scaled, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 0.001 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    format!("{} {unit}", significant(scaled))
}

/// Bytes with three significant digits, in powers of 1024.
pub fn bytes(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        b if b >= (1u64 << 30) as f64 => (value / (1u64 << 30) as f64, "GiB"),
        b if b >= (1u64 << 20) as f64 => (value / (1u64 << 20) as f64, "MiB"),
        _ => (value / 1024.0, "KiB"),
    };
    format!("{} {unit}", significant(scaled))
}

fn significant(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Reads a time as wrk (`1.25ms`, `890.00us`, `2.01s`, `1.50m`) or Rust (`890.1µs`, `75ns`) writes it.
pub fn parse_time(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_alphabetic() || c == 'µ')?;
    let value: f64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(value * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[3.0, 1.0, 2.0], ratio), "2.00 (1.00 to 3.00)");
        assert_eq!(spread(&[3.0], ratio), "3.00");
        assert_eq!(spread(&[], ratio), "-");
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([count(0.0), count(999.4), count(1234567.0)], ["0", "999", "1,234,567"]);
        assert_eq!([2.5e-6, 0.01234, 1.5].map(|s| time(Duration::from_secs_f64(s))), ["2.50 us", "12.3 ms", "1.50 s"]);
        assert_eq!([512.0, 51200.0, 3.5 * 1048576.0].map(bytes), ["0.50 KiB", "50.0 KiB", "3.50 MiB"]);
        assert_eq!(ratio(1.0 / 0.0), "-");
    }

    #[test]
    fn times_of_wrk_and_of_rust_are_read() {
        let read = ["1.25ms", "890.00us", "2.01s", "1.50m", "35.1µs", "75ns"].map(|text| parse_time(text).map(|time| time.as_nanos()));
        assert_eq!(read, [1_250_000, 890_000, 2_010_000_000, 90_000_000_000, 35_100, 75].map(Some));
        assert_eq!(["", "12", "ms", "1.0kg", "-1ms"].map(parse_time), [None; 5]);
    }
}
