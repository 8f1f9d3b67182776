//! Calls carried from one component to another by a host that learns their types at run time: every function of the interface is a host
//! function that calls the other component's with what it was given, as `component::Val`.

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};

use crate::peer::Holdings;

/// What the front imports and the back exports.
pub const INTERFACE: &str = "test:link/probe@1.2.0";
/// What the front imports of yet another one; it has functions only.
const THIRD: &str = "test:link/relay@1.2.0";

/// Stands for a resource of the back; the number that represents it is its place among those held.
struct Held;

/// Defines the interface as `importer` imports it; the names of its functions, in the order in which [`Holdings::back`] must hold them.
pub fn link(linker: &mut Linker<Holdings>, importer: &Component) -> Vec<String> {
    let (engine, interface) = (importer.engine(), imported(importer, INTERFACE));
    let mut instance = linker.instance(INTERFACE).unwrap();
    let mut names = Vec::new();
    for (name, item) in interface.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => {
                let at = names.len();
                names.push(name.to_owned());
                let forwarded =
                    instance.func_new_async(name, move |store, _, params, results| Box::new(forward(store, at, params, results)));
                forwarded.unwrap();
            }
            // What the back holds for it goes with the store.
            ComponentItem::Resource(_) => instance.resource(name, ResourceType::host::<Held>(), |_, _| Ok(())).unwrap(),
            _ => {}
        }
    }
    names
}

/// Defines what the front imports of a third one, whom it doesn't call here.
pub fn refuse(linker: &mut Linker<Holdings>, importer: &Component) {
    let mut instance = linker.instance(THIRD).unwrap();
    for (name, _) in imported(importer, THIRD).exports(importer.engine()) {
        instance.func_new(name, |_, _, _, _| wasmtime::bail!("nobody provides {THIRD}")).unwrap();
    }
}

fn imported(importer: &Component, interface: &str) -> ComponentInstance {
    match importer.component_type().get_import(importer.engine(), interface).map(|import| import.ty) {
        Some(ComponentItem::ComponentInstance(instance)) => instance,
        _ => panic!("the front imports {interface}"),
    }
}

/// Calls the back's function. Values are handed on as they are; handles are exchanged for those of the other side.
async fn forward(mut store: StoreContextMut<'_, Holdings>, at: usize, params: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
    let function = store.data().back[at];
    if params.iter().any(|param| matches!(param, Val::Resource(_))) {
        let mut exchanged = Vec::with_capacity(params.len());
        for param in params {
            exchanged.push(match param {
                Val::Resource(handle) => Val::Resource(theirs(&mut store, *handle)?),
                other => other.clone(),
            });
        }
        function.call_async(&mut store, &exchanged, results).await?;
    } else {
        function.call_async(&mut store, params, results).await?;
    }
    for result in results {
        if let Val::Resource(handle) = result {
            *handle = ours(&mut store, *handle)?;
        }
    }
    Ok(())
}

/// The back's resource behind a handle of the front.
fn theirs(store: &mut StoreContextMut<'_, Holdings>, handle: ResourceAny) -> wasmtime::Result<ResourceAny> {
    let held: Resource<Held> = handle.try_into_resource(&mut *store)?;
    Ok(store.data().held[held.rep() as usize])
}

/// A handle for the front to a resource of the back.
fn ours(store: &mut StoreContextMut<'_, Holdings>, handle: ResourceAny) -> wasmtime::Result<ResourceAny> {
    let held = &mut store.data_mut().held;
    held.push(handle);
    let rep = held.len() as u32 - 1;
    Resource::<Held>::new_own(rep).try_into_resource_any(store)
}
