//! Which sibling each import leads to.

use berth_model::import::ImportName;
use berth_model::interface::InterfaceName;
use berth_model::workload;
use semver::Version;

use super::{Link, Part, Role, Way};
use crate::error::{LinkError, Missing, Near};
use crate::world::{Item, Origin, World};

/// The link of every import that has one, or all that is wrong.
pub(super) fn links(parts: &[Part<'_>], provided: &dyn Fn(&str) -> bool) -> Result<Vec<Link>, LinkError> {
    let mut resolver = Resolver { parts, provided, wrong: Vec::new() };
    let mut links = Vec::new();
    for (importer, part) in parts.iter().enumerate() {
        resolver.unused(importer);
        for (import, item) in part.world.imports.iter() {
            links.extend(resolver.import(importer, import, item));
        }
    }
    LinkError::of(resolver.wrong).map_or(Ok(links), Err)
}

struct Resolver<'a> {
    parts: &'a [Part<'a>],
    provided: &'a dyn Fn(&str) -> bool,
    wrong: Vec<LinkError>,
}

/// An export that would do for an import.
struct Candidate<'a> {
    exporter: usize,
    export: &'a str,
}

impl<'a> Resolver<'a> {
    fn name(&self, part: usize) -> String {
        self.parts[part].name.to_owned()
    }

    /// Notes entries of `links` that no import is for.
    fn unused(&mut self, part: usize) {
        let Part { world, links, .. } = self.parts[part];
        for link in links {
            if world.imports().any(|import| parse(import).is_some_and(|name| name.meets(&link.import))) {
                continue;
            }
            let imports = world.imports().filter(|import| !(self.provided)(import)).map(str::to_owned).collect();
            self.wrong.push(LinkError::UnusedLink { component: self.name(part), import: link.import.to_string(), imports });
        }
    }

    fn import(&mut self, importer: usize, import: &str, item: &Item) -> Option<Link> {
        let wanted = parse(import);
        let entry = self.parts[importer].links.iter().find(|link| wanted.as_ref().is_some_and(|name| name.meets(&link.import)));
        let candidates = self.candidates(importer, import, wanted.as_ref());
        if let Some(named) = entry.and_then(|entry| entry.component.as_deref()) {
            let chosen = self.named(importer, import, wanted.as_ref(), named, candidates)?;
            return self.link(importer, import, &chosen, entry);
        }
        let is_wasi = matches!(&wanted, Some(ImportName::Interface(name)) if name.namespace == "wasi");
        if is_wasi && !is_handler(wanted.as_ref()) && (self.provided)(import) {
            return None;
        }
        match candidates.as_slice() {
            [chosen] => self.link(importer, import, chosen, entry),
            [] => {
                if !(self.provided)(import) && !needs_nobody(self.parts[importer].world, import, item) {
                    let near = self.near(importer, import, wanted.as_ref());
                    self.wrong.push(LinkError::Missing(Missing { component: self.name(importer), import: import.to_owned(), near }));
                }
                None
            }
            // Which of several equal types is meant is all the same.
            _ if needs_nobody(self.parts[importer].world, import, item) => None,
            _ => {
                let candidates = candidates.iter().map(|candidate| self.name(candidate.exporter)).collect();
                self.wrong.push(LinkError::Ambiguous { component: self.name(importer), import: import.to_owned(), candidates });
                None
            }
        }
    }

