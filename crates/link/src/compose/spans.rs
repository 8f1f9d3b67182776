//! Where the members lie in the composed component.

use std::ops::Range;

use wasmparser::{Parser, Payload};

use super::ComposeError;
use super::rewrite::Rewritten;

/// The range of each member's binary, with its seat. Members are whole components within the outermost one, and no two of them are equal.
pub(super) fn find(bytes: &[u8], members: &[Rewritten]) -> Result<Vec<(Range<u64>, usize)>, ComposeError> {
    let mut spans = Vec::with_capacity(members.len());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| ComposeError::Invalid(error.message().to_owned()))? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentSection { unchecked_range: range, .. } if depth == 1 => {
                let binary = bytes.get(range.clone());
                let seat = members.iter().position(|member| binary == Some(member.bytes.as_slice()));
                spans.extend(seat.map(|seat| (range.start as u64..range.end as u64, seat)));
            }
            _ => {}
        }
    }
    if spans.len() == members.len() {
        Ok(spans)
    } else {
        Err(ComposeError::Invalid(format!("it holds {} of {} components", spans.len(), members.len())))
    }
}
