//! Links the components of a workload (D4): who satisfies whose imports, and one component made of those that run together.
//!
//! [`World::read`] takes the types of a component's imports and exports out of its bytes. [`plan`] decides, from types alone, which
//! import leads where, or says what is wrong; [`compose`] makes one component of a unit's members, in which each keeps an authority of its
//! own (L38). All of it is values in, values out: no engine, no files, no clock.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod check;
mod compose;
mod error;
mod explain;
mod plan;
mod wit;
mod world;

pub use authority::{carries_authority, is_divided, renamed, renamed_function};
pub use compose::{ComposeError, Composed, FORMAT, MAX_COMPOSED_BYTES, compose, identity};
pub use error::{LinkError, Mismatch, Missing, Near, Uncopied};
pub use explain::{Explained, ExplainedLink, ExplainedUnit, HostImport};
pub use plan::{Link, LinkPlan, MAX_MEMBERS, Part, Role, Unit, Way, plan};
pub use world::{MAX_COMPONENT_BYTES, MAX_NAMES, MAX_TYPES, ReadError, World};
