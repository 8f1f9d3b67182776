//! What keeps a workload's components from being linked, in words that name them.

use std::fmt;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A link of the manifest names a component that isn't there.
    #[error("component `{component}` links `{import}` to `{named}`, and the workload has no such component")]
    UnknownComponent {
        /// Whose link it is.
        component: String,
        /// The import.
        import: String,
        /// What it names.
        named: String,
    },
    /// A link of the manifest is for an import that the component doesn't have.
    #[error("component `{component}` has a link for `{import}`, which it doesn't import; {}", imports_text(.imports))]
    UnusedLink {
        /// Whose link it is.
        component: String,
        /// The import that it names.
        import: String,
        /// What the component imports and a sibling could provide.
        imports: Vec<String>,
    },
    /// The component that a link names doesn't export what is wanted.
    #[error("component `{component}` links `{import}` to `{named}`, which doesn't export it{}", near_text(.near))]
    NotExported {
        /// Whose link it is.
        component: String,
        /// The import.
        import: String,
        /// The component it names.
        named: String,
        /// An export of the same name at another version.
        near: Option<String>,
    },
    /// Several siblings could satisfy an import.
    #[error(
        "component `{component}` imports `{import}`, which {} export: say which one is meant by `links: [{{import: \"{import}\", component: {}}}]` of `{component}`",
        names_text(.candidates), .candidates.first().map_or("", String::as_str)
    )]
    Ambiguous {
        /// Who imports.
        component: String,
        /// What.
        import: String,
        /// Who exports it, by name.
        candidates: Vec<String>,
    },
    /// Nobody satisfies an import.
    #[error(transparent)]
    Missing(Missing),
    /// The two sides of a link have different types.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// Components need each other in a circle.
    #[error(
        "components import from each other in a circle: {}; one of them must do without the next, or be linked to another component by `links`",
        chain_text(.components)
    )]
    Cycle {
        /// Around the circle: each imports from the next, the last from the first.
        components: Vec<String>,
    },
    /// A link that the manifest wants fused can't be.
    #[error("component `{component}` wants `{import}` fused with `{provider}`, which is not possible: {why}; leave `fuse` out")]
    CannotFuse {
        /// Who imports.
        component: String,
        /// What.
        import: String,
        /// Who provides it.
        provider: String,
        /// Why it isn't possible.
        why: &'static str,
    },
    /// A type can't be copied from one store to another.
    #[error(transparent)]
    CannotCopy(Box<Uncopied>),
    /// A service can't be called while it runs.
    #[error(
        "component `{component}` imports `{import}` from `{provider}`, which exports wasi:cli/run of WASI 0.2: such a program holds its instance as long as it runs, so that nothing else of it can be called; build it for WASI 0.3, whose `run` is async, or call it by TCP on the workload's loopback"
    )]
    CannotEnter {
        /// Who imports.
        component: String,
        /// What.
        import: String,
        /// The service.
        provider: String,
    },
    /// A component that must be composed with others has a form that composition doesn't know.
    #[error(
        "component `{component}` has {kind}, `{name}`, among its imports and exports, so that it can't be linked with others; build it from a WIT world"
    )]
    Unfit {
        /// Which one.
        component: String,
        /// What it imports or exports there.
        name: String,
        /// What that is.
        kind: &'static str,
    },
    /// Too many components in one unit.
    #[error(
        "component `{component}` would be composed of {members} components, with all that it is linked to, and the limit is {}",
        crate::plan::MAX_MEMBERS
    )]
    TooManyMembers {
        /// The root.
        component: String,
        /// How many there would be, itself included.
        members: usize,
    },
    /// No component answers HTTP.
    #[error(
        "the workload is to answer HTTP, and none of its components exports wasi:http/incoming-handler (0.2) or wasi:http/handler (0.3)"
    )]
    NoEntry,
    /// Several could answer.
    #[error(
        "{} export an HTTP handler, and no sibling imports it: say which one answers by `component: {}` in `config` of the wasi:http host interface",
        names_text(.candidates), .candidates.first().map_or("", String::as_str)
    )]
    SeveralEntries {
        /// Those that could.
        candidates: Vec<String>,
    },
    /// The component that is to answer can't.
    #[error("component `{component}` is to answer HTTP, and {}", entry_text(*.exists, .candidates))]
    BadEntry {
        /// Which one the workload names.
        component: String,
        /// Whether there is one of that name.
        exists: bool,
        /// Those that export an HTTP handler.
        candidates: Vec<String>,
    },
    /// Several of these.
    #[error("{}", several_text(.0))]
    Several(Vec<LinkError>),
}

