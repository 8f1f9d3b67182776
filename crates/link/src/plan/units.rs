//! Which components become one.

use std::collections::BTreeSet;

use super::{Link, Part, Role, Unit, Way, entry};
use crate::error::LinkError;

/// Most members of a unit, its root included.
pub const MAX_MEMBERS: usize = 32;

/// The units, by root, or all that are too large or have a member that can't be composed.
pub(super) fn of(parts: &[Part<'_>], links: &[Link]) -> Result<Vec<Unit>, LinkError> {
    let is_fused = |part: usize| links.iter().any(|link| link.exporter == part && link.way == Way::Fused);
    // What nobody is fused with may still be called by the host.
    let is_root = |part: &usize| parts[*part].role == Role::Service || entry::answers_http(&parts[*part]) || !is_fused(*part);
    let (mut units, mut wrong) = (Vec::new(), Vec::new());
    let mut unfit = BTreeSet::new();
    for root in (0..parts.len()).filter(is_root) {
        let others = fused_with(root, links);
        let members: Vec<usize> = std::iter::once(root).chain(others).collect();
        if members.len() > MAX_MEMBERS {
            wrong.push(LinkError::TooManyMembers { component: parts[root].name.to_owned(), members: members.len() });
        } else if members.len() > 1 {
            unfit.extend(members.iter().copied().filter(|part| parts[*part].world.odd.is_some()));
        }
        units.push(Unit { root, members });
    }
    wrong.extend(unfit.into_iter().filter_map(|part| {
        let (name, kind) = parts[part].world.odd.as_ref()?;
        Some(LinkError::Unfit { component: parts[part].name.to_owned(), name: name.clone(), kind })
    }));
    LinkError::of(wrong).map_or(Ok(units), Err)
}

/// What `root` is fused with, directly and through others, without itself.
fn fused_with(root: usize, links: &[Link]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(part) = open.pop() {
        let fused = links.iter().filter(|link| link.importer == part && link.way == Way::Fused);
        open.extend(fused.map(|link| link.exporter).filter(|exporter| found.insert(*exporter)));
    }
    found
}
