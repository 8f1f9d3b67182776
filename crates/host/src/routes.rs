//! From a domain to the workload that serves it: an immutable table, built whole from all claims and swapped at once (L54).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_http::domains::{Claim, Conflict, DomainTable};
use berth_model::domain::Domain;

use crate::prepare::HttpWorkload;

/// What a domain is called in a conflict when it is none: all that nobody else claims.
pub(crate) const DEFAULT_DOMAIN: &str = "*";

/// Workloads by domain.
pub(crate) struct Routes {
    table: DomainTable<Vec<Arc<HttpWorkload>>>,
}

/// A workload that wants requests.
pub(crate) struct Claimant {
    pub(crate) owner: String,
    pub(crate) created: jiff::Timestamp,
    /// Empty: what nobody else claims.
    pub(crate) domains: Vec<Domain>,
    pub(crate) workload: Arc<HttpWorkload>,
}

impl Routes {
    pub(crate) fn empty() -> Routes {
        Routes { table: DomainTable::build(std::iter::empty::<Claim<Arc<HttpWorkload>>>()).0 }
    }

    /// The table of all claims, and the claims that an older owner's stand against.
    pub(crate) fn build(claimants: &[Claimant]) -> (Routes, Vec<Conflict<Arc<HttpWorkload>>>) {
        let claims = claimants.iter().flat_map(|c| {
            let domains: Vec<Option<String>> =
                if c.domains.is_empty() { vec![None] } else { c.domains.iter().map(|d| Some(d.as_str().to_owned())).collect() };
            domains.into_iter().map(|domain| Claim {
                domain,
                owner: c.owner.clone(),
                created: c.created.as_nanosecond(),
                target: c.workload.clone(),
            })
        });
        let (table, conflicts) = DomainTable::build(claims);
        (Routes { table }, conflicts)
    }

    /// The workload for an authority: of several replicas the less busy of two chosen by turns (L50).
    pub(crate) fn find(&self, authority: &str) -> Option<&Arc<HttpWorkload>> {
        pick(self.table.lookup(authority)?)
    }
}

fn pick(replicas: &[Arc<HttpWorkload>]) -> Option<&Arc<HttpWorkload>> {
    if replicas.len() < 2 {
        return replicas.first();
    }
    static TURN: AtomicU64 = AtomicU64::new(0);
    let mixed = mix(TURN.fetch_add(1, Ordering::Relaxed));
    let (a, b) = two(mixed, replicas.len());
    let (a, b) = (&replicas[a], &replicas[b]);
    Some(if b.admission.load() < a.admission.load() { b } else { a })
}

/// Two distinct places out of `n`, which is 2 at least.
fn two(random: u64, n: usize) -> (usize, usize) {
    let first = (random >> 32) as usize % n;
    let step = 1 + (random & 0xffff_ffff) as usize % (n - 1);
    (first, (first + step) % n)
}

/// Spreads a counter over 64 bits (the finalizer of SplitMix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l50_all_pairs_of_replicas_are_drawn_equally() {
        let mut seen = [[0_u32; 4]; 4];
        for turn in 0..12_000 {
            let (a, b) = two(mix(turn), 4);
            assert_ne!(a, b);
            seen[a][b] += 1;
        }
        for (a, row) in seen.iter().enumerate() {
            for (b, count) in row.iter().enumerate().filter(|(b, _)| *b != a) {
                assert!((800..1200).contains(count), "{a},{b}: {count}");
            }
        }
    }
}
