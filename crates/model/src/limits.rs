//! Limits of one component: what a request may use, and how many there may be.

use std::time::Duration;

/// Limits of one component that differ from the host's defaults; `None` takes the default ([`Effective::default`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory per instance, bytes: 64 KiB to 4 GiB.
    pub memory_bytes: Option<u64>,
    /// Time from the request's head to the response's last byte: 1 ms to 24 h.
    pub request_timeout: Option<Duration>,
    /// Requests in flight per replica: 1 to 65,536.
    pub max_in_flight: Option<u32>,
    /// Requests that wait for a slot, per replica: 0 to 65,536.
    pub max_queued: Option<u32>,
    /// How long a request waits for a slot: 0 to 1 h.
    pub queue_timeout: Option<Duration>,
    /// Request body, bytes: 0 to 1 TiB.
    pub max_request_body_bytes: Option<u64>,
    /// Elements of all tables of an instance: 0 to 10,000,000.
    pub table_elements: Option<u32>,
}

/// Limits with every value decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Linear memory per instance, bytes.
    pub memory_bytes: u64,
    /// Time from the request's head to the response's last byte.
    pub request_timeout: Duration,
    /// Requests in flight per replica.
    pub max_in_flight: u32,
    /// Requests that wait for a slot, per replica.
    pub max_queued: u32,
    /// How long a request waits for a slot.
    pub queue_timeout: Duration,
    /// Request body, bytes.
    pub max_request_body_bytes: u64,
    /// Elements of all tables of an instance.
    pub table_elements: u32,
}

impl Default for Effective {
    fn default() -> Effective {
        Effective {
            // Python's and StarlingMonkey's components start with 20 to 40 MiB; ten times a typical web handler.
            memory_bytes: 256 << 20,
            // As most ingresses; a stream that lives longer asks for more.
            request_timeout: Duration::from_secs(30),
            // Enough for a slow backend at thousands of requests a second, and well below the instance slots of a host.
            max_in_flight: 256,
            max_queued: 1024,
            // A wait longer than this is worse for a client than a 503 it can retry elsewhere.
            queue_timeout: Duration::from_secs(1),
            max_request_body_bytes: 1 << 30,
            table_elements: 100_000,
        }
    }
}

impl Limits {
    /// These limits, with `defaults` where they say nothing.
    pub fn over(&self, defaults: &Effective) -> Effective {
        Effective {
            memory_bytes: self.memory_bytes.unwrap_or(defaults.memory_bytes),
            request_timeout: self.request_timeout.unwrap_or(defaults.request_timeout),
            max_in_flight: self.max_in_flight.unwrap_or(defaults.max_in_flight),
            max_queued: self.max_queued.unwrap_or(defaults.max_queued),
            queue_timeout: self.queue_timeout.unwrap_or(defaults.queue_timeout),
            max_request_body_bytes: self.max_request_body_bytes.unwrap_or(defaults.max_request_body_bytes),
            table_elements: self.table_elements.unwrap_or(defaults.table_elements),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_says_stands_over_the_defaults() {
        let defaults = Effective::default();
        assert_eq!(Limits::default().over(&defaults), defaults);
        let own = Limits { memory_bytes: Some(1 << 20), max_queued: Some(0), ..Limits::default() }.over(&defaults);
        assert_eq!(own, Effective { memory_bytes: 1 << 20, max_queued: 0, ..defaults });
    }
}
