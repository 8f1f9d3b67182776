//! Whether two types, one of each side, are one.

use std::collections::{HashMap, HashSet};

use berth_model::interface::InterfaceName;
use semver::Version;

use crate::authority::{carries_authority, is_divided};
use crate::plan::{Index, Link, Part, Way};
use crate::wit::{optional_text, type_text};
use crate::world::{Defined, Item, Origin, ResourceIndex, Type, World};

/// Where two types differ, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// From the outermost to the innermost place.
    pub(super) at: Vec<String>,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Difference {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Difference {
        Difference { at: Vec::new(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn within(mut self, place: impl Into<String>) -> Difference {
        self.at.insert(0, place.into());
        self
    }
}

/// The importer's types and the exporter's.
pub(super) struct Sides<'a> {
    parts: &'a [Part<'a>],
    index: &'a Index<'a>,
    importer: usize,
    exporter: usize,
    expected: &'a World,
    found: &'a World,
    /// Pairs that are equal: each is looked at once, so that types that share others cost no more than those.
    equal: HashSet<(usize, usize)>,
    origins: HashMap<(usize, ResourceIndex), Identity>,
}

/// Which resource type it is, within one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// One that a part defines.
    Own { part: usize, resource: ResourceIndex },
    /// One of the host; where its interface carries authority as a whole, each part has its own.
    Host { interface: String, resource: String, part: Option<usize> },
}

impl<'a> Sides<'a> {
    pub(super) fn new(parts: &'a [Part<'a>], index: &'a Index<'a>, link: &Link) -> Sides<'a> {
        let (importer, exporter) = (link.importer, link.exporter);
        let (expected, found) = (parts[importer].world, parts[exporter].world);
        Sides { parts, index, importer, exporter, expected, found, equal: HashSet::new(), origins: HashMap::new() }
    }

    pub(super) fn types(&mut self, expected: Type, found: Type) -> Result<(), Difference> {
        let (expected, found) = (peel(self.expected, expected), peel(self.found, found));
        match (expected, found) {
            (Type::Primitive(a), Type::Primitive(b)) if a == b => Ok(()),
            (Type::Defined(a), Type::Defined(b)) => {
                if !self.equal.contains(&(a, b)) {
                    self.defined(a, b)?;
                    self.equal.insert((a, b));
                }
                Ok(())
            }
            _ => Err(self.difference(expected, found)),
        }
    }

    pub(super) fn optional(&mut self, expected: Option<Type>, found: Option<Type>) -> Result<(), Difference> {
        match (expected, found) {
            (None, None) => Ok(()),
            (Some(expected), Some(found)) => self.types(expected, found),
            _ => Err(quoted(optional_text(self.expected, expected), optional_text(self.found, found))),
        }
    }

    fn difference(&self, expected: Type, found: Type) -> Difference {
        quoted(type_text(self.expected, expected), type_text(self.found, found))
    }

    fn defined(&mut self, a: usize, b: usize) -> Result<(), Difference> {
        let (expected, found) = (self.expected, self.found);
        match (&expected.types[a], &found.types[b]) {
            (Defined::Record(a), Defined::Record(b)) => {
                let place = |name: &str| format!("field `{name}`");
                self.each(a.iter().map(|(n, t)| (n, Some(*t))), b.iter().map(|(n, t)| (n, Some(*t))), "field", place)
            }
            (Defined::Variant(a), Defined::Variant(b)) => {
                let place = |name: &str| format!("case `{name}`");
                self.each(a.iter().map(|(n, t)| (n, *t)), b.iter().map(|(n, t)| (n, *t)), "case", place)
            }
            (Defined::Flags(a), Defined::Flags(b)) => {
                self.each(a.iter().map(|n| (n, None)), b.iter().map(|n| (n, None)), "flag", |name| format!("flag `{name}`"))
            }
            (Defined::Enum(a), Defined::Enum(b)) => {
                self.each(a.iter().map(|n| (n, None)), b.iter().map(|n| (n, None)), "case", |name| format!("case `{name}`"))
            }
            (Defined::List(a), Defined::List(b)) => self.types(*a, *b).map_err(|d| d.within("element")),
            (Defined::FixedList(a, x), Defined::FixedList(b, y)) if x == y => self.types(*a, *b).map_err(|d| d.within("element")),
            (Defined::Map(a, x), Defined::Map(b, y)) => {
                self.types(*a, *b).map_err(|d| d.within("key"))?;
                self.types(*x, *y).map_err(|d| d.within("value"))
            }
            (Defined::Tuple(a), Defined::Tuple(b)) if a.len() == b.len() => {
                let mut pairs = a.iter().zip(b).enumerate();
                pairs.try_for_each(|(place, (a, b))| self.types(*a, *b).map_err(|d| d.within(format!("element {}", place + 1))))
            }
            (Defined::Option(a), Defined::Option(b)) => self.types(*a, *b).map_err(|d| d.within("option")),
            (Defined::Result(a, x), Defined::Result(b, y)) => {
                self.optional(*a, *b).map_err(|d| d.within("ok"))?;
                self.optional(*x, *y).map_err(|d| d.within("err"))
            }
            (Defined::Stream(a), Defined::Stream(b)) => self.optional(*a, *b).map_err(|d| d.within("stream")),
            (Defined::Future(a), Defined::Future(b)) => self.optional(*a, *b).map_err(|d| d.within("future")),
            (Defined::Own(a), Defined::Own(b)) | (Defined::Borrow(a), Defined::Borrow(b)) => self.resources(*a, *b),
            _ => Err(self.difference(Type::Defined(a), Type::Defined(b))),
        }
    }

    /// Parts of two types in order: equal names, equal types.
    fn each<'n>(
        &mut self,
        expected: impl ExactSizeIterator<Item = (&'n String, Option<Type>)>,
        found: impl ExactSizeIterator<Item = (&'n String, Option<Type>)>,
        word: &str,
        place: impl Fn(&str) -> String,
    ) -> Result<(), Difference> {
        let (mut expected, mut found) = (expected, found);
        let none = || format!("no {word} more");
        loop {
            match (expected.next(), found.next()) {
                (None, None) => return Ok(()),
                (Some((a, x)), Some((b, y))) if a == b => self.optional(x, y).map_err(|difference| difference.within(place(a)))?,
                (Some((a, _)), Some((b, _))) => {
                    return Err(Difference::new(format!("the {word} `{a}`"), format!("`{b}` in its place")));
                }
                (Some((a, _)), None) => return Err(Difference::new(format!("a {word} `{a}`"), none())),
                (None, Some((b, _))) => return Err(Difference::new(none(), format!("a {word} `{b}`"))),
            }
        }
    }

    pub(super) fn resources(&mut self, expected: ResourceIndex, found: ResourceIndex) -> Result<(), Difference> {
        let (a, b) = (self.identity(self.importer, expected), self.identity(self.exporter, found));
        if a == b { Ok(()) } else { Err(Difference::new(self.resource_text(&a), self.resource_text(&b))) }
    }

    /// Follows a resource type to who defines it. Links lead in no circle, so that this ends.
    fn identity(&mut self, part: usize, resource: ResourceIndex) -> Identity {
        let (mut at, mut index) = (part, resource);
        if let Some(known) = self.origins.get(&(part, resource)) {
            return known.clone();
        }
        let identity = loop {
            let world = self.parts[at].world;
            let found = &world.resources[index];
            let Origin::Import(import) = &found.origin else { break Identity::Own { part: at, resource: index } };
            let link = self.index.get(at, import).filter(|link| link.way == Way::Fused);
            let next = link.and_then(|link| Some((link.exporter, exported(self.parts[link.exporter].world, &link.export, &found.name)?)));
            match next {
                Some(next) => (at, index) = next,
                None => break host(at, import, &found.name),
            }
        };
        self.origins.insert((part, resource), identity.clone());
        identity
    }

    fn resource_text(&self, identity: &Identity) -> String {
        match identity {
            Identity::Own { part, resource } => {
                let Part { name, world, .. } = self.parts[*part];
                format!("the resource `{}` that `{name}` defines", world.resources[*resource].name)
            }
            Identity::Host { interface, resource, part: None } => format!("the resource `{resource}` of {interface}"),
            Identity::Host { interface, resource, part: Some(part) } => {
                format!("the resource `{resource}` of {interface} that the host gives to `{}`", self.parts[*part].name)
            }
        }
    }
}

