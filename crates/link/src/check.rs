//! Whether the two sides of a link have the same types.
//!
//! Composition would find a difference too, but not in words that name the function and the parameter. The rules are the component
//! model's as validators hold them: an export may have more than is imported; what both have must be equal, names of parameters included
//! (wasmparser, `SubtypeCx`).

mod copy;
mod same;

use crate::error::{LinkError, Mismatch};
use crate::plan::{Index, Link, Part, Way};
use crate::world::{Func, Item, Named};
use same::{Difference, Sides};

/// Checks every link that carries types of the workload's own, and tells of all that differ. What is bridged has the host between its ends.
pub(crate) fn types(parts: &[Part<'_>], links: &[Link], index: &Index<'_>) -> Result<(), LinkError> {
    let mut wrong = Vec::new();
    for link in links.iter().filter(|link| link.way != Way::Bridged) {
        let expected = parts[link.importer].world.imports.get(&link.import);
        let found = parts[link.exporter].world.exports.get(&link.export);
        let (Some(expected), Some(found)) = (expected, found) else { continue };
        if link.way == Way::Copied && !copy::enters(parts[link.exporter].world) {
            wrong.push(copy::no_entry(parts, link));
            continue;
        }
        // What can't be copied isn't the same on both sides either.
        if let Some(refusal) = copy::refusal(parts, link, expected).filter(|_| link.way == Way::Copied) {
            wrong.push(refusal);
        } else if let Err(difference) = item(&mut Sides::new(parts, index, link), expected, found) {
            wrong.push(LinkError::Mismatch(Box::new(mismatch(parts, link, difference))));
        }
    }
    LinkError::of(wrong).map_or(Ok(()), Err)
}

fn mismatch(parts: &[Part<'_>], link: &Link, difference: Difference) -> Mismatch {
    Mismatch {
        component: parts[link.importer].name.to_owned(),
        import: link.import.clone(),
        provider: parts[link.exporter].name.to_owned(),
        export: link.export.clone(),
        at: difference.at.join(", "),
        expected: difference.expected,
        found: difference.found,
    }
}

fn item(sides: &mut Sides<'_>, expected: &Item, found: &Item) -> Result<(), Difference> {
    match (expected, found) {
        (Item::Func(expected), Item::Func(found)) => func(sides, expected, found),
        (Item::Interface(expected), Item::Interface(found)) => interface(sides, expected, found),
        (Item::Type(expected), Item::Type(found)) => sides.types(*expected, *found),
        (Item::Resource(expected), Item::Resource(found)) => sides.resources(*expected, *found),
        (expected, found) => Err(Difference::new(expected.kind(), found.kind())),
    }
}

fn interface(sides: &mut Sides<'_>, expected: &Named<Item>, found: &Named<Item>) -> Result<(), Difference> {
    for (name, wanted) in expected.iter() {
        let word = match wanted {
            Item::Func(_) => "function",
            Item::Resource(_) => "resource",
            _ => "type",
        };
        let at = || format!("{word} `{name}`");
        match found.get(name) {
            Some(found) => item(sides, wanted, found).map_err(|difference| difference.within(at()))?,
            None => return Err(Difference::new(wanted.kind(), "none of this name").within(at())),
        }
    }
    Ok(())
}

fn func(sides: &mut Sides<'_>, expected: &Func, found: &Func) -> Result<(), Difference> {
    if expected.is_async != found.is_async {
        let word = |func: &Func| if func.is_async { "an async function" } else { "a sync function" };
        return Err(Difference::new(word(expected), word(found)));
    }
    for (place, (name, expected)) in expected.params.iter().enumerate() {
        let Some((other, found)) = found.params.get(place) else {
            return Err(Difference::new(format!("a parameter `{name}`"), "no such parameter").within(format!("parameter {}", place + 1)));
        };
        if name != other {
            return Err(Difference::new(format!("the name `{name}`"), format!("`{other}`")).within(format!("parameter {}", place + 1)));
        }
        sides.types(*expected, *found).map_err(|difference| difference.within(format!("parameter `{name}`")))?;
    }
    if let Some((name, _)) = found.params.get(expected.params.len()) {
        let at = format!("parameter {}", expected.params.len() + 1);
        return Err(Difference::new("no such parameter", format!("a parameter `{name}`")).within(at));
    }
    sides.optional(expected.result, found.result).map_err(|difference| difference.within("result"))
}
