//! How HTTP reaches a workload. On the wire it is configuration of the `wasi:http` entries: `host`, `host-aliases`, `component`.

use berth_model::domain::Domain;
use berth_model::workload::Workload;

use crate::wire::pb;

const HOST: &str = "host";
const ALIASES: &str = "host-aliases";

/// Adds those of the workload's domains that no entry says, such as a Kubernetes Service's names, as aliases to every entry
/// that has a host, or to all if none has.
pub(super) fn write_entry(workload: &Workload, interfaces: &mut [pb::WitInterface]) {
    let Some(http) = &workload.http else { return };
    let said: Vec<Domain> = interfaces.iter().filter(|interface| is_handler(interface)).flat_map(domains).collect();
    let missing: Vec<&str> = http.domains.iter().filter(|domain| !said.contains(domain)).map(Domain::as_str).collect();
    if missing.is_empty() {
        return;
    }
    let any_host = interfaces.iter().any(|interface| is_handler(interface) && interface.config.contains_key(HOST));
    for interface in interfaces.iter_mut().filter(|interface| is_handler(interface)) {
        if any_host && !interface.config.contains_key(HOST) {
            continue;
        }
        let aliases = interface.config.entry(ALIASES.to_owned()).or_default();
        for domain in &missing {
            if !aliases.trim().is_empty() {
                aliases.push(',');
            }
            aliases.push_str(domain);
        }
    }
}

fn is_handler(interface: &pb::WitInterface) -> bool {
    let handler = |name: &String| name == "incoming-handler" || name == "handler";
    interface.namespace == "wasi" && interface.package == "http" && interface.interfaces.iter().any(handler)
}

fn domains(interface: &pb::WitInterface) -> impl Iterator<Item = Domain> {
    let host = interface.config.get(HOST).into_iter().map(String::as_str);
    let aliases = interface.config.get(ALIASES).into_iter().flat_map(|aliases| aliases.split(','));
    host.chain(aliases).filter_map(|text| text.trim().parse().ok())
}
