//! One component made of a unit's members.
//!
//! Each member but the root is first rewritten so that it imports what carries authority under names of its own ([`crate::renamed`],
//! [`crate::renamed_function`]), and so that its bytes can be told from any other's. The graph then has one instance of each, fed by those
//! it is linked to; what is left open becomes an import of the whole, of which shared ones of several members merge, also at different
//! compatible versions. The root's exports are the whole's.

mod identity;
mod rewrite;
mod spans;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
use wasmparser::{Parser, ValidPayload, Validator, WasmFeatures};

use crate::plan::{Link, LinkPlan, Unit, Way};
pub use identity::{FORMAT, identity};
use rewrite::{Fault, Rewritten};

/// Most bytes of a composed component, and of its members together.
pub const MAX_COMPOSED_BYTES: usize = 512 << 20;

/// One component made of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The component.
    pub bytes: Vec<u8>,
    /// Where each member's own binary lies in it, with the member's seat, in the order of the bytes: the offset of a trap's frame names the
    /// member.
    pub spans: Vec<(Range<u64>, usize)>,
}

impl Composed {
    /// The seat of the member whose code is at `offset`.
    pub fn seat_at(&self, offset: u64) -> Option<usize> {
        self.spans.iter().find(|(span, _)| span.contains(&offset)).map(|(_, seat)| *seat)
    }
}

/// Why a unit can't be composed. Members are told by their seats, their places in [`Unit::members`]: what one [`identity`] stands for fails
/// alike in every plan, also where the parts have other numbers. Who knows the member's name puts it in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The bytes of a member are missing.
    #[error("it was handed over without bytes")]
    NoBytes {
        /// The member's seat.
        seat: usize,
    },
    /// A member's bytes are no component, or one of a form that can't be composed.
    #[error("it can't be read: {message}")]
    Member {
        /// The member's seat.
        seat: usize,
        /// What is wrong.
        message: String,
    },
    /// What a member makes of a divided interface can't be told from what another makes ([`crate::is_divided`]).
    #[error("it can't have sockets of its own: {message}. Use those of WASI 0.2, or call it over HTTP")]
    Undivided {
        /// The member's seat.
        seat: usize,
        /// Why.
        message: String,
    },
    /// The members together are too large.
    #[error("the components have {bytes} bytes together, and the limit for those that are linked is {MAX_COMPOSED_BYTES}")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// An import of one member can't be satisfied by the other's export after all.
    #[error("its import `{import}` doesn't fit what is exported for it: {message}")]
    Link {
        /// The seat of who imports.
        importer: usize,
        /// What.
        import: String,
        /// The seat of who exports.
        exporter: usize,
        /// What is wrong.
        message: String,
    },
    /// The whole can't be made.
    #[error("the components can't be composed: {0}")]
    Compose(String),
    /// What was made isn't valid.
    #[error("the composed component is not valid: {0}; the components disagree about a type that they share")]
    Invalid(String),
}

impl ComposeError {
    /// The seat of the member that it is about; none where it is about all of them.
    pub fn seat(&self) -> Option<usize> {
        match self {
            ComposeError::NoBytes { seat } | ComposeError::Member { seat, .. } | ComposeError::Undivided { seat, .. } => Some(*seat),
            ComposeError::Link { importer, .. } => Some(*importer),
            ComposeError::TooLarge { .. } | ComposeError::Compose(_) | ComposeError::Invalid(_) => None,
        }
    }
}

/// Composes `unit` of `plan` from the bytes of all parts. The same input gives the same bytes. A unit of one member is the component as it
/// is.
///
/// # Errors
///
/// When members are missing, too large together, no components, or of types that don't fit although the plan found no fault in them.
pub fn compose(plan: &LinkPlan, unit: &Unit, bytes: &[&[u8]]) -> Result<Composed, ComposeError> {
    let of = |seat: usize, part: usize| bytes.get(part).copied().ok_or(ComposeError::NoBytes { seat });
    if unit.members.len() <= 1 {
        let bytes = of(0, unit.root)?;
        return Ok(Composed { bytes: bytes.to_vec(), spans: vec![(0..bytes.len() as u64, 0)] });
    }
    let mut total = 0;
    for (seat, part) in unit.members.iter().enumerate() {
        total += of(seat, *part)?.len();
    }
    if total > MAX_COMPOSED_BYTES {
        return Err(ComposeError::TooLarge { bytes: total });
    }
    let mut members = Vec::with_capacity(unit.members.len());
    for (seat, part) in unit.members.iter().copied().enumerate() {
        let fused = |import: &str| plan.link(part, import).is_some_and(|link| link.way == Way::Fused);
        members.push(rewrite::member(of(seat, part)?, seat, &fused).map_err(|fault| blamed(seat, &fault))?);
    }
    let bytes = encode(plan, unit, &members)?;
    validate(&bytes)?;
    let spans = spans::find(&bytes, &members)?;
    Ok(Composed { bytes, spans })
}

