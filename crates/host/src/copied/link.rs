//! The caller's side: the functions that a component imports of its service, typed as it imports them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, Val};
use wasmtime::{Engine, StoreContextMut};

use super::door::{Door, Export};
use super::failure::{CallFailed, Why};
use super::value;
use crate::bridge::counted::CountedCall;
use crate::bridge::link::working_for;
use crate::guest::Guest;
use crate::metrics::{Ended, WorkloadMetrics};

/// So long before the request's deadline a call is given up: the request's own timer would only tell that time is up, not who was waited for.
const HEADROOM: Duration = Duration::from_millis(5);

/// Where calls of a workload's service go.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) door: Arc<Door>,
    pub(crate) metrics: Arc<WorkloadMetrics>,
}

/// An import that the service satisfies, by its name in the unit and the service's own.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) import: String,
    pub(crate) export: String,
}

/// One function as a caller has it.
#[derive(Clone)]
struct Callee {
    calls: Calls,
    function: usize,
    name: Arc<str>,
}

impl Calls {
    /// Links what `component` imports of the service. The linker is one of its own.
    pub(crate) fn link(
        &self,
        linker: &mut Linker<Guest>,
        engine: &Engine,
        component: &Component,
        copied: &[Copied],
    ) -> wasmtime::Result<()> {
        // The manifest may name the service for what the host has too.
        linker.allow_shadowing(true);
        let ty = component.component_type();
        for Copied { import, export } in copied {
            let Some((_, found)) = ty.imports(engine).find(|(name, _)| name == import) else { continue };
            match found.ty {
                ComponentItem::ComponentFunc(func) => {
                    let callee = self.callee(Export { interface: None, function: export.clone() });
                    callee.define(&mut linker.root(), import, &func)?;
                }
                ComponentItem::ComponentInstance(interface) => {
                    let mut instance = linker.instance(import)?;
                    for (name, item) in interface.exports(engine) {
                        // Types need nobody.
                        let ComponentItem::ComponentFunc(func) = item.ty else { continue };
                        let callee = self.callee(Export { interface: Some(export.clone()), function: name.to_owned() });
                        callee.define(&mut instance, name, &func)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn callee(&self, export: Export) -> Callee {
        let name = match &export.interface {
            Some(interface) => format!("{interface}#{}", export.function),
            None => export.function.clone(),
        };
        Callee { calls: self.clone(), function: self.door.know(export), name: name.into() }
    }
}

impl Callee {
    fn define(self, instance: &mut LinkerInstance<'_, Guest>, name: &str, func: &ComponentFunc) -> wasmtime::Result<()> {
        if func.async_() {
            return self.define_async(instance, name);
        }
        instance.func_new_async(name, move |mut store: StoreContextMut<'_, Guest>, _, arguments, results| {
            let (callee, until) = (self.clone(), Until::of(&mut store));
            Box::new(async move { callee.call(arguments, results, until.time).await })
        })
    }

    #[cfg(feature = "wasi-p3")]
    fn define_async(self, instance: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<()> {
        use wasmtime::AsContextMut;
        instance.func_new_concurrent(name, move |accessor, _, arguments, results| {
            let callee = self.clone();
            Box::pin(async move {
                let until = accessor.with(|mut access| Until::of(&mut access.as_context_mut()));
                let called = callee.call(arguments, results, until.time).await;
                let late = called.as_ref().err().and_then(|error| error.downcast_ref::<CallFailed>()).is_some_and(|f| f.why == Why::Late);
                if late && until.shared {
                    // A trap would end the other requests that its instance serves. This one is over by its own timer.
                    std::future::pending::<()>().await;
                }
                called
            })
        })
    }

    #[cfg(not(feature = "wasi-p3"))]
    fn define_async(self, _: &mut LinkerInstance<'_, Guest>, _: &str) -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("this build runs no async functions"))
    }

    async fn call(&self, arguments: &[Val], results: &mut [Val], until: Instant) -> wasmtime::Result<()> {
        let counted = CountedCall::new(&self.calls.metrics);
        let held = value::bytes(arguments).map_err(Why::of_arguments).and_then(|bytes| self.calls.door.hold(bytes));
        let answer = match held {
            Ok(_held) => self.calls.door.call(self.function, arguments.to_vec(), until).await,
            Err(why) => Err(why),
        };
        match answer {
            Ok(values) => {
                counted.end(Ended::Answered(2));
                results.iter_mut().zip(values).for_each(|(result, value)| *result = value);
                Ok(())
            }
            Err(why) => {
                counted.end(why.ended());
                Err(CallFailed { function: self.name.clone(), why }.into())
            }
        }
    }
}

/// How long a caller waits.
struct Until {
    time: Instant,
    /// Whether its instance serves other requests too.
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "instances of 0.2 serve one request at a time"))]
    shared: bool,
}

impl Until {
    fn of(store: &mut StoreContextMut<'_, Guest>) -> Until {
        let request = working_for(store).map(|call| call.deadline);
        let deadline = request.unwrap_or(store.data().deadline);
        Until { time: deadline.checked_sub(HEADROOM).unwrap_or(deadline), shared: request.is_some() }
    }
}
