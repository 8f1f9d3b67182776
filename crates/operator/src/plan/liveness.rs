//! Who is alive: a lease, judged only while hosts could be heard (L01).

use std::time::Duration;

use super::snapshot::Snapshot;
use berth_model::id::HostId;

/// Whether the host is dead: silent for a lease, counted from the later of its last heartbeat and the moment since when
/// heartbeats could arrive. While they can't, whoever was alive stays so, and whoever was dead.
pub fn is_dead(snapshot: &Snapshot, id: HostId) -> bool {
    let heard = snapshot.hosts.get(&id).map(|view| view.heard);
    if snapshot.config.hosts_share_process {
        // Whoever was heard lives as long as this process; its silence only says that the process has much to do.
        return heard.is_none();
    }
    match snapshot.listening_since {
        Some(since) => snapshot.uptime.saturating_sub(heard.unwrap_or(Duration::ZERO).max(since)) > snapshot.config.lease,
        None => snapshot.memory.dead.contains_key(&id),
    }
}