    /// The candidate that an entry of `links` names.
    fn named(
        &mut self,
        importer: usize,
        import: &str,
        wanted: Option<&ImportName>,
        named: &str,
        candidates: Vec<Candidate<'a>>,
    ) -> Option<Candidate<'a>> {
        let is_named = |part: usize| self.parts[part].name == named && self.parts[part].role == Role::Component;
        if let Some(chosen) = candidates.into_iter().find(|candidate| is_named(candidate.exporter)) {
            return Some(chosen);
        }
        let (component, import, name) = (self.name(importer), import.to_owned(), named.to_owned());
        let error = match (0..self.parts.len()).find(|part| is_named(*part)) {
            None => LinkError::UnknownComponent { component, import, named: name },
            Some(part) => {
                let near = wanted.and_then(|wanted| same_name(self.parts[part].world, wanted)).map(str::to_owned);
                LinkError::NotExported { component, import, named: name, near }
            }
        };
        self.wrong.push(error);
        None
    }

    fn candidates(&self, importer: usize, import: &str, wanted: Option<&ImportName>) -> Vec<Candidate<'a>> {
        let siblings = self.parts.iter().enumerate().filter(|(part, _)| *part != importer);
        siblings
            .filter_map(|(exporter, part)| {
                // A service answers no HTTP: it is started, and runs.
                if is_http(wanted) && part.role == Role::Service {
                    return None;
                }
                let export = match wanted {
                    Some(wanted) => best(part.world, wanted),
                    None => part.world.exports().find(|export| *export == import),
                }?;
                Some(Candidate { exporter, export })
            })
            .collect()
    }

    fn link(&mut self, importer: usize, import: &str, chosen: &Candidate<'_>, entry: Option<&workload::Link>) -> Option<Link> {
        let &Candidate { exporter, export } = chosen;
        let asks = entry.is_some_and(|entry| entry.fuse);
        let is_handler = is_handler(parse(import).as_ref());
        let way = match self.parts[exporter].role {
            Role::Service => Way::Copied,
            Role::Component if is_handler && !asks => Way::Bridged,
            Role::Component => Way::Fused,
        };
        let why = match way {
            Way::Copied if asks => Some("the service lives longer than a request"),
            Way::Fused if is_handler && !is_handler_export(export) => Some(
                "it exports wasi:http/incoming-handler of WASI 0.2, whose requests and responses are of other types; the host can bridge them",
            ),
            _ => None,
        };
        if let Some(why) = why {
            let (component, provider) = (self.name(importer), self.name(exporter));
            self.wrong.push(LinkError::CannotFuse { component, import: import.to_owned(), provider, why });
            return None;
        }
        Some(Link { importer, import: import.to_owned(), exporter, export: export.to_owned(), way })
    }

    fn near(&self, importer: usize, import: &str, wanted: Option<&ImportName>) -> Option<Near> {
        let siblings = self.parts.iter().enumerate().filter(|(part, _)| *part != importer);
        let other = siblings.filter_map(|(_, part)| Some((part.name, same_name(part.world, wanted?)?))).next();
        if let Some((component, export)) = other {
            return Some(Near::Version { component: component.to_owned(), export: export.to_owned() });
        }
        let own = self.parts[importer].world;
        let exports_itself = match wanted {
            Some(wanted) => best(own, wanted).is_some(),
            None => own.exports().any(|export| export == import),
        };
        exports_itself.then_some(Near::Itself)
    }
}

/// The name of an import or export, where it is one that a manifest could write.
fn parse(name: &str) -> Option<ImportName> {
    name.parse().ok()
}

fn interface(name: Option<&ImportName>) -> Option<&InterfaceName> {
    match name {
        Some(ImportName::Interface(name)) => Some(name),
        _ => None,
    }
}

/// Whether the name is WASI 0.3's handler of HTTP.
fn is_handler(name: Option<&ImportName>) -> bool {
    interface(name).is_some_and(|name| name.is("wasi", "http", "handler"))
}

fn is_handler_export(export: &str) -> bool {
    is_handler(parse(export).as_ref())
}

fn is_http(name: Option<&ImportName>) -> bool {
    interface(name).is_some_and(|name| name.namespace == "wasi" && name.package == "http")
}

/// The export that does for `wanted`: the same version, else the highest that is compatible; for a handler also 0.2's.
fn best<'w>(world: &'w World, wanted: &ImportName) -> Option<&'w str> {
    let exports = || world.exports().filter_map(|export| Some((export, parse(export)?)));
    let meeting = exports().filter(|(_, name)| name.meets(wanted));
    let rank = |name: &ImportName| (name == wanted, interface(Some(name)).and_then(|name| name.version.clone()));
    let best = meeting.max_by_key(|(_, name)| rank(name)).map(|(export, _)| export);
    if best.is_some() || !is_handler(Some(wanted)) {
        return best;
    }
    let is_p2 = |name: &ImportName| {
        let is_p2 = |version: &Version| version.major == 0 && version.minor == 2;
        interface(Some(name)).is_some_and(|name| name.is("wasi", "http", "incoming-handler") && name.version.as_ref().is_none_or(is_p2))
    };
    exports().find(|(_, name)| is_p2(name)).map(|(export, _)| export)
}

/// An export of the same name, at a version that doesn't do.
fn same_name<'w>(world: &'w World, wanted: &ImportName) -> Option<&'w str> {
    let wanted = interface(Some(wanted))?;
    world.exports().find(|export| interface(parse(export).as_ref()).is_some_and(|name| name.same_but_version(wanted)))
}

/// Whether an import holds nothing but types that are known by how they are built, or that come from another import.
fn needs_nobody(world: &World, import: &str, item: &Item) -> bool {
    let plain = |item: &Item| match item {
        Item::Type(_) => true,
        Item::Resource(resource) => world.resources[*resource].origin != Origin::Import(import.to_owned()),
        Item::Func(_) | Item::Interface(_) | Item::Other(_) => false,
    };
    match item {
        Item::Interface(items) => items.iter().all(|(_, item)| plain(item)),
        item => plain(item),
    }
}
