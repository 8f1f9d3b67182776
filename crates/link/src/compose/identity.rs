//! What a composed component is known by without being composed: its members and the decisions about them.

use berth_model::digest::Digest;

use crate::plan::{LinkPlan, Unit, Way};

/// What planning and composing make of equal input; to be changed whenever that changes, so that nothing made before passes for what would
/// be made now. A test pins what stands for it.
pub const FORMAT: u32 = 2;

/// The digest that stands for `unit` of `plan` composed, where `digests` are those of all parts' bytes: equal for equal bytes of the members
/// in the same seats with the same links among them, and for nothing else. Names of components and who else is in the workload don't count.
///
/// No component has it as its own digest: it is one of a text.
pub fn identity(plan: &LinkPlan, unit: &Unit, digests: &[Digest]) -> Digest {
    let seat = |part: usize| unit.members.iter().position(|member| *member == part);
    let mut text = format!("berth composed component {FORMAT}\n");
    // Each line ends what it says: digests have one length, and names of imports no line ends.
    for part in &unit.members {
        text.push_str(&format!("member {}\n", digests[*part]));
    }
    let mut links: Vec<String> = Vec::new();
    for (importer, part) in unit.members.iter().enumerate() {
        for link in plan.links_of(*part).filter(|link| link.way == Way::Fused) {
            // A fused link leads to a member: that is what makes the unit.
            let exporter = seat(link.exporter).map_or_else(|| "-".to_owned(), |seat| seat.to_string());
            links.push(format!("link {importer} {:?} {exporter} {:?}\n", link.import, link.export));
        }
    }
    links.sort();
    text.extend(links);
    Digest::of(text.as_bytes())
}
