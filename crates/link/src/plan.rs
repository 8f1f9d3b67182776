//! Who satisfies whose imports, and which components become one.
//!
//! The rules, of which docs/manifests.md tells users:
//!
//! - An import leads to the sibling that exports an interface of its name at a compatible version, or a function of its name; never to the
//!   component itself. An entry of `links` names one of several; the order in the manifest breaks no tie.
//! - What the host provides of `wasi:` comes from the host unless an entry of `links` names a component. `wasi:http/handler` leads to a
//!   sibling in any case, and an export of `wasi:http/incoming-handler` (0.2) will do for it.
//! - Interfaces that hold types alone need nobody: types are equal when they are built alike.
//! - A link is fused, its two ends composed into one component, but for two kinds. `wasi:http/handler` is bridged by the host, unless the
//!   entry of `links` says `fuse`; the service's exports are copied, for it lives longer than a request.
//! - The root of a unit is a component that exports an HTTP handler, the service, or a component that nobody is linked to; its members are
//!   those that it is fused with, directly and through others. A component that is fused into two roots has an instance in each.

mod circle;
mod entry;
mod resolve;
mod units;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::LinkError;
use crate::world::World;

pub use units::MAX_MEMBERS;

/// What a part of the workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of its components.
    Component,
    /// Its service.
    Service,
}

/// One component of a workload, or its service.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its name; the service's is only for messages.
    pub name: &'a str,
    /// What it imports and exports.
    pub world: &'a World,
    /// What the manifest says of its imports.
    pub links: &'a [berth_model::workload::Link],
    /// What it is.
    pub role: Role,
}

/// How a workload's components are linked. Parts are known by their places in what was handed to [`plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// What is compiled and instantiated as one, by root.
    pub units: Vec<Unit>,
    /// All links, by importer and import.
    pub links: Vec<Link>,
    /// The part that answers HTTP.
    pub entry: Option<usize>,
}

/// A root and what it is fused with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The part whose exports are the unit's.
    pub root: usize,
    /// Its parts: the root, then the others in order; at most [`MAX_MEMBERS`].
    pub members: Vec<usize>,
}

/// An import that a sibling satisfies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The part that imports.
    pub importer: usize,
    /// Its name for what it imports.
    pub import: String,
    /// The part that exports it.
    pub exporter: usize,
    /// That part's name for it: another compatible version, or another handler.
    pub export: String,
    /// How calls get there.
    pub way: Way,
}

/// How calls get from one component to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Way {
    /// The two are composed into one component: a call is a compiled adapter, in one store.
    Fused,
    /// The host carries requests and responses of `wasi:http` from one store to another.
    Bridged,
    /// The host copies typed values from one store to another.
    Copied,
}

impl Way {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Way::Fused => "fused",
            Way::Bridged => "bridged",
            Way::Copied => "copied",
        }
    }

    /// Why this way.
    pub fn why(self) -> &'static str {
        match self {
            Way::Fused => "composed into one component; a call stays within its instance",
            Way::Bridged => "an HTTP handler is its own instance, so that its faults stay its own; `fuse: true` in `links` composes them",
            Way::Copied => "the service lives longer than a request, in an instance of its own",
        }
    }
}

impl LinkPlan {
    /// The links of one part's imports.
    pub fn links_of(&self, importer: usize) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.importer == importer)
    }

    /// The link of one import.
    pub fn link(&self, importer: usize, import: &str) -> Option<&Link> {
        self.links_of(importer).find(|link| link.import == import)
    }
}

/// Plans how `parts` are linked. `entry` is the component that the workload names to answer HTTP, and `wants_http` whether it is to answer
/// any; `provided` says whether the host provides an import to every component.
///
/// # Errors
///
/// All that is wrong with the imports at once; then circles; then all links whose types differ; then the entry and the units' sizes.
pub fn plan(parts: &[Part<'_>], entry: Option<&str>, wants_http: bool, provided: &dyn Fn(&str) -> bool) -> Result<LinkPlan, LinkError> {
    let links = resolve::links(parts, provided)?;
    circle::refuse(parts, &links)?;
    let entry = entry::find(parts, &links, entry, wants_http);
    let units = units::of(parts, &links)?;
    let index = Index::new(&links);
    check::types(parts, &links, &index)?;
    Ok(LinkPlan { units, entry: entry?, links })
}

/// Links by importer and import.
pub(crate) struct Index<'a>(HashMap<(usize, &'a str), &'a Link>);

impl<'a> Index<'a> {
    fn new(links: &'a [Link]) -> Index<'a> {
        Index(links.iter().map(|link| ((link.importer, link.import.as_str()), link)).collect())
    }

    pub(crate) fn get(&self, importer: usize, import: &str) -> Option<&'a Link> {
        self.0.get(&(importer, import)).copied()
    }
}
