//! How HTTP requests reach a workload.

use super::checker::Checker;
use super::names;
use crate::domain::Domain;
use crate::interface::HostInterface;
use crate::path::Path;
use crate::resource::WorkloadSpec;
use crate::suggest::hint;
use crate::text::quote;
use crate::workload::HttpEntry;

/// Exports of a component that answers HTTP: WASI 0.2's and 0.3's.
const HANDLERS: [&str; 2] = ["incoming-handler", "handler"];

/// The domains of every `wasi:http` entry with a handler, the user's own first, and the component they lead to. `config` of an
/// entry says `host`, `host-aliases` and `component`. The Service's names come on top; they are put into `host-aliases` too, for
/// entries of both WASI versions, as that is how they reach a host.
pub(super) fn entry(
    checker: &mut Checker<'_>,
    spec: &WorkloadSpec,
    interfaces: &mut [(usize, HostInterface)],
    spec_path: &Path<'_>,
) -> Option<HttpEntry> {
    let mut entry = HttpEntry::default();
    let mut serves = false;
    for (index, interface) in interfaces.iter().filter(|(_, interface)| is_handler(interface)) {
        serves = true;
        // Values may come from a ConfigMap, so the place is the entry and the key.
        let place = spec_path.field("hostInterfaces");
        let place = place.index(*index);
        let place = place.field("config");
        domains(checker, interface, &mut entry.domains, &place);
        component(checker, spec, interface, &mut entry.component, &place.field("component"));
    }
    if !serves {
        return None;
    }
    if let Some(service) = service_name(spec) {
        let kubernetes = spec_path.field("kubernetes");
        let place = kubernetes.field("service");
        names::dns_label(checker, service, &place.field("name"));
        // A name or namespace that makes no domain has been reported as such.
        let aliases: Vec<Domain> = service_domains(service, checker.namespace).iter().filter_map(|name| name.parse().ok()).collect();
        for (_, interface) in interfaces.iter_mut().filter(|(_, interface)| is_handler(interface)) {
            add_aliases(interface, &aliases);
        }
        aliases.into_iter().for_each(|alias| add(&mut entry.domains, alias));
    }
    Some(entry)
}

fn is_handler(interface: &HostInterface) -> bool {
    interface.namespace == "wasi"
        && interface.package == "http"
        && interface.interfaces.iter().any(|name| HANDLERS.contains(&name.as_str()))
}

fn domains(checker: &mut Checker<'_>, interface: &HostInterface, domains: &mut Vec<Domain>, place: &Path<'_>) {
    if let Some(host) = interface.config.get("host") {
        let place = place.field("host");
        if host.trim().is_empty() {
            checker.wrong(&place, "is empty; name a domain, or leave `host` out to serve every domain that no other workload claims");
        } else if let Some(domain) = checker.parse(host.trim(), &place) {
            add(domains, domain);
        }
    }
    for alias in aliases(interface) {
        if let Some(domain) = checker.parse(alias, &place.field("host-aliases")) {
            add(domains, domain);
        }
    }
}

/// The user's own aliases.
fn aliases(interface: &HostInterface) -> impl Iterator<Item = &str> {
    let aliases = interface.config.get("host-aliases").map_or("", String::as_str);
    aliases.split(',').map(str::trim).filter(|alias| !alias.is_empty())
}

fn add_aliases(interface: &mut HostInterface, more: &[Domain]) {
    let mut all: Vec<String> = aliases(interface).map(str::to_owned).collect();
    all.extend(more.iter().map(ToString::to_string).filter(|alias| !aliases(interface).any(|own| own == alias)));
    interface.config.insert("host-aliases".to_owned(), all.join(","));
}

fn component(checker: &mut Checker<'_>, spec: &WorkloadSpec, interface: &HostInterface, found: &mut Option<String>, place: &Path<'_>) {
    let Some(name) = interface.config.get("component") else { return };
    let known = || spec.components.iter().map(|component| component.name.as_str());
    checker.demand(known().any(|known| known == name), place, || {
        format!("the workload has no component `{}`{}", quote(name), hint(name, known()))
    });
    if let Some(other) = found.as_ref().filter(|other| *other != name) {
        let message = format!("another wasi:http entry leads to component `{}`; requests can be led to one only", quote(other));
        checker.wrong(place, message);
    }
    found.get_or_insert_with(|| name.clone());
}

fn add(domains: &mut Vec<Domain>, domain: Domain) {
    if !domains.contains(&domain) {
        domains.push(domain);
    }
}

/// The Service of the workload's own namespace that leads to it.
pub(super) fn service_name(spec: &WorkloadSpec) -> Option<&str> {
    spec.kubernetes.as_ref()?.service.as_ref().map(|service| service.name.as_str())
}

/// The names that the cluster's DNS gives a Service.
/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
fn service_domains(service: &str, namespace: &str) -> [String; 3] {
    let short = format!("{service}.{namespace}");
    [short.clone(), format!("{short}.svc"), format!("{short}.svc.cluster.local")]
}
