//! What is compiled: a component as it is, or one that is still to be composed.
//!
//! A composed component is known by what it is made of ([`berth_link::identity`]), so that its code is found without composing it.

use std::ops::Range;
use std::sync::Arc;

use berth_link::{ComposeError, Composed, LinkPlan};
use bytes::Bytes;

use crate::intake;

/// How to get the bytes that are compiled. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Recipe {
    /// They are there.
    Whole(Bytes),
    /// They are made of those of several components.
    Composed(Arc<Unit>),
}

/// A unit of several members.
pub(crate) struct Unit {
    pub(crate) plan: Arc<LinkPlan>,
    pub(crate) unit: berth_link::Unit,
    /// Of all parts of the plan.
    pub(crate) parts: Vec<Bytes>,
}

/// The bytes that are compiled.
pub(super) struct Made {
    pub(super) bytes: Bytes,
    /// Of a composed one: where the binaries of the members lie in it, by their seats.
    pub(super) spans: Vec<(Range<u64>, usize)>,
}

impl From<Bytes> for Recipe {
    fn from(bytes: Bytes) -> Recipe {
        Recipe::Whole(bytes)
    }
}

impl Recipe {
    /// The bytes: composed now, where they are to be composed.
    pub(super) fn make(&self) -> Result<Made, ComposeError> {
        let of = match self {
            Recipe::Whole(bytes) => return Ok(Made { bytes: bytes.clone(), spans: Vec::new() }),
            Recipe::Composed(of) => of,
        };
        let parts: Vec<&[u8]> = of.parts.iter().map(AsRef::as_ref).collect();
        let Composed { bytes, spans } = berth_link::compose(&of.plan, &of.unit, &parts)?;
        Ok(Made { bytes: bytes.into(), spans })
    }

    /// What it holds in memory, bytes.
    pub(super) fn holds(&self) -> usize {
        match self {
            Recipe::Whole(bytes) => bytes.len(),
            Recipe::Composed(of) => of.parts.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether they will need the engine for WASI 0.3: those of several do when those of one do.
    pub(super) fn uses_p3(&self) -> bool {
        let uses_p3 = |bytes: &Bytes| intake::outline(bytes).is_ok_and(|found| found.uses_p3());
        match self {
            Recipe::Whole(bytes) => uses_p3(bytes),
            Recipe::Composed(of) => of.unit.members.iter().any(|part| uses_p3(&of.parts[*part])),
        }
    }
}
