//! A member's binary with other names for its imports.
//!
//! Only the sections of imports at the component's outermost level are written anew; all else is copied as it stands, so that types go on
//! to refer to each other. A custom section says which member it is: of two members with equal bytes a trap still names the right one.

use wasmparser::{BinaryReader, BinaryReaderError};

use crate::authority::renamed;

/// Magic number, version and layer.
const HEADER_BYTES: usize = 8;
/// Binary format of components: id of the section of imports, and of custom sections.
const IMPORTS: u8 = 10;
const CUSTOM: u8 = 0;
/// Name of the custom section.
const MARK: &str = "berth:member";

/// A member as it is composed.
pub(super) struct Rewritten {
    pub(super) bytes: Vec<u8>,
}

/// Renames what member `member` imports from the host. What is `fused` isn't imported from there.
pub(super) fn member(bytes: &[u8], member: usize, fused: &dyn Fn(&str) -> bool) -> Result<Rewritten, BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    let mut out = Vec::with_capacity(bytes.len() + 256);
    out.extend_from_slice(reader.read_bytes(HEADER_BYTES)?);
    while !reader.eof() {
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let at = reader.original_position();
        let section = reader.read_bytes(size)?;
        if id == IMPORTS && member > 0 {
            let section = imports(section, at, &|import| if fused(import) { import.to_owned() } else { renamed(member, import) })?;
            write_section(&mut out, id, &section);
        } else {
            write_section(&mut out, id, section);
        }
    }
    let mut mark = Vec::new();
    write_text(&mut mark, MARK);
    mark.extend_from_slice(&u32::try_from(member).unwrap_or(u32::MAX).to_le_bytes());
    write_section(&mut out, CUSTOM, &mark);
    Ok(Rewritten { bytes: out })
}

/// A section of imports, whose first byte is at `at`. Each begins with how its name is written, one byte, and its name.
fn imports(section: &[u8], at: usize, rename: &dyn Fn(&str) -> String) -> Result<Vec<u8>, BinaryReaderError> {
    let mut out = Vec::with_capacity(section.len() + 64);
    let reader = BinaryReader::new(section, at);
    let imports = wasmparser::ComponentImportSectionReader::new(reader)?;
    write_number(&mut out, imports.count() as usize);
    let starts: Vec<usize> =
        imports.into_iter_with_offsets().map(|import| import.map(|(start, _)| start - at)).collect::<Result<_, _>>()?;
    let ends = starts.iter().copied().skip(1).chain([section.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let mut reader = BinaryReader::new(&section[start..end], at + start);
        out.push(reader.read_u8()?);
        write_text(&mut out, &rename(reader.read_unlimited_string()?));
        let rest = reader.bytes_remaining();
        out.extend_from_slice(reader.read_bytes(rest)?);
    }
    Ok(out)
}

fn write_section(out: &mut Vec<u8>, id: u8, section: &[u8]) {
    out.push(id);
    write_number(out, section.len());
    out.extend_from_slice(section);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Unsigned LEB128.
fn write_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
