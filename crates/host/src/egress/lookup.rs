//! Resolving a name for a guest: few at once per component, and each within a time, since the resolver's threads are shared by
//! all guests and a name server that doesn't answer holds one for long.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::component::Component;
use crate::invoke::guard::AbortOnDrop;

/// Lookups of one component at once, for its own sockets and for its outgoing requests; others wait.
const LOOKUPS: usize = 8;
/// Time for one lookup, its wait included. A request that ends sooner ends its lookups too.
pub(crate) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest name, bytes: the longest that DNS has, in text and with its final dot (RFC 1035, section 2.3.4).
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// The addresses of `name`; none when it has none, or not in time.
pub(crate) fn lookup(component: &Component, name: &str) -> impl Future<Output = Option<Vec<IpAddr>>> + Send + use<> {
    let name = name.to_owned();
    bounded(component.lookups.clone(), move || Ok((name.as_str(), 0).to_socket_addrs()?.map(|addr| addr.ip().to_canonical()).collect()))
}

/// Runs `resolve` on a thread that may block, as one of `lookups`.
async fn bounded(lookups: Arc<Semaphore>, resolve: impl FnOnce() -> io::Result<Vec<IpAddr>> + Send + 'static) -> Option<Vec<IpAddr>> {
    let found = async move {
        let permit = lookups.acquire_owned().await.ok()?;
        // A resolver that runs can't be stopped: it keeps its permit until it ends, however long anybody waits for it.
        let resolved = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            resolve()
        });
        // One that still waits for its thread need not run when nobody waits for it.
        let _guard = AbortOnDrop::new(resolved.abort_handle());
        resolved.await.ok()?.ok()
    };
    tokio::time::timeout(LOOKUP_TIMEOUT, found).await.ok()?
}

/// The lookups that a component may have running.
pub(crate) fn bound() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKUPS))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Takes all the lookups that a component may have running, as resolvers would that get no answer.
    pub(crate) fn exhaust(component: &Component) -> tokio::sync::OwnedSemaphorePermit {
        component.lookups.clone().try_acquire_many_owned(LOOKUPS as u32).unwrap()
    }

    #[tokio::test]
    async fn l31_a_resolver_that_hangs_keeps_its_place_and_nobody_waits_for_it_longer_than_a_lookup_may_take() {
        let lookups = bound();
        let (release, hung) = mpsc::channel::<()>();
        let hang = move || {
            let _ = hung.recv();
            Ok(Vec::new())
        };
        let waits = tokio::time::timeout(Duration::from_millis(200), bounded(lookups.clone(), hang));
        assert!(waits.await.is_err(), "nobody answers, and its guest gives up");
        assert_eq!(lookups.available_permits(), LOOKUPS - 1, "the thread is still taken");
        drop(release);
        let back = lookups.acquire_many(LOOKUPS as u32);
        assert!(tokio::time::timeout(Duration::from_secs(60), back).await.is_ok(), "it is given back when the thread is free");
    }

    #[tokio::test(start_paused = true)]
    async fn l31_a_lookup_ends_in_time_also_where_it_waits_for_others_of_its_component() {
        let (component, _logs) = crate::component::tests::component();
        let all = exhaust(&component);
        let start = tokio::time::Instant::now();
        assert_eq!(lookup(&component, "localhost").await, None);
        assert_eq!(start.elapsed(), LOOKUP_TIMEOUT);
        drop(all);
        assert_eq!(component.lookups.available_permits(), LOOKUPS);
    }
}
