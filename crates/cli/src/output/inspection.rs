//! `inspect`: what one workload comes to, as a person reads it: what is wrong, who provides what to whom, and then each component with
//! what it may do and what is denied.

use std::fmt::Write;

use berth_node::host::inspect::{GrantedLimits, Inspected, InspectedComponent, InspectedImport, Provider};
use berth_node::inspect::Inspection;

use super::{Table, Tone, printable, size};

/// Shows text in a tone, where colors are wanted.
type Paint<'a> = &'a dyn Fn(Tone, &str) -> String;

/// The whole of it.
pub(crate) fn inspection(of: &Inspection, paint: Paint<'_>) -> String {
    let inspected = &of.inspected;
    let mut text = String::new();
    field(&mut text, "Name", &of.name);
    field(&mut text, "Namespace", &of.namespace);
    field(&mut text, "Kind", of.kind.as_str());
    if let Some(door) = &inspected.http {
        let domains = if door.domains.is_empty() { "all that no other workload claims".to_owned() } else { door.domains.join(", ") };
        field(&mut text, "Domains", &domains);
        field(&mut text, "Entry", door.entry.as_deref().unwrap_or("not decided"));
    }
    if !of.missing.is_empty() {
        field(&mut text, "Not found", &format!("{}; what comes from there isn't shown", of.missing.join(", ")));
    }
    if !inspected.problems.is_empty() {
        text.push_str("Problems:\n");
        for problem in &inspected.problems {
            let _ = writeln!(text, "  {}: {}", paint(Tone::Bad, &printable(&problem.reason)), printable(&problem.message));
        }
    }
    links(&mut text, inspected, paint);
    for component in &inspected.components {
        self::component(&mut text, component, paint);
    }
    text
}

// Writing to a String can't fail, here and below.
fn field(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{:<13}{}", format!("{name}:"), printable(value));
}

fn links(text: &mut String, inspected: &Inspected, paint: Paint<'_>) {
    if !inspected.links.is_empty() {
        let mut table = Table::new(["  IMPORTER", "IMPORT", "FROM", "WAY"]);
        let mut ways: Vec<(&str, &str)> = Vec::new();
        for link in &inspected.links {
            let other = if link.export == link.import { String::new() } else { format!(" ({})", link.export) };
            table.row(
                [format!("  {}", link.importer), link.import.clone(), format!("{}{other}", link.exporter), link.way.clone()]
                    .map(|cell| (cell, None)),
            );
            if !ways.contains(&(link.way.as_str(), link.why.as_str())) {
                ways.push((&link.way, &link.why));
            }
        }
        text.push_str("Links:\n");
        text.push_str(&table.render(paint));
        for (way, why) in ways {
            let _ = writeln!(text, "  {way}: {}", printable(why));
        }
    }
    let composed: Vec<_> = inspected.units.iter().filter(|unit| !unit.with.is_empty()).collect();
    if !composed.is_empty() {
        text.push_str("Run as one:\n");
        for unit in composed {
            let _ = writeln!(text, "  {} with {}", printable(&unit.root), printable(&unit.with.join(", ")));
        }
    }
}

