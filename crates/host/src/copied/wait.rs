//! How long a caller waits for the service: a matter of who else is in its instance.
//!
//! An instance of one request waits until that one's deadline. Where several share an instance, none may end the others. A function that is
//! `async` is waited for by its own request alone, until that is late or its client gone. One that isn't holds the instance, so it is waited
//! for by all in it: whoever is late or gone, it lasts until the last of their deadlines, and they go on when it returns.

use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::Val;

use super::failure::Why;
use crate::bridge::link::working_for;
use crate::guest::Guest;

#[cfg(feature = "wasi-p3")]
use std::sync::Arc;

#[cfg(feature = "wasi-p3")]
use tokio_util::sync::CancellationToken;

#[cfg(feature = "wasi-p3")]
use crate::invoke::lease::Leases;

/// So long before a deadline a call is given up: the request's own timer would only tell that time is up, not who was waited for.
const HEADROOM: Duration = Duration::from_millis(5);

/// Whom a call keeps waiting.
pub(super) enum Wait {
    /// One request, whose instance is its own, until its deadline.
    Alone(Instant),
    /// One of several, until its deadline or until its client is gone. The others go on.
    #[cfg(feature = "wasi-p3")]
    Beside { deadline: Instant, gone: Option<CancellationToken> },
    /// All in the instance. The deadline is that of the request that called, for when it is answered already and nobody else is there.
    #[cfg(feature = "wasi-p3")]
    All { deadline: Instant, leases: Arc<Leases> },
}

/// Why a call is waited for no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its time is up.
    Late,
    /// Nobody wants it.
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "what goes away takes its instance along"))]
    Gone,
}

/// What came of a call: what the service said, or that it was waited for no more.
pub(super) type Called = Result<Result<Vec<Val>, Why>, Over>;

impl Wait {
    /// For a function that holds its caller's instance until it returns.
    pub(super) fn holding(store: &mut StoreContextMut<'_, Guest>) -> Wait {
        let deadline = working_for(store).map_or(store.data().deadline, |call| call.deadline);
        #[cfg(feature = "wasi-p3")]
        if let Some(leases) = store.data().leases() {
            return Wait::All { deadline, leases: leases.clone() };
        }
        Wait::Alone(deadline)
    }

    /// For a function beside which its caller's instance goes on.
    #[cfg(feature = "wasi-p3")]
    pub(super) fn beside(store: &mut StoreContextMut<'_, Guest>) -> Wait {
        match working_for(store) {
            Some(call) => Wait::Beside { deadline: call.deadline, gone: call.gone.clone() },
            None => Wait::Alone(store.data().deadline),
        }
    }

    /// Whether the instance goes on without the call.
    pub(super) fn is_beside(&self) -> bool {
        #[cfg(feature = "wasi-p3")]
        if let Wait::Beside { .. } = self {
            return true;
        }
        false
    }

    /// What `call` gives, unless it is over before.
    pub(super) async fn for_answer(self, call: impl Future<Output = Result<Vec<Val>, Why>>) -> Called {
        tokio::select! {
            biased;
            said = call => Ok(said),
            over = self.over() => Err(over),
        }
    }

    /// Resolves when the call is waited for no more. An instance that is left by all is ended by who owns it.
    async fn over(&self) -> Over {
        match self {
            Wait::Alone(deadline) => late(*deadline).await,
            #[cfg(feature = "wasi-p3")]
            Wait::Beside { deadline, gone: None } => late(*deadline).await,
            #[cfg(feature = "wasi-p3")]
            Wait::Beside { deadline, gone: Some(gone) } => {
                tokio::select! {
                    over = late(*deadline) => over,
                    () = gone.cancelled() => Over::Gone,
                }
            }
            #[cfg(feature = "wasi-p3")]
            Wait::All { deadline, leases } => loop {
                let stirred = leases.stirred();
                let last = leases.deadlines().map_or(*deadline, |(_, last)| last);
                tokio::select! {
                    biased;
                    // Who came meanwhile may have more time.
                    over = late(last) => {
                        if leases.deadlines().is_none_or(|(_, now)| now <= last) {
                            break over;
                        }
                    }
                    () = stirred => {}
                }
            },
        }
    }
}

async fn late(deadline: Instant) -> Over {
    let until = deadline.checked_sub(HEADROOM).unwrap_or(deadline);
    tokio::time::sleep_until(until.into()).await;
    Over::Late
}

#[cfg(all(test, feature = "wasi-p3"))]
mod tests {
    use super::*;
    use crate::reuse::Bounds;

    const MS: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_call_beside_others_is_over_when_its_client_is_gone() {
        let gone = CancellationToken::new();
        let wait = Wait::Beside { deadline: Instant::now() + HOUR, gone: Some(gone.clone()) };
        let (over, ()) = tokio::join!(wait.over(), async { gone.cancel() });
        assert_eq!(over, Over::Gone);
    }

    #[tokio::test]
    async fn a_call_that_holds_its_instance_lasts_as_long_as_anybody_there_has_time() {
        let begin = Instant::now();
        let (leases, first) = Leases::first(begin + 20 * MS);
        let wait = Wait::All { deadline: begin + 20 * MS, leases: leases.clone() };
        let mut over = Box::pin(wait.over());
        assert!(futures::poll!(&mut over).is_pending());
        // Comes later and has more time; the first one's is over, and it leaves.
        let bounds = Bounds { keep: 1, max_calls: None, max_concurrency: 2 };
        let second = leases.reserve(&bounds, begin + HOUR).unwrap();
        leases.late().await;
        leases.expire();
        drop(first);
        assert!(futures::poll!(&mut over).is_pending());
        // Without it there is the caller's own deadline, which has passed.
        drop(second);
        assert_eq!(over.await, Over::Late);
        assert!(begin.elapsed() < HOUR);
    }
}
