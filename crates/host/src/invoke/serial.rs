//! Instances of WASI 0.2 that serve one request after another. One that trapped, timed out or was cancelled is never used again:
//! only a call that ended well gives its store back.

use std::pin::pin;
use std::sync::Arc;

use super::ending::{Owned, flatten};
use super::fate::Fate;
use super::timer::before;
use super::{Entry, Head, Job, call};
use crate::bridge::chain::Call;
use crate::reuse::{Reuse, Warm};
use crate::{guest, turn};

/// Runs the job in a warm instance, or in a new one that may become warm.
pub(crate) async fn run(entry: Arc<Entry>, job: Job, head: Head, fate: Fate) {
    let Reuse::Serial(pool) = &entry.reuse else { return };
    let Job { request, id, deadline, time, permit, chain, wires } = job;
    let code = entry.code.load_full();
    let (mut owned, warm, calls) = match pool.take() {
        Some(Warm { mut store, handler, calls }) => {
            store.data_mut().renew(Some(id.clone()), deadline);
            store.set_epoch_deadline(1);
            entry.component.metrics.reused.inc();
            (Owned::new(store, entry.unit.clone(), fate.clone(), time, permit), Some(handler), calls)
        }
        None => {
            entry.component.metrics.cold_starts.inc();
            let store = guest::store(&code.engine, &entry.unit, Some(id.clone()), deadline);
            (Owned::new(store, entry.unit.clone(), fate.clone(), time, permit), None, 0)
        }
    };
    owned.store().data_mut().works_for(Call::new(id.clone(), deadline, fate, chain));
    let served = {
        let serve = pin!(async {
            turn::first(&entry.component.pace).await;
            let store = owned.store();
            let handler = match warm {
                Some(handler) => handler,
                None => code.pre.instantiate(store).await?,
            };
            call::run(store, &handler, request, wires, &head).await?;
            wasmtime::error::Ok(handler)
        });
        before(deadline, &entry.cut, serve).await
    };
    let (result, handler) = match flatten(served) {
        Ok(handler) => (Ok(()), Some(handler)),
        Err(error) => (Err(error), None),
    };
    let limited = owned.store().data().limiter.hit().is_some();
    if let (Some(store), Some(handler)) = (owned.end(result, &head, &id), handler)
        && !limited
    {
        pool.put(Warm { store, handler, calls: calls + 1 });
    }
}