impl LinkError {
    /// One word for it, as a condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            LinkError::UnknownComponent { .. } | LinkError::UnusedLink { .. } | LinkError::NotExported { .. } => "InvalidLink",
            LinkError::Ambiguous { .. } => "AmbiguousImport",
            LinkError::Missing(_) => "MissingImport",
            LinkError::Mismatch(_) => "ImportMismatch",
            LinkError::Cycle { .. } => "LinkCycle",
            LinkError::CannotFuse { .. } | LinkError::CannotCopy(_) | LinkError::CannotEnter { .. } | LinkError::Unfit { .. } => {
                "UnlinkableImport"
            }
            LinkError::TooManyMembers { .. } => "TooManyLinks",
            LinkError::NoEntry | LinkError::SeveralEntries { .. } | LinkError::BadEntry { .. } => "NoEntry",
            LinkError::Several(all) => all.first().map_or("InvalidLink", LinkError::reason),
        }
    }

    /// One error of all; `None` of none.
    pub(crate) fn of(mut all: Vec<LinkError>) -> Option<LinkError> {
        if all.len() > 1 { Some(LinkError::Several(all)) } else { all.pop() }
    }
}

/// An import that nobody satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Who imports.
    pub component: String,
    /// What.
    pub import: String,
    /// What comes nearest to it.
    pub near: Option<Near>,
}

/// Something that nearly satisfies an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// A component exports it at a version that isn't compatible.
    Version {
        /// Who.
        component: String,
        /// What.
        export: String,
    },
    /// Only the component itself exports it.
    Itself,
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { component, import, near } = self;
        write!(f, "component `{component}` imports `{import}`, which neither the host nor another component provides: ")?;
        match near {
            Some(Near::Version { component: other, export }) => {
                write!(f, "`{other}` exports `{export}`, whose version isn't compatible; build one of the two against the other's")
            }
            Some(Near::Itself) => write!(f, "only `{component}` itself exports it; add a component that does"),
            None => write!(f, "add a component that exports it, or build `{component}` without it"),
        }
    }
}

/// A type that can't be copied from one store to another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "component `{component}` imports `{import}` from `{provider}`, which runs by itself, so that values are copied between the two: {at} has `{found}`, and {what} can't be copied; hand over plain values there"
)]
pub struct Uncopied {
    /// Who imports.
    pub component: String,
    /// What.
    pub import: String,
    /// Who provides it.
    pub provider: String,
    /// Where in the interface: ``function `open`, result``.
    pub at: String,
    /// The type there, in WIT's words.
    pub found: String,
    /// What it is about it.
    pub what: &'static str,
}

/// Two sides of a link whose types differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Who imports.
    pub component: String,
    /// What.
    pub import: String,
    /// Who provides it.
    pub provider: String,
    /// Under which name.
    pub export: String,
    /// Where they differ: ``function `get`, parameter `key`, field `id` ``; empty where it is the whole.
    pub at: String,
    /// What the importer expects there, in WIT's words.
    pub expected: String,
    /// What the provider has.
    pub found: String,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { component, import, provider, export, at, expected, found } = self;
        write!(f, "component `{component}` imports `{import}` from `{provider}`")?;
        if export != import {
            write!(f, " (`{export}`)")?;
        }
        let at = if at.is_empty() { String::new() } else { format!("{at}: ") };
        write!(
            f,
            " with another type: {at}`{component}` expects {expected}, `{provider}` has {found}; build both against one version of the interface"
        )
    }
}

fn imports_text(imports: &[String]) -> String {
    if imports.is_empty() { "it imports nothing".to_owned() } else { format!("it imports {}", names_text(imports)) }
}

fn near_text(near: &Option<String>) -> String {
    near.as_ref().map(|export| format!("; it exports `{export}`, whose version isn't compatible")).unwrap_or_default()
}

/// Names in one sentence, at most so many of them.
fn names_text(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        _ if names.len() > SHOWN => format!("{} and {} more", quoted.join(", "), names.len() - SHOWN),
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

fn chain_text(components: &[String]) -> String {
    let around = components.iter().chain(components.first());
    around.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" -> ")
}

fn entry_text(exists: bool, candidates: &[String]) -> String {
    let who = if candidates.is_empty() { "none does".to_owned() } else { format!("these do: {}", names_text(candidates)) };
    if exists {
        format!("it doesn't export an HTTP handler; {who}")
    } else {
        format!("the workload has no such component; of HTTP handlers {who}")
    }
}

fn several_text(all: &[LinkError]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
