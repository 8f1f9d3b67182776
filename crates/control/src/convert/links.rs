//! Links of a component. They are Berth's own: upstream's messages have no place for them.

use berth_model::resource::LinkSpec;
use berth_model::workload::Link;

use crate::wire::ext;

pub(super) fn links_to_wire(links: &[Link]) -> Option<ext::Links> {
    let link =
        |link: &Link| ext::Link { import: link.import.to_string(), component: link.component.clone().unwrap_or_default(), fuse: link.fuse };
    (!links.is_empty()).then(|| ext::Links { links: links.iter().map(link).collect() })
}

/// The links as a manifest would write them, so that the manifest's rules check them.
pub(super) fn links_to_spec(wire: Option<ext::Links>) -> Vec<LinkSpec> {
    let link = |link: ext::Link| LinkSpec {
        import: link.import,
        component: Some(link.component).filter(|component| !component.is_empty()),
        fuse: link.fuse,
    };
    wire.map(|wire| wire.links.into_iter().map(link).collect()).unwrap_or_default()
}
