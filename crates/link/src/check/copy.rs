//! Which types can be copied from one store to another, and which services take calls.

use std::collections::HashSet;

use berth_model::interface::InterfaceName;

use crate::error::{LinkError, Uncopied};
use crate::plan::{Link, Part};
use crate::wit::type_text;
use crate::world::{Defined, Item, Type, World};

/// Why the interface behind a copied link can't be copied, if it can't: handles mean something only in the store they belong to, and so do
/// the ends of streams and futures.
pub(super) fn refusal(parts: &[Part<'_>], link: &Link, item: &Item) -> Option<LinkError> {
    let world = parts[link.importer].world;
    let mut fine = HashSet::new();
    let (at, found, what) = match item {
        Item::Interface(items) => items.iter().find_map(|(name, item)| in_item(world, name, item, &mut fine))?,
        item => in_item(world, &link.import, item, &mut fine)?,
    };
    Some(LinkError::CannotCopy(Box::new(Uncopied {
        component: parts[link.importer].name.to_owned(),
        import: link.import.clone(),
        provider: parts[link.exporter].name.to_owned(),
        at,
        found,
        what,
    })))
}

/// Whether a service can be called while it runs. A program of WASI 0.3 waits without holding its instance; one of 0.2 holds it from the
/// beginning of `run` to its end, and the engine lets no call in (with 0.3's engine it would queue until `run` has returned, with 0.2's
/// nobody else has the store). One that is no program at all is refused where programs are looked for.
pub(super) fn enters(service: &World) -> bool {
    let runs = |minor: u64| {
        let is_run = |name: InterfaceName| {
            name.is("wasi", "cli", "run") && name.version.is_some_and(|version| version.major == 0 && version.minor == minor)
        };
        service.exports().any(|export| export.parse().is_ok_and(is_run))
    };
    runs(3) || !runs(2)
}

/// Says that it can't.
pub(super) fn no_entry(parts: &[Part<'_>], link: &Link) -> LinkError {
    let (component, provider) = (parts[link.importer].name.to_owned(), parts[link.exporter].name.to_owned());
    LinkError::CannotEnter { component, import: link.import.clone(), provider }
}

type Found = (String, String, &'static str);

fn in_item(world: &World, name: &str, item: &Item, fine: &mut HashSet<usize>) -> Option<Found> {
    match item {
        Item::Func(func) => {
            let params = func.params.iter().map(|(param, ty)| (format!("function `{name}`, parameter `{param}`"), *ty));
            let result = func.result.map(|ty| (format!("function `{name}`, result"), ty));
            params.chain(result).find_map(|(at, ty)| Some((at, type_text(world, ty), uncopied(world, ty, fine)?)))
        }
        Item::Resource(_) => Some((format!("resource `{name}`"), name.to_owned(), "resources")),
        // Types of functions are looked at there.
        Item::Type(_) | Item::Interface(_) | Item::Other(_) => None,
    }
}

/// What it is within a type that can't be copied. Each type is looked at once.
fn uncopied(world: &World, ty: Type, fine: &mut HashSet<usize>) -> Option<&'static str> {
    let place = match ty {
        Type::Primitive("error-context") => return Some("error contexts"),
        Type::Primitive(_) => return None,
        Type::Defined(place) => place,
    };
    if fine.contains(&place) {
        return None;
    }
    let mut all = |mut types: &mut dyn Iterator<Item = Type>| Iterator::find_map(&mut types, |ty| uncopied(world, ty, fine));
    let found = match &world.types[place] {
        Defined::Own(_) | Defined::Borrow(_) => Some("resources"),
        Defined::Stream(_) => Some("streams"),
        Defined::Future(_) => Some("futures"),
        Defined::Flags(_) | Defined::Enum(_) => None,
        Defined::Record(fields) => all(&mut fields.iter().map(|(_, ty)| *ty)),
        Defined::Variant(cases) => all(&mut cases.iter().filter_map(|(_, ty)| *ty)),
        Defined::Tuple(types) => all(&mut types.iter().copied()),
        Defined::Alias(ty) | Defined::List(ty) | Defined::FixedList(ty, _) | Defined::Option(ty) => all(&mut std::iter::once(*ty)),
        Defined::Map(key, value) => all(&mut [*key, *value].into_iter()),
        Defined::Result(ok, err) => all(&mut ok.iter().chain(err).copied()),
    };
    if found.is_none() {
        fine.insert(place);
    }
    found
}
