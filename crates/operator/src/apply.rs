//! Makes a plan's writes, many at once.
//!
//! A write that was refused because the object had changed isn't made again: the plan was of a world that is gone, so the next
//! plan decides anew. That is also how every other failure is retried, after a back-off.

use std::sync::Arc;
use std::time::Duration;

use berth_model::event::EventSink;
use futures::StreamExt;

use crate::plan::{Action, Write};
use crate::store::{Store, StoreError};

/// How a plan's writes went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Writes that were made.
    pub(crate) done: usize,
    /// Writes that have to be planned anew.
    pub(crate) failed: usize,
}

/// Makes `writes`, at most `at_once` at a time, each within `deadline`.
pub(crate) async fn apply(
    store: Arc<dyn Store>,
    events: Arc<dyn EventSink>,
    writes: Vec<Write>,
    at_once: usize,
    deadline: Duration,
) -> Outcome {
    let one = |write: Write| {
        let (store, events) = (store.clone(), events.clone());
        async move {
            match tokio::time::timeout(deadline, perform(&*store, write.action)).await {
                Ok(Ok(())) => {
                    write.events.into_iter().for_each(|event| events.record(event));
                    true
                }
                Ok(Err(error)) => {
                    report(&error);
                    false
                }
                Err(_) => {
                    tracing::warn!(?deadline, "the store didn't answer in time; the write is planned again");
                    false
                }
            }
        }
    };
    let results = futures::stream::iter(writes).map(one).buffer_unordered(at_once.max(1));
    results
        .fold(Outcome::default(), |sum, done| async move {
            Outcome { done: sum.done + usize::from(done), failed: sum.failed + usize::from(!done) }
        })
        .await
}

async fn perform(store: &dyn Store, action: Action) -> Result<(), StoreError> {
    match action {
        Action::Create(resource) => store.create(resource).await.map(drop),
        Action::Update(resource) => store.update(resource).await.map(drop),
        Action::UpdateStatus(resource) => store.update_status(resource).await.map(drop),
        Action::Delete(key) => store.delete(&key).await.map(drop),
    }
}

fn report(error: &StoreError) {
    match error {
        // The world moved on, as it may at any time.
        StoreError::Conflict { .. } | StoreError::AlreadyExists(_) | StoreError::NotFound(_) => {
            tracing::debug!(%error, "a write is planned again");
        }
        _ => tracing::warn!(error = crate::describe(error), "a write failed; it is planned again"),
    }
}
