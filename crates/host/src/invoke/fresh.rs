//! A fresh instance per request: made for it, gone with it (D3).

use std::pin::pin;
use std::sync::Arc;

use super::ending::{Owned, flatten};
use super::fate::Fate;
use super::timer::before;
use super::{Entry, Head, Job, call};
use crate::bridge::chain::Call;
use crate::{guest, turn};

/// Runs the job in an instance of its own.
pub(crate) async fn run(entry: Arc<Entry>, job: Job, head: Head, fate: Fate) {
    let Job { request, id, deadline, time, permit, chain, wires } = job;
    entry.component.metrics.cold_starts.inc();
    let code = entry.code.load_full();
    let mut store = guest::store(&code.engine, &entry.unit, Some(id.clone()), deadline);
    store.data_mut().works_for(Call::new(id.clone(), deadline, fate.clone(), chain));
    let mut owned = Owned::new(store, entry.unit.clone(), fate, time, permit);
    let result = {
        let serve = pin!(async {
            turn::first(&entry.component.pace).await;
            let store = owned.store();
            store.occupy(&code)?;
            let handler = code.pre.instantiate(store).await?;
            call::run(store, &handler, request, wires, &head).await
        });
        before(deadline, &entry.cut, serve).await
    };
    owned.end(flatten(result), &head, &id);
}