fn component(text: &mut String, component: &InspectedComponent, paint: Paint<'_>) {
    let title = if component.role == "service" { "Service".to_owned() } else { format!("Component {}", component.name) };
    let _ = writeln!(text, "{}:", paint(Tone::Strong, &printable(&title)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {:<11}{}", format!("{name}:"), printable(value));
    };
    line("Image", &component.image);
    if let Some(digest) = &component.digest {
        line("Digest", &format!("{digest} ({})", size(component.bytes)));
        line("Kind", &kind(component));
        line("Exports", &if component.exports.is_empty() { "nothing".to_owned() } else { component.exports.join(", ") });
    }
    if !component.imports.is_empty() {
        let mut table = Table::default();
        for import in &component.imports {
            let (who, tone) = provider(import);
            table.row([(format!("    {}", import.name), None), (who, tone)]);
        }
        text.push_str("  Imports:\n");
        text.push_str(&table.render(paint));
    }
    let mut table = Table::default();
    for (what, which) in may(component) {
        table.row([(format!("    {what}"), None), (which, None)]);
    }
    text.push_str("  May:\n");
    text.push_str(&table.render(paint));
    if !component.denied.is_empty() {
        let mut table = Table::default();
        for denied in &component.denied {
            let grant = format!("allow by {}", denied.grant);
            table.row([(format!("    {}", denied.what), Some(Tone::Warn)), (denied.why.clone(), None), (grant, Some(Tone::Faint))]);
        }
        text.push_str("  Denied:\n");
        text.push_str(&table.render(paint));
    }
}

/// What it is: `WASI 0.2, answers HTTP`.
fn kind(component: &InspectedComponent) -> String {
    let wasi = if component.wasi.is_empty() { "no WASI".to_owned() } else { format!("WASI {}", component.wasi.join(" and ")) };
    let roles = [(component.answers_http.is_some(), "answers HTTP"), (component.runs.is_some(), "a program")];
    let roles: Vec<&str> = roles.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect();
    if roles.is_empty() { format!("{wasi}, a library") } else { format!("{wasi}, {}", roles.join(", ")) }
}

fn provider(import: &InspectedImport) -> (String, Option<Tone>) {
    match (import.from, &import.component) {
        (Provider::Component, Some(component)) => (format!("component {component}"), Some(Tone::Good)),
        (Provider::Host, _) if import.own => ("the host, its own".to_owned(), None),
        (Provider::Host, _) => ("the host".to_owned(), Some(Tone::Faint)),
        (Provider::Types, _) => ("types alone, which need nobody".to_owned(), Some(Tone::Faint)),
        (Provider::Nobody, _) => ("nobody".to_owned(), Some(Tone::Bad)),
        (Provider::Undecided | Provider::Component, _) => ("not decided".to_owned(), Some(Tone::Warn)),
    }
}

/// What it was given, by the names of the manifest's fields.
fn may(component: &InspectedComponent) -> Vec<(&'static str, String)> {
    let granted = &component.granted;
    let environment = granted.environment.iter().map(|variable| match &variable.from {
        Some(from) => format!("{} ({from})", variable.name),
        None => variable.name.clone(),
    });
    let volumes = granted.volumes.iter().map(|volume| {
        let source = volume.host_path.as_deref().map_or_else(String::new, |path| format!(", {path} of the host"));
        let read_only = if volume.read_only { ", read-only" } else { "" };
        format!("{} ({}{source}{read_only})", volume.mount_path, volume.name)
    });
    let lists = [
        ("calls", component.calls.join(", ")),
        ("environment", environment.collect::<Vec<_>>().join(", ")),
        ("config", granted.config.join(", ")),
        ("allowedHosts", granted.allowed_hosts.join(", ")),
        ("allowedIpNameLookups", granted.allowed_ip_name_lookups.join(", ")),
        ("allowedHostLoopbackPorts", granted.allowed_host_loopback_ports.join(", ")),
        ("volumeMounts", volumes.collect::<Vec<_>>().join(", ")),
    ];
    let given = lists.into_iter().filter(|(_, which)| !which.is_empty());
    given.chain([("limits", limits(&granted.limits))]).collect()
}

fn limits(limits: &GrantedLimits) -> String {
    format!(
        "memory {}, requestTimeout {}, maxInFlight {}, maxQueued {}, queueTimeout {}, maxRequestBody {}, tableElements {}",
        size(limits.memory_bytes),
        limits.request_timeout,
        limits.max_in_flight,
        limits.max_queued,
        limits.queue_timeout,
        size(limits.max_request_body_bytes),
        limits.table_elements
    )
}

#[cfg(test)]
mod tests {
    use berth_node::host::inspect::{Denied, Door, Granted, InspectedLink, InspectedUnit, Problem, Variable};
    use berth_node::model::resource::Kind;

    use super::*;

    fn import(name: &str, from: Provider, component: Option<&str>, own: bool) -> InspectedImport {
        InspectedImport { name: name.into(), from, component: component.map(str::to_owned), own }
    }

    fn shop() -> Inspection {
        let limits = GrantedLimits {
            memory_bytes: 64 << 20,
            request_timeout: "5s".into(),
            max_in_flight: 256,
            max_queued: 1024,
            queue_timeout: "1s".into(),
            max_request_body_bytes: 1 << 30,
            table_elements: 100_000,
        };
        let variable = |name: &str, from: Option<&str>| Variable { name: name.into(), from: from.map(str::to_owned) };
        let front = InspectedComponent {
            name: "front".into(),
            role: "component".into(),
            image: "file:///front.wasm".into(),
            digest: Some("sha256:00".into()),
            bytes: 2 << 20,
            wasi: vec!["0.2".into()],
            answers_http: Some("wasi:http/incoming-handler@0.2.3".into()),
            exports: vec!["wasi:http/incoming-handler@0.2.3".into()],
            imports: vec![
                import("acme:kv/store@1.0.0", Provider::Component, Some("cache"), false),
                import("wasi:http/outgoing-handler@0.2.3", Provider::Host, None, true),
                import("wasi:io/streams@0.2.3", Provider::Host, None, false),
            ],
            granted: Granted {
                environment: vec![variable("LEVEL", None), variable("PASSWORD", Some("Secret db"))],
                limits: limits.clone(),
                ..Granted::default()
            },
            denied: vec![Denied { what: "outgoing HTTP".into(), why: "every request".into(), grant: "allowedHosts".into() }],
            ..InspectedComponent::default()
        };
        let cache = InspectedComponent {
            name: "cache".into(),
            image: "file:///cache.wasm".into(),
            granted: Granted { limits, ..Granted::default() },
            ..InspectedComponent::default()
        };
        let link = InspectedLink {
            importer: "front".into(),
            import: "acme:kv/store@1.0.0".into(),
            exporter: "cache".into(),
            export: "acme:kv/store@1.2.0".into(),
            way: "fused".into(),
            why: "composed".into(),
        };
        Inspection {
            kind: Kind::WorkloadDeployment,
            namespace: "default".into(),
            name: "shop".into(),
            missing: vec!["ConfigMap gone".into()],
            inspected: Inspected {
                problems: vec![Problem { reason: "LinkCycle".into(), message: "round\x1b[2J and round".into() }],
                http: Some(Door { domains: vec!["shop.localhost".into()], entry: Some("front".into()) }),
                components: vec![front, cache],
                links: vec![link],
                units: vec![InspectedUnit { root: "front".into(), with: vec!["cache".into()] }],
            },
        }
    }

    #[test]
    fn an_inspection_reads_from_what_is_wrong_to_what_each_may_do() {
        let text = inspection(&shop(), &|_, text| text.to_owned());
        let expected = "\
Name:        shop
Namespace:   default
Kind:        WorkloadDeployment
Domains:     shop.localhost
Entry:       front
Not found:   ConfigMap gone; what comes from there isn't shown
Problems:
  LinkCycle: round\\u{1b}[2J and round
Links:
  IMPORTER   IMPORT                FROM                          WAY
  front      acme:kv/store@1.0.0   cache (acme:kv/store@1.2.0)   fused
  fused: composed
Run as one:
  front with cache
Component front:
  Image:     file:///front.wasm
  Digest:    sha256:00 (2Mi)
  Kind:      WASI 0.2, answers HTTP
  Exports:   wasi:http/incoming-handler@0.2.3
  Imports:
    acme:kv/store@1.0.0                component cache
    wasi:http/outgoing-handler@0.2.3   the host, its own
    wasi:io/streams@0.2.3              the host
  May:
    environment   LEVEL, PASSWORD (Secret db)
    limits        memory 64Mi, requestTimeout 5s, maxInFlight 256, maxQueued 1024, queueTimeout 1s, maxRequestBody 1024Mi, tableElements 100000
  Denied:
    outgoing HTTP   every request   allow by allowedHosts
Component cache:
  Image:     file:///cache.wasm
  May:
    limits   memory 64Mi, requestTimeout 5s, maxInFlight 256, maxQueued 1024, queueTimeout 1s, maxRequestBody 1024Mi, tableElements 100000
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_wrong_and_denied_is_colored_where_colors_are_wanted() {
        let text = inspection(&shop(), &|tone, text| format!("<{tone:?} {text}>"));
        for part in ["<Bad LinkCycle>", "<Warn     outgoing HTTP>", "<Strong Component front>", "<Good component cache>"] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }
}
