//! `links` of a component or the service: which sibling satisfies which import.

use super::checker::Checker;
use crate::path::Path;
use crate::resource::{LinkSpec, WorkloadSpec};
use crate::suggest::hint;
use crate::text::quote;
use crate::workload::Link;

/// Most entries of one component. An import needs one at most, and components with more imports that are in doubt don't occur.
pub const MAX_LINKS: usize = 64;

/// Checks the entries of the component `owner`, or of the service where there is no such name. Whether it has such imports, and whether
/// the component exports what they want, is known only to who has their bytes.
pub(super) fn check(checker: &mut Checker<'_>, links: &[LinkSpec], owner: Option<&str>, spec: &WorkloadSpec, path: &Path<'_>) -> Vec<Link> {
    let list = path.field("links");
    checker.demand(links.len() <= MAX_LINKS, &list, || format!("must have at most {MAX_LINKS} entries, but has {}", links.len()));
    let mut checked: Vec<Link> = Vec::new();
    for (index, link) in links.iter().enumerate().take(MAX_LINKS) {
        let path = list.index(index);
        if let Some(component) = &link.component {
            provider(checker, component, owner, spec, &path.field("component"));
        }
        let place = path.field("import");
        if link.import.is_empty() {
            checker.wrong(&place, "is missing");
            continue;
        }
        let Some(import) = checker.parse(&link.import, &place) else { continue };
        let link = Link { import, component: link.component.clone(), fuse: link.fuse };
        match checked.iter().find(|other| other.import.meets(&link.import)) {
            Some(other) => checker.wrong(&place, format!("another entry is for the import `{}` too", other.import)),
            None => checked.push(link),
        }
    }
    checked
}

fn provider(checker: &mut Checker<'_>, component: &str, owner: Option<&str>, spec: &WorkloadSpec, path: &Path<'_>) {
    let known = || spec.components.iter().map(|component| component.name.as_str());
    if owner == Some(component) {
        checker.wrong(path, format!("component `{}` can't be linked to itself; name another one", quote(component)));
    } else if !known().any(|name| name == component) {
        let others = known().filter(|name| Some(*name) != owner);
        checker.wrong(path, format!("the workload has no component `{}`{}", quote(component), hint(component, others)));
    }
}
