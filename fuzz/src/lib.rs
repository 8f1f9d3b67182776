//! What each fuzz target does with its input. Any input is fine: what must not happen is a panic, a hang or memory without bound.

use berth_link::{Part, Role, World};
use berth_model::import::ImportName;
use berth_model::manifest::{self, Document};
use berth_model::validate;
use berth_model::workload::Link;

/// The host's intake alone: the engine beside it would take ten minutes to build, and no input gets there before this has passed it.
#[path = "../../crates/host/src/intake.rs"]
#[allow(dead_code, reason = "the host uses all of it")]
mod intake;

/// A manifest: it is read or refused with words, and what was read stays the same when it is written and read again, as a store does.
///
/// # Panics
///
/// When that isn't so: a finding.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match manifest::parse(text, "fuzz") {
        Ok(documents) => documents.iter().for_each(stays_the_same),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
}

fn stays_the_same(document: &Document) {
    let Document::Resource(resource) = document else { return };
    if let Err(error) = validate::resource(resource) {
        assert!(!error.to_string().is_empty(), "an error says something");
        return;
    }
    let written = serde_json::to_string(resource).expect("a resource can be written");
    let again = manifest::parse(&written, "written").expect("what was written can be read");
    let [Document::Resource(again)] = again.as_slice() else { panic!("one resource became {again:?}") };
    assert_eq!(resource, again, "what is read again is the same");
}

/// A component: it is inspected or refused with words.
///
/// # Panics
///
/// When the refusal has no words: a finding.
pub fn intake(data: &[u8]) {
    if let Err(error) = intake::inspect(data) {
        assert!(!error.to_string().is_empty(), "an error says something");
    }
}

/// A component, linked with a twin of itself: whatever it both imports and exports leads there. There is a plan or words. It isn't
/// composed: the library that does so panics at some forms of types, which `berth-link` makes an error of and libFuzzer would not.
///
/// # Panics
///
/// When a refusal has no words: a finding.
pub fn link(data: &[u8]) {
    let world = match World::read(data) {
        Ok(world) => world,
        Err(error) => return assert!(!error.to_string().is_empty(), "an error says something"),
    };
    let links: Vec<Link> = world
        .imports()
        .filter_map(|import| Some(Link { import: import.parse().ok()?, component: Some("twin".to_owned()), fuse: true }))
        .filter(|link| world.exports().any(|export| export.parse().is_ok_and(|export: ImportName| export.meets(&link.import))))
        .collect();
    let twin = Part { name: "twin", world: &world, links: &[], role: Role::Component };
    let parts = [Part { name: "one", links: &links, ..twin }, twin];
    match berth_link::plan(&parts, None, false, &|_| true) {
        Ok(plan) => assert_eq!(plan.explain(&parts).units.len(), plan.units.len(), "a plan is told whole"),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
}
