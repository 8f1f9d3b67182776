//! A member's binary with other names for what it imports.
//!
//! Only names are written anew, in the sections of the component's outermost level (and, of a divided interface's functions, in the
//! components within that are given it, see [`divide`]); all else is copied as it stands, so that types go on to refer to each other. A
//! custom section says which member it is: of two members with equal bytes a trap still names the right one.

mod divide;
mod sections;

use std::collections::BTreeMap;

use wasmparser::BinaryReaderError;

use self::divide::Divided;
use self::sections::{CUSTOM, HEADER_BYTES, IMPORTS, Section, number, sections, text, with_names};
use crate::authority::{is_divided, renamed};

/// Name of the custom section.
const MARK: &str = "berth:member";

/// A member as it is composed.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
    /// An interface of which it imports functions under names of its own.
    pub(super) divided: Option<String>,
    /// Its exports that are such an interface, passed on as it is imported, with the interface.
    pub(super) passed_on: BTreeMap<String, String>,
}

/// Why a member can't be written anew.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Its bytes can't be read.
    #[error("{0}")]
    Binary(String),
    /// It asks for a function under a name that can't be one of its own.
    #[error("it asks for `{function}` of {interface}, which can't be told from what another component is given")]
    Function { interface: String, function: String },
    /// A divided interface's type isn't where its functions could be renamed.
    #[error("it imports {interface} by a type that isn't written out")]
    Type { interface: String },
    /// A divided interface's functions can't be renamed without those of another import.
    #[error("it imports {interface} by a type by which it also imports something else")]
    Shared { interface: String },
    /// Components are within each other too deep.
    #[error("the components in it that are given {interface} lie more than {most} deep")]
    Nested { interface: String, most: usize },
    /// Something in it asks for a function of a divided interface under the name that it had.
    #[error("it passes {interface} on in a form that isn't followed ({message})")]
    Overlooked { interface: String, message: String },
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Fault {
        Fault::Binary(error.message().to_owned())
    }
}

/// Renames what member `member` imports from the host. What is `fused` isn't imported from there.
pub(super) fn member(bytes: &[u8], member: usize, fused: &dyn Fn(&str) -> bool) -> Result<Rewritten, Fault> {
    let all = sections(bytes)?;
    let divided = Divided::find(&all, member, &|import| is_divided(import) && !fused(import))?;
    let mut out = Vec::with_capacity(bytes.len() + 256);
    out.extend_from_slice(&bytes[..HEADER_BYTES]);
    for (place, section) in all.iter().enumerate() {
        let written =
            if section.id == IMPORTS && member > 0 { Some(imports(section, member, fused)?) } else { divided.section(place, section)? };
        write(&mut out, section.id, written.as_deref().unwrap_or(section.body));
    }
    let mut mark = Vec::new();
    text(&mut mark, MARK);
    mark.extend_from_slice(&u32::try_from(member).unwrap_or(u32::MAX).to_le_bytes());
    write(&mut out, CUSTOM, &mark);
    if member == 0 {
        // The root's functions keep their names.
        return Ok(Rewritten { bytes: out, divided: None, passed_on: BTreeMap::new() });
    }
    Ok(Rewritten { bytes: out, divided: divided.interface().map(str::to_owned), passed_on: divided.passed_on })
}

/// A section of imports under their names for `member`.
fn imports(section: &Section<'_>, member: usize, fused: &dyn Fn(&str) -> bool) -> Result<Vec<u8>, Fault> {
    let mut names = Vec::new();
    for import in section.imports()? {
        let name = import?.name.name;
        if !fused(name) {
            names.push((name, renamed(member, name)));
        }
    }
    Ok(with_names(section.body, &names))
}

fn write(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    out.push(id);
    number(out, body.len());
    out.extend_from_slice(body);
}
