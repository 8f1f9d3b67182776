//! What the calls that come of one request share: who called whom, until when, and how many at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::invoke::fate::Fate;
use crate::request_id::RequestId;

/// Calls within calls: the longest chain behind a request. Real chains have two or three; one that is longer than this is a loop, and each
/// level of it holds an instance.
pub(crate) const MAX_DEPTH: usize = 8;
/// Calls in flight that come of one request, at all depths together: a guest that fans out can't take the calls of others.
pub(crate) const MAX_AT_ONCE: u32 = 32;

/// Who called whom, up to a request: empty for one that came to the workload from outside.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    callers: Option<Arc<[Arc<str>]>>,
    tree: Option<Arc<Tree>>,
}

/// The calls of one request from outside.
#[derive(Default)]
struct Tree {
    in_flight: AtomicU32,
}

/// A request as what is called on its behalf sees it. One per request; all components of its unit share it.
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) deadline: Instant,
    /// How the store ends that works for it: its request bodies must not look complete when they aren't.
    pub(crate) fate: Fate,
    /// Cancelled when nobody wants its answer any more, where its store outlives that.
    pub(crate) gone: Option<CancellationToken>,
    chain: Chain,
    tree: OnceLock<Arc<Tree>>,
}

/// A chain that is as long as one may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain {0} is longer than {MAX_DEPTH} calls")]
pub(crate) struct TooDeep(String);

/// A place among the calls of one request, given back when dropped.
pub(crate) struct Branch(Arc<Tree>);

impl Call {
    pub(crate) fn new(id: RequestId, deadline: Instant, fate: Fate, chain: Chain) -> Call {
        Call { id, deadline, fate, gone: None, chain, tree: OnceLock::new() }
    }

    /// The same, given up when `gone` says so.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn until(self, gone: CancellationToken) -> Call {
        Call { gone: Some(gone), ..self }
    }

    /// The chain of a call from `caller` to `callee`.
    pub(crate) fn deeper(&self, caller: &Arc<str>, callee: &str) -> Result<Chain, TooDeep> {
        let before = self.chain.callers.as_deref().unwrap_or_default();
        if before.len() >= MAX_DEPTH {
            let names = before.iter().chain([caller]).map(|name| &**name).chain([callee]);
            return Err(TooDeep(names.collect::<Vec<_>>().join(" -> ")));
        }
        let callers = before.iter().chain([caller]).cloned().collect();
        Ok(Chain { callers: Some(callers), tree: Some(self.tree().clone()) })
    }

    /// A place for one more call; none when as many are in flight as may be.
    pub(crate) fn branch(&self) -> Option<Branch> {
        let tree = self.tree();
        let taken = tree.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < MAX_AT_ONCE).then_some(n + 1));
        taken.ok().map(|_| Branch(tree.clone()))
    }

    fn tree(&self) -> &Arc<Tree> {
        self.tree.get_or_init(|| self.chain.tree.clone().unwrap_or_default())
    }
}

impl Chain {
    /// How many calls lead here: 0 for a request from outside.
    pub(crate) fn depth(&self) -> usize {
        self.callers.as_ref().map_or(0, |callers| callers.len())
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A place among the calls of a request of its own.
    pub(crate) fn branch() -> Branch {
        call(Chain::default()).branch().unwrap()
    }

    fn call(chain: Chain) -> Call {
        Call::new(RequestId::of(&mut http::HeaderMap::new()), Instant::now(), Fate::default(), chain)
    }

    #[test]
    fn a_chain_has_an_end_and_names_itself() {
        let (mut at, names) = (call(Chain::default()), ["a", "b"]);
        for depth in 0..MAX_DEPTH {
            let (caller, callee) = (names[depth % 2].into(), names[(depth + 1) % 2]);
            let chain = at.deeper(&caller, callee).unwrap();
            assert_eq!(chain.depth(), depth + 1);
            at = call(chain);
        }
        let error = at.deeper(&"a".into(), "b").err().unwrap();
        assert_eq!(error.to_string(), "the chain a -> b -> a -> b -> a -> b -> a -> b -> a -> b is longer than 8 calls");
    }

    #[test]
    fn all_calls_of_a_request_are_bounded_together() {
        let root = call(Chain::default());
        let child = call(root.deeper(&"a".into(), "b").unwrap());
        let mut held: Vec<Branch> = std::iter::from_fn(|| root.branch()).take(20).collect();
        held.extend(std::iter::from_fn(|| child.branch()));
        assert_eq!(held.len(), MAX_AT_ONCE as usize);
        assert!(root.branch().is_none());
        held.pop();
        assert!(root.branch().is_some());
        assert!(call(Chain::default()).branch().is_some(), "another request has its own");
    }
}
