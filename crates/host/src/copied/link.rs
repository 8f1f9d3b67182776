//! The caller's side: the functions that a component imports of its service, typed as it imports them.

use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, Val};
use wasmtime::{Engine, StoreContextMut};

use super::door::{Door, Export};
use super::failure::{CallFailed, Why};
use super::value;
use super::wait::{Called, Over, Wait};
use crate::bridge::counted::CountedCall;
use crate::guest::Guest;
use crate::invoke::guard::AbortOnDrop;
use crate::metrics::{Ended, WorkloadMetrics};

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
            let callee = self.clone();
            Box::new(async move {
                let wait = Wait::holding(&mut store);
                let called = callee.call(arguments, results, wait).await;
                // The guest goes on at once, before anybody else can say that who was late is gone.
                #[cfg(feature = "wasi-p3")]
                store.data_mut().keep_time();
                called
            })
        })
    }

    #[cfg(feature = "wasi-p3")]
    fn define_async(self, instance: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<()> {
        use wasmtime::AsContextMut;
        instance.func_new_concurrent(name, move |accessor, _, arguments, results| {
            let callee = self.clone();
            Box::pin(async move {
                let wait = accessor.with(|mut access| Wait::beside(&mut access.as_context_mut()));
                callee.call(arguments, results, wait).await
            })
        })
    }

    #[cfg(not(feature = "wasi-p3"))]
    fn define_async(self, _: &mut LinkerInstance<'_, Guest>, _: &str) -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("this build runs no async functions"))
    }

    async fn call(&self, arguments: &[Val], results: &mut [Val], wait: Wait) -> wasmtime::Result<()> {
        let counted = CountedCall::new(&self.calls.metrics);
        let failed = |why| Err(CallFailed { function: self.name.clone(), why }.into());
        let is_beside = wait.is_beside();
        let ended = match self.ask(arguments) {
            Err(why) => Ok(Err(why)),
            Ok(call) if is_beside => apart(wait.for_answer(call)).await,
            Ok(call) => wait.for_answer(call).await,
        };
        match ended {
            Ok(Ok(values)) => {
                counted.end(Ended::Answered(2));
                results.iter_mut().zip(values).for_each(|(result, value)| *result = value);
                Ok(())
            }
            Ok(Err(why)) => {
                counted.end(why.ended());
                failed(why)
            }
            Err(over) => {
                match over {
                    Over::Late => counted.end(Why::Late.ended()),
                    // Which is what it is counted as without a word.
                    Over::Gone => drop(counted),
                }
                if is_beside {
                    // A trap would end the other requests of its instance. This one is over by itself, and nobody asks for what it does.
                    std::future::pending::<()>().await;
                }
                failed(Why::Late)
            }
        }
    }

    /// The call, if what it holds is within bounds.
    fn ask(&self, arguments: &[Val]) -> Result<impl Future<Output = Result<Vec<Val>, Why>> + Send + use<>, Why> {
        let held = self.calls.door.hold(value::bytes(arguments).map_err(Why::of_arguments)?)?;
        let (door, function, arguments) = (self.calls.door.clone(), self.function, arguments.to_vec());
        Ok(async move { door.call(function, arguments, held).await })
    }
}

/// Makes a call in a task of its own, where it comes to its turn, and leaves the line, also while another call holds the store that waits for
/// it. Dropping the future ends it.
async fn apart(call: impl Future<Output = Called> + Send + 'static) -> Called {
    let task = tokio::spawn(call);
    let _guard = AbortOnDrop::new(task.abort_handle());
    // It is ended by nobody else but a thread that ends.
    task.await.unwrap_or_else(|_| Ok(Err(Why::Ended("was ended".into()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_call_apart_goes_on_while_nobody_looks_and_ends_when_it_is_dropped() {
        let (begun, begins) = oneshot::channel();
        let (held, ends) = oneshot::channel::<()>();
        let mut call = Box::pin(apart(async move {
            begun.send(()).unwrap();
            let _held = held;
            std::future::pending().await
        }));
        assert!(futures::poll!(&mut call).is_pending());
        begins.await.unwrap();
        drop(call);
        assert!(ends.await.is_err(), "what it held is gone");
    }
}
