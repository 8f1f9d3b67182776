//! One entry: compiled code, what its component is, and the authentication code of both.
//!
//! ```text
//! code | meta (JSON) | length of meta (u32, little endian) | HMAC-SHA-256 of the entry's name and all before it | FORMAT
//! ```
//! The code comes first, so that the file can be mapped into memory as it is.

use std::ops::Range;

use berth_link::LinkPlan;
use berth_model::digest::Digest;
use serde::{Deserialize, Serialize};

use super::Told;
use super::key::{Key, TAG_BYTES};
use crate::intake::Inspection;

/// What an entry ends with; changes with the layout of entries or the meaning of their meta.
pub(super) const FORMAT: &[u8; 8] = b"berth\0c2";
const LENGTH_BYTES: usize = 4;

/// What is known of a component from having compiled it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) component: Digest,
    imports: Vec<String>,
    exports: Vec<String>,
    largest_table: u64,
    uses_async: bool,
    /// Of a composed one: where the binaries of its members lie in it, by their seats.
    spans: Vec<(Range<u64>, usize)>,
    /// Instead of code: how a workload's components are linked.
    pub(super) plan: Option<LinkPlan>,
}

impl Meta {
    pub(super) fn new(component: Digest, told: Told) -> Meta {
        let Told { inspection: Inspection { imports, exports, largest_table, uses_async }, spans } = told;
        Meta { component, imports, exports, largest_table, uses_async, spans, plan: None }
    }

    /// Of a plan that `key` stands for.
    pub(super) fn of_plan(key: Digest, plan: LinkPlan) -> Meta {
        let nothing = Inspection { imports: Vec::new(), exports: Vec::new(), largest_table: 0, uses_async: false };
        Meta { plan: Some(plan), ..Meta::new(key, Told { inspection: nothing, spans: Vec::new() }) }
    }

    pub(super) fn told(self) -> Told {
        let Meta { component: _, imports, exports, largest_table, uses_async, spans, plan: _ } = self;
        Told { inspection: Inspection { imports, exports, largest_table, uses_async }, spans }
    }
}

/// The entry of that name.
pub(super) fn seal(code: Vec<u8>, meta: &Meta, name: &str, key: &Key) -> Vec<u8> {
    let text = serde_json::to_vec(meta).expect("text and a number");
    let length = u32::try_from(text.len()).expect("names of a component of 256 MiB at most");
    let mut entry = code;
    entry.reserve_exact(text.len() + LENGTH_BYTES + TAG_BYTES + FORMAT.len());
    entry.extend_from_slice(&text);
    entry.extend_from_slice(&length.to_le_bytes());
    let tag = key.tag(name, &entry);
    entry.extend_from_slice(&tag);
    entry.extend_from_slice(FORMAT);
    entry
}

/// What the entry of that name says, if the key made it as it is.
pub(super) fn open(entry: &[u8], name: &str, key: &Key) -> Option<Meta> {
    let (rest, tag) = entry.strip_suffix(FORMAT)?.split_last_chunk::<TAG_BYTES>()?;
    if !key.made(tag, name, rest) {
        return None;
    }
    let (rest, length) = rest.split_last_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (_, text) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let inspection =
            Inspection { imports: vec!["wasi:cli/stdout@0.2.3".into()], exports: vec!["a".into()], largest_table: 7, uses_async: false };
        Meta::new(Digest::of(b"component"), Told { inspection, spans: vec![(8..90, 1)] })
    }

    #[test]
    fn l36_an_entry_opens_with_its_own_key_and_name_alone() {
        let (key, other) = (Key::of([1; 32]), Key::of([2; 32]));
        let entry = seal(b"machine code".to_vec(), &meta(), "name", &key);
        assert!(entry.starts_with(b"machine code"));
        assert_eq!(open(&entry, "name", &key), Some(meta()));
        assert_eq!(open(&entry, "other", &key), None);
        assert_eq!(open(&entry, "name", &other), None);
    }

    /// What was kept before is read by what it ends with. So the layout of an entry may change with [`FORMAT`] alone: when this test fails,
    /// change both.
    #[test]
    fn l36_the_layout_of_an_entry_changes_with_its_format_alone() {
        let text = concat!(
            r#"{"component":"sha256:6985ca1f4daa5a584a28eae043a239cb96689af1337ea13afb63e00c2bf512fa","imports":["wasi:cli/stdout@0.2.3"],"#,
            r#""exports":["a"],"largest_table":7,"uses_async":false,"spans":[[{"start":8,"end":90},1]],"plan":null}"#
        );
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        let entry = seal(b"machine code".to_vec(), &meta(), "name", &Key::of([1; 32]));
        let (before, format) = entry.split_last_chunk::<8>().unwrap();
        let (content, _tag) = before.split_last_chunk::<TAG_BYTES>().unwrap();
        assert_eq!(format, b"berth\0c2");
        assert_eq!(
            String::from_utf8_lossy(content),
            String::from_utf8_lossy(&[b"machine code".as_slice(), text.as_bytes(), &length].concat())
        );
    }

    proptest::proptest! {
        #[test]
        fn l36_no_changed_or_cut_entry_opens(at in 0_usize..200, bit in 0_u8..8, cut in 0_usize..200) {
            let key = Key::of([1; 32]);
            let entry = seal(b"machine code".to_vec(), &meta(), "name", &key);
            let mut changed = entry.clone();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            proptest::prop_assert_eq!(open(&changed, "name", &key), None);
            proptest::prop_assert_eq!(open(&entry[..cut % entry.len()], "name", &key), None);
            proptest::prop_assert_eq!(open(&entry[1 + cut % (entry.len() - 1)..], "name", &key), None);
        }
    }
}
