//! Amounts of bytes and of time.

use std::time::Duration;

use berth_model::quantity::{parse_bytes, parse_duration, write_duration};
use proptest::prelude::*;

#[test]
fn bytes_are_read_in_kubernetes_notation() {
    let cases = [
        ("0", 0),
        ("1000", 1000),
        ("64Ki", 64 << 10),
        ("64Mi", 64 << 20),
        ("1Gi", 1 << 30),
        ("500k", 500_000),
        ("1.5Gi", 3 << 29),
        ("0.5", 1),
        (".5Ki", 512),
        ("1.", 1),
        ("15Ei", 15 << 60),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, bytes) in cases {
        assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
    }
    for bad in ["", "Mi", ".", "-1", "+1", "1 Mi", "1mi", "1MB", "1K", "1e3", "500m", "16Ei", "18446744073709551616", "1.2.3", "0x10", "١"]
    {
        let error = parse_bytes(bad).expect_err(bad);
        assert!(error.to_string().contains("64Mi"), "{error}");
    }
}

#[test]
fn durations_are_read_in_parts_from_large_to_small() {
    let cases = [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1500),
        ("0", 0),
        ("1m1s1ms", 61_001),
    ];
    for (text, millis) in cases {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for bad in ["", "30", "s", "1d", "-1s", "1s1m", "1s1s", "1 s", "1h 30m", "ms", "1µs", "999999999999999h", "1.s.s"] {
        let error = parse_duration(bad).expect_err(bad);
        assert!(error.to_string().contains("30s"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_amount_or_an_error(text in "\\PC*") {
        let _ = parse_bytes(&text);
        let _ = parse_duration(&text);
    }

    #[test]
    fn digits_with_any_tail_never_overflow(number in "[0-9.]{0,45}", unit in "(|k|Ki|Ei|E|ms|s|m|h)") {
        let _ = parse_bytes(&format!("{number}{unit}"));
        let _ = parse_duration(&format!("{number}{unit}"));
    }

    #[test]
    fn whole_amounts_are_exact(value in any::<u64>(), small in 0u64..1 << 20) {
        prop_assert_eq!(parse_bytes(&value.to_string()), Ok(value));
        prop_assert_eq!(parse_bytes(&format!("{small}Mi")), Ok(small << 20));
        prop_assert_eq!(parse_duration(&format!("{small}ms")), Ok(Duration::from_millis(small)));
        prop_assert_eq!(parse_duration(&format!("{small}h")), Ok(Duration::from_secs(small * 3600)));
    }
}

#[test]
fn a_duration_is_written_in_the_units_that_it_is_read_in() {
    for (millis, text) in [
        (0, "0s"),
        (1, "1ms"),
        (90_000, "1m30s"),
        (60_000, "1m"),
        (86_400_000, "24h"),
        (3_600_001, "1h1ms"),
        (30_000, "30s"),
        (1_500, "1s500ms"),
    ] {
        let duration = Duration::from_millis(millis);
        assert_eq!(write_duration(duration), text);
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
    }
}

proptest! {
    #[test]
    fn every_duration_that_is_written_reads_back(millis in 0u64..u64::MAX / 1_000_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&write_duration(duration)), Ok(duration));
    }
}
