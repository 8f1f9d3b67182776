//! Which replicas go first when there are too many (L11): those that don't serve, then those of crowded hosts.

use std::collections::{BinaryHeap, HashMap};

use berth_model::id::HostId;

use super::index::WorkloadFacts;

/// `count` of `replicas`, the most expendable first. `load` says how many workloads a host has in all.
pub(super) fn choose<'i, 'a>(replicas: &[&'i WorkloadFacts<'a>], count: usize, load: impl Fn(HostId) -> u32) -> Vec<&'i WorkloadFacts<'a>> {
    if count >= replicas.len() {
        return replicas.to_vec();
    }
    let (mut serving, mut chosen): (Vec<_>, Vec<_>) = replicas.iter().copied().partition(|r| r.ready);
    chosen.sort_by_key(|r| (r.host.is_some(), std::cmp::Reverse(age(r))));
    chosen.truncate(count);

    // The latest of each host is last, and goes first.
    serving.sort_by_key(|r| age(r));
    let mut crowds: HashMap<Option<HostId>, Vec<&WorkloadFacts<'a>>> = HashMap::new();
    for replica in serving {
        crowds.entry(replica.host).or_default().push(replica);
    }
    // Most replicas of this set first, then most workloads in all.
    let rank = |host: Option<HostId>, replicas: usize| (replicas, host.map_or(0, &load), host);
    let mut heap: BinaryHeap<_> = crowds.iter().map(|(host, crowd)| rank(*host, crowd.len())).collect();
    while chosen.len() < count {
        let Some((_, _, host)) = heap.pop() else { break };
        let Some(crowd) = crowds.get_mut(&host) else { break };
        chosen.extend(crowd.pop());
        if !crowd.is_empty() {
            heap.push(rank(host, crowd.len()));
        }
    }
    chosen
}

/// When it was made, and its name, to tell apart what was made at once.
fn age<'i>(replica: &'i WorkloadFacts<'_>) -> (Option<jiff::Timestamp>, &'i str) {
    (replica.object.metadata.creation_timestamp, &replica.object.metadata.name)
}