/// The resource that an export shows under a name.
fn exported(world: &World, export: &str, name: &str) -> Option<ResourceIndex> {
    match world.exports.get(export)? {
        Item::Interface(items) => match items.get(name)? {
            Item::Resource(resource) => Some(*resource),
            _ => None,
        },
        Item::Resource(resource) => Some(*resource),
        _ => None,
    }
}

/// A resource of the host. Versions that are compatible are one interface to it.
fn host(part: usize, import: &str, resource: &str) -> Identity {
    let interface = match import.parse::<InterfaceName>() {
        Ok(name) => {
            let track = name.version.as_ref().map(|version| format!("@{}", track(version))).unwrap_or_default();
            format!("{}:{}/{}{track}", name.namespace, name.package, name.interface)
        }
        Err(_) => import.to_owned(),
    };
    let is_own = carries_authority(import) && !is_divided(import);
    Identity::Host { interface, resource: resource.to_owned(), part: is_own.then_some(part) }
}

/// What compatible versions share: `0.2` of 0.2.6.
fn track(version: &Version) -> String {
    match version {
        version if !version.pre.is_empty() => version.to_string(),
        Version { major: 0, minor: 0, patch, .. } => format!("0.0.{patch}"),
        Version { major: 0, minor, .. } => format!("0.{minor}"),
        Version { major, .. } => major.to_string(),
    }
}

fn peel(world: &World, mut ty: Type) -> Type {
    while let Type::Defined(place) = ty {
        match &world.types[place] {
            Defined::Alias(of) => ty = *of,
            _ => break,
        }
    }
    ty
}

fn quoted(expected: String, found: String) -> Difference {
    Difference::new(format!("`{expected}`"), format!("`{found}`"))
}
