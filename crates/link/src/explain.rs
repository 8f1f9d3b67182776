//! A plan in words, for `berth inspect`: who provides what to whom and how, and what each part has of the host.

use std::fmt;

use crate::authority::carries_authority;
use crate::plan::{LinkPlan, Part, Role, Way};

/// A plan by names. Its `Display` is a few lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The component that answers HTTP.
    pub entry: Option<String>,
    /// What runs as one, by root.
    pub units: Vec<ExplainedUnit>,
    /// All links.
    pub links: Vec<ExplainedLink>,
    /// What each part imports from the host, by part and import.
    pub host: Vec<HostImport>,
}

/// What is composed into one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedUnit {
    /// Its root.
    pub root: String,
    /// What is fused with it.
    pub with: Vec<String>,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedLink {
    /// Who imports.
    pub importer: String,
    /// What.
    pub import: String,
    /// Who provides it.
    pub exporter: String,
    /// Under which name.
    pub export: String,
    /// How calls get there.
    pub way: Way,
}

/// An import that the host satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImport {
    /// Who imports.
    pub component: String,
    /// What.
    pub import: String,
    /// Whether it is bound to this component's own grants; if not, members of a unit share it.
    pub own: bool,
}

impl LinkPlan {
    /// The plan by the names of `parts`, which must be those it was made for.
    pub fn explain(&self, parts: &[Part<'_>]) -> Explained {
        let name = |part: usize| parts.get(part).map_or_else(String::new, |part| part.name.to_owned());
        let unit = |unit: &crate::plan::Unit| ExplainedUnit {
            root: name(unit.root),
            with: unit.members.iter().filter(|part| **part != unit.root).map(|part| name(*part)).collect(),
        };
        let link = |link: &crate::plan::Link| ExplainedLink {
            importer: name(link.importer),
            import: link.import.clone(),
            exporter: name(link.exporter),
            export: link.export.clone(),
            way: link.way,
        };
        let host = parts.iter().enumerate().flat_map(|(index, part)| {
            let open = part.world.imports().filter(move |import| self.link(index, import).is_none());
            open.map(|import| HostImport { component: part.name.to_owned(), import: import.to_owned(), own: carries_authority(import) })
        });
        Explained {
            entry: self.entry.map(name),
            units: self.units.iter().map(unit).collect(),
            links: self.links.iter().map(link).collect(),
            host: host.collect(),
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = &self.entry {
            writeln!(f, "HTTP requests go to {entry}")?;
        }
        for link in &self.links {
            write!(f, "{} imports {} from {}", link.importer, link.import, link.exporter)?;
            if link.export != link.import {
                write!(f, " ({})", link.export)?;
            }
            writeln!(f, ", {}: {}", link.way.word(), link.way.why())?;
        }
        for unit in self.units.iter().filter(|unit| !unit.with.is_empty()) {
            writeln!(f, "{} runs as one with {}", unit.root, unit.with.join(", "))?;
        }
        Ok(())
    }
}

impl Role {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Component => "component",
            Role::Service => "service",
        }
    }
}
