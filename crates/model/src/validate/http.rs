//! How HTTP requests reach a workload.

use std::collections::HashSet;

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

/// The domains of every `wasi:http` entry with a handler, and the component they lead to. `config` of an entry says `host`,
/// `host-aliases` and `component`. The Service's names are put into `host-aliases`, for entries of both WASI versions, as that is
/// how they reach a host. The domains and their order are read from the entries after that, so that a host finds the same.
pub(super) fn entry(
    checker: &mut Checker<'_>,
    spec: &WorkloadSpec,
    interfaces: &mut [(usize, HostInterface)],
    spec_path: &Path<'_>,
) -> Option<HttpEntry> {
    if !interfaces.iter().any(|(_, interface)| is_handler(interface)) {
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
    }
    let (mut hosts, mut aliases, mut answers) = (Vec::new(), Vec::new(), None);
    for (index, interface) in interfaces.iter().filter(|(_, interface)| is_handler(interface)) {
        // Values may come from a ConfigMap, so the place is the entry and the key.
        let place = spec_path.field("hostInterfaces");
        let place = place.index(*index);
        let place = place.field("config");
        let secret = spec.host_interfaces.get(*index).is_some_and(|entry| !entry.secret_from.is_empty());
        domains(checker, (interface, secret), &mut hosts, &mut aliases, &place);
        component(checker, spec, (interface, secret), &mut answers, &place.field("component"));
    }
    Some(HttpEntry { domains: in_order(hosts, aliases, checker.namespace), component: answers })
}

fn is_handler(interface: &HostInterface) -> bool {
    interface.namespace == "wasi"
        && interface.package == "http"
        && interface.interfaces.iter().any(|name| HANDLERS.contains(&name.as_str()))
}

/// A domain. One that may come from a Secret isn't quoted in what is said of it.
fn domain(checker: &mut Checker<'_>, text: &str, secret: bool, place: &Path<'_>) -> Option<Domain> {
    match text.parse() {
        Err(_) if secret => {
            checker.wrong(place, "is not a domain; it isn't shown, as it may come from a Secret");
            None
        }
        parsed => checker.keep(parsed, place),
    }
}

fn domains(
    checker: &mut Checker<'_>,
    (interface, secret): (&HostInterface, bool),
    hosts: &mut Vec<Domain>,
    more: &mut Vec<Domain>,
    place: &Path<'_>,
) {
    if let Some(host) = interface.config.get("host") {
        let place = place.field("host");
        if host.trim().is_empty() {
            checker.wrong(&place, "is empty; name a domain, or leave `host` out to serve every domain that no other workload claims");
        } else if let Some(domain) = domain(checker, host.trim(), secret, &place) {
            hosts.push(domain);
        }
    }
    for alias in aliases(interface) {
        if let Some(domain) = domain(checker, alias, secret, &place.field("host-aliases")) {
            more.push(domain);
        }
    }
}

/// Each domain once: hosts, then the user's aliases, then names of Services, whichever entry says them. A Service is known by its
/// names, of which all are there: on a host they are aliases like others.
fn in_order(hosts: Vec<Domain>, aliases: Vec<Domain>, namespace: &str) -> Vec<Domain> {
    let all: HashSet<&str> = aliases.iter().map(Domain::as_str).collect();
    let of_service = |alias: &Domain| {
        let service = alias.as_str().split('.').next().unwrap_or_default();
        let names = service_domains(service, namespace);
        names.iter().any(|name| name == alias.as_str()) && names.iter().all(|name| all.contains(name.as_str()))
    };
    let (last, own): (Vec<Domain>, Vec<Domain>) = aliases.iter().cloned().partition(of_service);
    let mut seen = HashSet::new();
    hosts.into_iter().chain(own).chain(last).filter(|domain| seen.insert(domain.clone())).collect()
}

/// The aliases that the entry says.
fn aliases(interface: &HostInterface) -> impl Iterator<Item = &str> {
    let aliases = interface.config.get("host-aliases").map_or("", String::as_str);
    aliases.split(',').map(str::trim).filter(|alias| !alias.is_empty())
}

fn add_aliases(interface: &mut HostInterface, more: &[Domain]) {
    let mut all: Vec<String> = aliases(interface).map(str::to_owned).collect();
    all.extend(more.iter().map(ToString::to_string).filter(|alias| !aliases(interface).any(|own| own == alias)));
    interface.config.insert("host-aliases".to_owned(), all.join(","));
}

fn component(
    checker: &mut Checker<'_>,
    spec: &WorkloadSpec,
    (interface, secret): (&HostInterface, bool),
    found: &mut Option<String>,
    place: &Path<'_>,
) {
    let Some(name) = interface.config.get("component") else { return };
    let known = || spec.components.iter().map(|component| component.name.as_str());
    checker.demand(known().any(|known| known == name), place, || match secret {
        true => "names no component of the workload; it isn't shown, as it may come from a Secret".to_owned(),
        false => format!("the workload has no component `{}`{}", quote(name), hint(name, known())),
    });
    if let Some(other) = found.as_ref().filter(|other| *other != name) {
        let message = format!("another wasi:http entry leads to component `{}`; requests can be led to one only", quote(other));
        checker.wrong(place, message);
    }
    found.get_or_insert_with(|| name.clone());
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
