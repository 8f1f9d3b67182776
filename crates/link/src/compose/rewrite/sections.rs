//! The sections of a component, and names in them replaced where they stand.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAliasSectionReader, ComponentExportSectionReader, ComponentImportSectionReader,
    ComponentInstanceSectionReader, ComponentTypeSectionReader,
};

/// Magic number, version and layer.
pub(super) const HEADER_BYTES: usize = 8;

// Binary format of components: ids of sections.
pub(super) const CUSTOM: u8 = 0;
pub(super) const COMPONENT: u8 = 4;
pub(super) const INSTANCES: u8 = 5;
pub(super) const ALIASES: u8 = 6;
pub(super) const TYPES: u8 = 7;
pub(super) const IMPORTS: u8 = 10;
pub(super) const EXPORTS: u8 = 11;

/// A section of a component's outermost level.
pub(super) struct Section<'a> {
    pub(super) id: u8,
    pub(super) body: &'a [u8],
    /// Where its body begins in the component.
    at: usize,
}

/// All sections in order.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(HEADER_BYTES)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let at = reader.original_position();
        sections.push(Section { id, body: reader.read_bytes(size)?, at });
    }
    Ok(sections)
}

impl<'a> Section<'a> {
    fn reader(&self) -> BinaryReader<'a> {
        BinaryReader::new(self.body, self.at)
    }

    pub(super) fn imports(&self) -> Result<ComponentImportSectionReader<'a>, BinaryReaderError> {
        ComponentImportSectionReader::new(self.reader())
    }

    pub(super) fn exports(&self) -> Result<ComponentExportSectionReader<'a>, BinaryReaderError> {
        ComponentExportSectionReader::new(self.reader())
    }

    pub(super) fn types(&self) -> Result<ComponentTypeSectionReader<'a>, BinaryReaderError> {
        ComponentTypeSectionReader::new(self.reader())
    }

    pub(super) fn aliases(&self) -> Result<ComponentAliasSectionReader<'a>, BinaryReaderError> {
        ComponentAliasSectionReader::new(self.reader())
    }

    pub(super) fn instances(&self) -> Result<ComponentInstanceSectionReader<'a>, BinaryReaderError> {
        ComponentInstanceSectionReader::new(self.reader())
    }
}

/// `body` with other names: each old one is a slice of it, in order, and stands after its length there.
pub(super) fn with_names(body: &[u8], names: &[(&str, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16 * names.len());
    let mut copied = 0;
    for (old, new) in names {
        let at = old.as_ptr().addr() - body.as_ptr().addr();
        // The length's last byte stands before the name, and those before it have the highest bit set. What comes before a length (how
        // the name is written, or the last byte of an index) hasn't.
        let mut length = at - 1;
        while length > copied && body[length - 1] & 0x80 != 0 {
            length -= 1;
        }
        out.extend_from_slice(&body[copied..length]);
        text(&mut out, new);
        copied = at + old.len();
    }
    out.extend_from_slice(&body[copied..]);
    out
}

/// A text after its length.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Unsigned LEB128.
pub(super) fn number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_where_they_stand_however_their_length_is_written() {
        // A byte, the length of `ab` in one byte and in three, and what follows each.
        let body = [0x00, 2, b'a', b'b', 0x01, 0x7f, 0x82, 0x80, 0x00, b'a', b'b', 9];
        let (first, second) = (std::str::from_utf8(&body[2..4]).unwrap(), std::str::from_utf8(&body[9..11]).unwrap());
        let long = "x".repeat(200);
        let changed = with_names(&body, &[(first, long.clone()), (second, String::new())]);
        let mut expected = vec![0x00, 0xc8, 0x01];
        expected.extend_from_slice(long.as_bytes());
        expected.extend_from_slice(&[0x01, 0x7f, 0x00, 9]);
        assert_eq!(changed, expected);
        assert_eq!(with_names(&body, &[]), body);
    }
}
