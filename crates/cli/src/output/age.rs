//! Times and sizes as tables show them.

use std::time::Duration;

use jiff::Timestamp;

/// How long ago something was, in kubectl's way: the largest unit, and the next one while the number is small.
pub(crate) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else { return "<unknown>".to_owned() };
    let seconds = u64::try_from(now.as_second() - since.as_second()).unwrap_or(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        _ => format!("{days}d"),
    }
}

fn two(first: u64, unit: char, second: u64, next: char) -> String {
    if second == 0 { format!("{first}{unit}") } else { format!("{first}{unit}{second}{next}") }
}

/// A duration with what matters of it: `850us`, `2.4ms`, `1.2s`, `1m30s`, `1d`.
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0".to_owned(),
        1..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}s", format!("{:.2}", micros as f64 / 1e6).trim_end_matches('0').trim_end_matches('.')),
        _ => {
            let seconds = duration.as_secs();
            match seconds {
                0..3_600 => two(seconds / 60, 'm', seconds % 60, 's'),
                3_600..86_400 => two(seconds / 3_600, 'h', seconds / 60 % 60, 'm'),
                _ => two(seconds / 86_400, 'd', seconds / 3_600 % 24, 'h'),
            }
        }
    }
}

/// Bytes in powers of 1,024: `12Mi`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes}"),
        1_024..1_048_576 => format!("{}Ki", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{}Mi", bytes >> 20),
        _ => format!("{}Gi", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        let now = Timestamp::from_second(100_000_000).unwrap();
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (150, "2m30s"),
            (600, "10m"),
            (7200, "120m"),
            (11_000, "3h3m"),
            (90_000, "25h"),
            (176_400, "2d1h"),
            (864_000, "10d"),
            (-5, "0s"),
        ] {
            assert_eq!(age(Timestamp::from_second(100_000_000 - seconds).ok(), now), text);
        }
        assert_eq!(age(None, now), "<unknown>");
    }

    #[test]
    fn durations_and_sizes_are_short() {
        for (micros, text) in [
            (0, "0"),
            (850, "850us"),
            (2_400, "2.4ms"),
            (25_000, "25ms"),
            (1_200_000, "1.2s"),
            (30_000_000, "30s"),
            (90_000_000, "1m30s"),
            (3_600_000_000, "1h"),
            (86_400_000_000, "1d"),
            (93_600_000_000, "1d2h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
        for (bytes, text) in [(0, "0"), (2048, "2Ki"), (12 << 20, "12Mi"), (20 << 30, "20Gi")] {
            assert_eq!(size(bytes), text);
        }
    }
}
