//! Berth's own figures, as `/metrics` says them.

use std::fmt;

/// What a soak looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Memory in RAM, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
    /// Component instances that exist.
    pub instances: u64,
    /// Linear memory of all instances, bytes.
    pub guest_bytes: u64,
    /// Requests that hold a slot of the host.
    pub slots: u64,
    /// Requests that run, over all workloads.
    pub in_flight: u64,
    /// Requests that wait for a slot, over all workloads.
    pub queued: u64,
    /// Connections to the ingress.
    pub connections: u64,
    /// Workloads that have figures.
    pub workloads: u64,
}

impl Figures {
    /// Reads the answer of `/metrics`; an error names what is missing.
    pub fn parse(text: &str) -> Result<Figures, String> {
        let one = |name: &str| values(text, name).next().ok_or_else(|| format!("/metrics has no {name}"));
        Ok(Figures {
            resident_bytes: one("process_resident_memory_bytes")?,
            open_fds: one("process_open_fds")?,
            threads: one("process_threads")?,
            instances: one("berth_instances_live")?,
            guest_bytes: one("berth_guest_memory_bytes")?,
            slots: one("berth_slots_in_use")?,
            connections: one("berth_connections_open")?,
            in_flight: values(text, "berth_requests_in_flight").sum(),
            queued: values(text, "berth_requests_queued").sum(),
            workloads: values(text, "berth_requests_in_flight").count() as u64,
        })
    }

    /// What is left of requests although none is under way; empty if nothing.
    pub fn left_of_requests(&self) -> Leftovers {
        Leftovers::of([("slots", self.slots), ("in flight", self.in_flight), ("queued", self.queued), ("connections", self.connections)])
    }

    /// What is left of workloads although all are deleted; empty if nothing.
    pub fn left_of_workloads(&self) -> Leftovers {
        Leftovers::of([
            ("instances", self.instances),
            ("bytes of their memory", self.guest_bytes),
            ("slots", self.slots),
            ("workloads with figures", self.workloads),
        ])
    }
}

/// Things that should be gone, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(Vec<(&'static str, u64)>);

impl Leftovers {
    fn of(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Leftovers {
        Leftovers(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// Whether all is gone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let words: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// The values of every series of one gauge.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = u64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        let value: f64 = rest.strip_prefix(' ')?.trim().parse().ok()?;
        // A gauge below zero is a fault that must not sum up to nothing.
        Some(value.abs() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP berth_slots_in_use requests in flight on the host.\n\
        # TYPE berth_slots_in_use gauge\nberth_slots_in_use 3\nprocess_resident_memory_bytes 104857600\nprocess_open_fds 20\n\
        process_threads 9\nberth_instances_live 4\nberth_guest_memory_bytes 65536\nberth_connections_open 2\n\
        berth_requests_in_flight{namespace=\"default\",workload=\"a\"} 1\n\
        berth_requests_in_flight{namespace=\"default\",workload=\"b\"} -1\nberth_requests_queued{namespace=\"default\",workload=\"a\"} 0\n# EOF\n";

    #[test]
    fn figures_are_read_and_summed_over_workloads() {
        let figures = Figures::parse(TEXT).expect("it is right");
        assert_eq!((figures.slots, figures.in_flight, figures.queued, figures.workloads), (3, 2, 0, 2));
        assert_eq!(figures.resident_bytes, 100 << 20);
        assert_eq!(figures.left_of_requests().to_string(), "3 slots, 2 in flight, 2 connections");
        assert!(Figures::default().left_of_workloads().is_empty());
    }

    #[test]
    fn a_figure_that_is_missing_is_named() {
        assert_eq!(
            Figures::parse("berth_slots_in_use_total 3\n").expect_err("it is wrong"),
            "/metrics has no process_resident_memory_bytes"
        );
    }
}
