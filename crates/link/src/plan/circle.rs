//! Components that need each other in a circle can't be linked.

use super::{Link, Part};
use crate::error::LinkError;

/// Whether a part is being looked at or was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Refuses links that lead in a circle, of whatever way: of fused ones neither could be instantiated first, and a call through others
/// would never end. Components that call each other by name are another matter; the host bounds how deep that goes.
pub(super) fn refuse(parts: &[Part<'_>], links: &[Link]) -> Result<(), LinkError> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); parts.len()];
    for link in links {
        if !next[link.importer].contains(&link.exporter) {
            next[link.importer].push(link.exporter);
        }
    }
    let mut marks = vec![Mark::New; parts.len()];
    for start in 0..parts.len() {
        if let Some(circle) = walk(&next, &mut marks, start) {
            let components = circle.into_iter().map(|part| parts[part].name.to_owned()).collect();
            return Err(LinkError::Cycle { components });
        }
    }
    Ok(())
}

/// Goes everywhere from `start`, and returns the first circle there is.
fn walk(next: &[Vec<usize>], marks: &mut [Mark], start: usize) -> Option<Vec<usize>> {
    if marks[start] != Mark::New {
        return None;
    }
    marks[start] = Mark::Open;
    // The way here, each with how many of its links were followed.
    let mut way = vec![(start, 0)];
    while let Some((part, followed)) = way.last_mut() {
        let Some(to) = next[*part].get(*followed).copied() else {
            marks[*part] = Mark::Done;
            way.pop();
            continue;
        };
        *followed += 1;
        match marks[to] {
            Mark::New => {
                marks[to] = Mark::Open;
                way.push((to, 0));
            }
            Mark::Open => return Some(way.iter().map(|(part, _)| *part).skip_while(|part| *part != to).collect()),
            Mark::Done => {}
        }
    }
    None
}
