//! The service's side: takes calls through its door while `run` goes on.
//!
//! A program of WASI 0.3 waits without holding its instance, so its exports can be called beside `run` and beside each other. Nothing in the
//! engine ends a call that has begun: one whose caller is gone goes on, its answer is nobody's, and it keeps its place among those inside
//! until it returns.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use wasmtime::component::{Accessor, Func, Instance, Val};
use wasmtime::{AsContextMut, Store};

use super::door::{Export, Visit};
use super::failure::Why;
use super::value;
use crate::guest::Guest;

/// A function of an instance, with how many results it has.
pub(crate) struct Callee {
    func: Func,
    results: usize,
}

/// Finds the functions of an instance of the service.
pub(crate) fn callees(store: &mut Store<Guest>, instance: &Instance, exports: &[Export]) -> wasmtime::Result<Vec<Callee>> {
    let find = |export: &Export| {
        let lost = || wasmtime::format_err!("the service exports no function {}", export.function);
        let interface = match &export.interface {
            Some(name) => Some(instance.get_export_index(&mut *store, None, name).ok_or_else(lost)?),
            None => None,
        };
        let index = instance.get_export_index(&mut *store, interface.as_ref(), &export.function).ok_or_else(lost)?;
        let func = instance.get_func(&mut *store, index).ok_or_else(lost)?;
        let results = func.ty(store.as_context_mut()).results().len();
        Ok(Callee { func, results })
    };
    exports.iter().map(find).collect()
}

/// Lets callers in until `program` has ended and all that are still waited for were answered. An error is the service's failure.
pub(crate) async fn beside<R>(
    accessor: &Accessor<Guest>,
    program: impl Future<Output = wasmtime::Result<R>>,
    callees: &[Callee],
    visits: &mut mpsc::Receiver<Visit>,
) -> wasmtime::Result<R> {
    let abandoned = AtomicUsize::new(0);
    let mut inside = FuturesUnordered::new();
    let mut program = pin!(program);
    let ended = loop {
        tokio::select! {
            ended = &mut program => break ended?,
            Some(done) = inside.next() => done?,
            Some(visit) = visits.recv() => inside.push(attend(accessor, callees, visit, &abandoned)),
        }
    };
    visits.close();
    let mut wanted = poll_fn(|cx| {
        while let Poll::Ready(Some(done)) = inside.poll_next_unpin(cx) {
            done?;
        }
        if inside.len() > abandoned.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(inside.is_empty())) }
    });
    let all_returned: wasmtime::Result<bool> = (&mut wanted).await;
    if all_returned? {
        // What it has written is still on its way.
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
    }
    Ok(ended)
}

/// One call, to its end.
async fn attend(accessor: &Accessor<Guest>, callees: &[Callee], visit: Visit, abandoned: &AtomicUsize) -> wasmtime::Result<()> {
    let Visit { function, arguments, mut answer, _place, _held } = visit;
    // Its caller left before it was seen.
    if answer.is_closed() {
        return Ok(());
    }
    let callee = &callees[function];
    let mut results = vec![Val::Bool(false); callee.results];
    {
        let mut call = pin!(callee.func.call_concurrent(accessor, &arguments, &mut results));
        tokio::select! {
            biased;
            done = &mut call => done?,
            () = answer.closed() => {
                abandoned.fetch_add(1, Ordering::Relaxed);
                let done = call.await;
                abandoned.fetch_sub(1, Ordering::Relaxed);
                return done;
            }
        }
    }
    let result = value::bytes(&results).map(|_| results).map_err(Why::of_result);
    // Who left just now misses nothing.
    let _ = answer.send(result);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Config, Engine, Store};

    /// A program whose `run` is lifted like those of 0.2, and a function beside it.
    const PROGRAM: &str = r#"(component
        (import "wait" (func $wait))
        (core func $wait' (canon lower (func $wait)))
        (core module $m
            (import "" "wait" (func $wait))
            (func (export "run") call $wait)
            (func (export "f")))
        (core instance $i (instantiate $m (with "" (instance (export "wait" (func $wait'))))))
        (func (export "run") (canon lift (core func $i "run")))
        (func (export "f") (canon lift (core func $i "f"))))"#;

    /// Why a service of 0.2 is refused to callers: not that the engine would say no.
    #[tokio::test]
    async fn the_engine_keeps_calls_waiting_until_a_sync_run_has_returned() {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config).unwrap();
        let (component, mut linker) = (Component::new(&engine, wat::parse_str(PROGRAM).unwrap()).unwrap(), Linker::<()>::new(&engine));
        let goes_on = Arc::new(Notify::new());
        let waiting = goes_on.clone();
        linker
            .root()
            .func_wrap_async("wait", move |_, (): ()| {
                let waiting = waiting.clone();
                Box::new(async move {
                    waiting.notified().await;
                    Ok(())
                })
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let [run, f] = ["run", "f"].map(|name| instance.get_func(&mut store, name).unwrap());
        let order = Mutex::new(Vec::new());
        let calls = store.run_concurrent(async |accessor| {
            let run = async {
                run.call_concurrent(accessor, &[], &mut []).await.unwrap();
                order.lock().unwrap().push("run");
            };
            let f = async {
                tokio::task::yield_now().await;
                f.call_concurrent(accessor, &[], &mut []).await.unwrap();
                order.lock().unwrap().push("f");
            };
            tokio::join!(run, f);
        });
        let go = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            order.lock().unwrap().push("go");
            goes_on.notify_one();
        };
        tokio::join!(calls, go).0.unwrap();
        assert_eq!(*order.lock().unwrap(), ["go", "run", "f"]);
    }
}