/// What is wrong with a member that can't be rewritten.
fn blamed(seat: usize, fault: &Fault) -> ComposeError {
    let message = fault.to_string();
    match fault {
        Fault::Binary(_) => ComposeError::Member { seat, message },
        _ => ComposeError::Undivided { seat, message },
    }
}

/// A member whose use of a divided interface has a form that isn't followed.
fn overlooked(seat: usize, interface: &str, message: String) -> ComposeError {
    blamed(seat, &Fault::Overlooked { interface: interface.to_owned(), message })
}

/// Builds the graph and writes it. The library panics where a type has a form that it doesn't know; a component must not end its host.
fn encode(plan: &LinkPlan, unit: &Unit, members: &[Rewritten]) -> Result<Vec<u8>, ComposeError> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut graph = Graph::new(unit, members)?;
        for importer in &unit.members {
            for link in plan.links_of(*importer).filter(|link| link.way == Way::Fused) {
                graph.link(link)?;
            }
        }
        graph.export_root()?;
        graph.finish()
    }));
    result.unwrap_or_else(|_| Err(ComposeError::Compose("they have types of a form that the composing library doesn't know".to_owned())))
}

/// A graph in which each member is instantiated once.
struct Graph<'a> {
    graph: CompositionGraph,
    unit: &'a Unit,
    members: &'a [Rewritten],
    /// By member.
    instances: Vec<NodeId>,
    /// What the root exports.
    exports: Vec<String>,
}

impl<'a> Graph<'a> {
    fn new(unit: &'a Unit, members: &'a [Rewritten]) -> Result<Graph<'a>, ComposeError> {
        let mut graph = CompositionGraph::new();
        let (mut instances, mut exports) = (Vec::new(), Vec::new());
        for (seat, member) in members.iter().enumerate() {
            let failed = |message: String| ComposeError::Member { seat, message };
            let name = format!("berth:m{seat}");
            let package = Package::from_bytes(&name, None, member.bytes.clone(), graph.types_mut());
            let package = package.map_err(|error| {
                let message = format!("{error:#}");
                // Valid before, if it isn't now: something in it still asks for a function under its old name. Else the library may just not
                // know a form of types that others do.
                match &member.divided {
                    Some(interface) if validate(&member.bytes).is_err() => overlooked(seat, interface, message),
                    _ => failed(message),
                }
            })?;
            if seat == 0 {
                exports = graph.types()[package.ty()].exports.keys().cloned().collect();
            }
            let package = graph.register_package(package).map_err(|error| failed(text(&error)))?;
            instances.push(graph.instantiate(package));
        }
        Ok(Graph { graph, unit, members, instances, exports })
    }

    fn link(&mut self, link: &Link) -> Result<(), ComposeError> {
        let seat = |part: usize| self.unit.members.iter().position(|member| *member == part);
        let (Some(importer), Some(exporter)) = (seat(link.importer), seat(link.exporter)) else {
            return Err(ComposeError::Compose(format!("one of those that `{}` links isn't among them", link.import)));
        };
        let failed = |message: String| match self.members[exporter].passed_on.get(&link.export) {
            // What makes sockets there has the exporter's name, which the importer can't ask for.
            Some(interface) => overlooked(exporter, interface, message),
            None => ComposeError::Link { importer, import: link.import.clone(), exporter, message },
        };
        let export = self.graph.alias_instance_export(self.instances[exporter], &link.export).map_err(|error| failed(text(&error)))?;
        self.graph.set_instantiation_argument(self.instances[importer], &link.import, export).map_err(|error| failed(text(&error)))
    }

    fn export_root(&mut self) -> Result<(), ComposeError> {
        for name in std::mem::take(&mut self.exports) {
            let failed = |message: String| ComposeError::Compose(format!("`{name}` can't be exported: {message}"));
            let export = self.graph.alias_instance_export(self.instances[0], &name).map_err(|error| failed(text(&error)))?;
            self.graph.export(export, &name).map_err(|error| failed(text(&error)))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, ComposeError> {
        // Validated here, by the version of the parser that the engine uses.
        let options = EncodeOptions { define_components: true, validate: false, processor: None };
        self.graph.encode(options).map_err(|error| ComposeError::Compose(text(&error)))
    }
}

/// The structure of the whole. Bodies of functions are the members' own and validated where they are compiled.
fn validate(bytes: &[u8]) -> Result<(), ComposeError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    for payload in Parser::new(0).parse_all(bytes) {
        let checked = payload.and_then(|payload| validator.payload(&payload).map(|valid| matches!(valid, ValidPayload::End(_))));
        checked.map_err(|error| ComposeError::Invalid(error.message().to_owned()))?;
    }
    Ok(())
}

/// An error with its sources.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
