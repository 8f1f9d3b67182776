//! When a request that failed is tried again. Pure: what was random is given.

use std::time::{Duration, SystemTime};

use super::settings::RegistryLimits;

/// What comes after the `attempt`th try (from 1) of a request failed: a pause and another try, or nothing.
///
/// Pauses double, and a random part of up to half is left out, so that many hosts don't come back at once. A registry that says when to
/// come is believed within `longest_retry_after`. `jitter` is a random number from 0 to 1.
pub fn pause(limits: &RegistryLimits, attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Option<Duration> {
    if attempt >= limits.attempts || retry_after.is_some_and(|wanted| wanted > limits.longest_retry_after) {
        return None;
    }
    let doubled = 2u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| limits.first_pause.checked_mul(factor));
    let longest = doubled.map_or(limits.longest_pause, |doubled| doubled.min(limits.longest_pause));
    let pause = longest.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    Some(retry_after.map_or(pause, |wanted| wanted.max(pause)))
}

/// How long a `Retry-After` header asks to wait: seconds, or a date.
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: fn() -> RegistryLimits = RegistryLimits::default;

    #[test]
    fn pauses_double_up_to_the_longest_and_tries_end() {
        let limits = RegistryLimits { attempts: 8, ..LIMITS() };
        let pauses: Vec<_> = (1..=8).map(|attempt| pause(&limits, attempt, None, 0.0).map(|pause| pause.as_millis())).collect();
        assert_eq!(pauses, [Some(250), Some(500), Some(1000), Some(2000), Some(4000), Some(5000), Some(5000), None]);
    }

    #[test]
    fn a_registry_that_says_when_is_believed_within_the_bound() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(&LIMITS(), 1, Some(seconds(7)), 0.5), Some(seconds(7)));
        assert_eq!(pause(&LIMITS(), 1, Some(Duration::ZERO), 0.0), Some(Duration::from_millis(250)));
        assert_eq!(pause(&LIMITS(), 1, Some(seconds(31)), 0.5), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        assert_eq!(retry_after(" 12 ", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 10:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_it_may_be_and_none_is_missing(attempt in 1u32..100, attempts in 0u32..100, jitter in -1.0f64..2.0) {
            let limits = RegistryLimits { attempts, ..LIMITS() };
            match pause(&limits, attempt, None, jitter) {
                Some(pause) => prop_assert!(attempt < attempts && pause <= limits.longest_pause && pause >= limits.first_pause / 2),
                None => prop_assert!(attempt >= attempts),
            }
        }
    }
}
