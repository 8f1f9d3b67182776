//! Resolving a name for a guest: few at once per component, and each within a time, since the resolver's threads are shared by
//! all guests and a name server that doesn't answer holds one for long.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crate::component::Component;

/// Lookups of one component at once; others wait. Those of WASI 0.2's lookup interface can't wait, and are bounded per store.
const LOOKUPS: usize = 8;
/// Time for one lookup, its wait included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest name, bytes: the longest that DNS has, in text and with its final dot (RFC 1035, section 2.3.4).
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// The addresses of `name`; none when it has none, or not in time.
pub(crate) async fn lookup(component: &Component, name: &str) -> Option<Vec<IpAddr>> {
    let name = name.to_owned();
    let lookups = component.lookups.clone();
    let found = async move {
        let permit = lookups.acquire_owned().await.ok()?;
        // The resolver can't be stopped: it keeps its permit until it ends, however long anybody waits for it.
        let resolved = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (name.as_str(), 0).to_socket_addrs()
        });
        let addresses = resolved.await.ok()?.ok()?;
        Some(addresses.map(|addr| addr.ip().to_canonical()).collect())
    };
    tokio::time::timeout(LOOKUP_TIMEOUT, found).await.ok()?
}

/// The lookups that a component may have running.
pub(crate) fn bound() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(LOOKUPS))
}
