//! How HTTP requests reach a workload.

use berth_model::validate;

use super::{Objects, assert_invalid, check, check_with, meta, spec, with_component};

fn domains(yaml: &str) -> Vec<String> {
    let entry = check(&with_component(yaml)).unwrap_or_else(|error| panic!("{error}")).http.expect("it serves HTTP");
    entry.domains.iter().map(ToString::to_string).collect()
}

fn http(interface: &str, config: &str) -> String {
    format!("  - {{namespace: wasi, package: http, interfaces: [{interface}], config: {{{config}}}}}\n")
}

#[test]
fn a_handler_of_either_version_makes_an_entry_and_others_do_not() {
    for interface in ["incoming-handler", "handler", "'outgoing-handler', 'incoming-handler'"] {
        assert_eq!(domains(&format!("hostInterfaces:\n{}", http(interface, "host: Example.com:80"))), ["example.com"]);
    }
    for none in [with_component(""), with_component(&format!("hostInterfaces:\n{}", http("outgoing-handler", "host: a.com")))] {
        assert_eq!(check(&none).unwrap().http, None);
    }
    assert!(domains(&format!("hostInterfaces:\n{}", http("handler", ""))).is_empty(), "without a host it serves what nobody claims");
}

#[test]
fn aliases_follow_the_host_each_once() {
    let yaml = format!("hostInterfaces:\n{}", http("handler", "host: a.com, host-aliases: ' b.com , A.com,c.com:80,, '"));
    assert_eq!(domains(&yaml), ["a.com", "b.com", "c.com"]);
}

#[test]
fn a_services_names_are_aliases_for_both_versions_and_beside_the_users_own() {
    let service = "kubernetes: {service: {name: web}}\n";
    let names = ["web.default", "web.default.svc", "web.default.svc.cluster.local"];
    for interface in ["incoming-handler", "handler"] {
        let with_host = format!("{service}hostInterfaces:\n{}", http(interface, "host: a.com, host-aliases: b.com"));
        assert_eq!(domains(&with_host), [&["a.com", "b.com"][..], &names].concat());
        let without = format!("{service}hostInterfaces:\n{}", http(interface, ""));
        assert_eq!(domains(&without), names);
    }
}

#[test]
fn a_services_names_reach_hosts_in_the_entries_configuration() {
    let yaml =
        format!("kubernetes: {{service: {{name: web}}}}\nhostInterfaces:\n{}", http("handler", "host-aliases: 'b.com, web.default'"));
    let workload = check(&with_component(&yaml)).unwrap();
    assert_eq!(workload.interfaces[0].config["host-aliases"], "b.com,web.default,web.default.svc,web.default.svc.cluster.local");
}

#[test]
fn entries_of_both_versions_serve_together() {
    let yaml = "hostInterfaces:\n\
        \x20 - {namespace: wasi, package: http, interfaces: [incoming-handler], version: 0.2.3, config: {host: a.com}}\n\
        \x20 - {namespace: wasi, package: http, interfaces: [handler], version: 0.3.0, config: {host: b.com}}\n";
    assert_eq!(domains(yaml), ["a.com", "b.com"]);
}

#[test]
fn hosts_come_first_and_a_services_names_last_whichever_entry_says_them() {
    let names = ["web.default", "web.default.svc", "web.default.svc.cluster.local"];
    let cases: [(&str, &str, &[&str]); 8] = [
        ("", "", &[]),
        ("host: a.com", "host: b.com", &["a.com", "b.com"]),
        ("host: a.com", "", &["a.com"]),
        ("", "host: b.com", &["b.com"]),
        ("", "host-aliases: b.com", &["b.com"]),
        ("host-aliases: a.com", "host: b.com", &["b.com", "a.com"]),
        ("host-aliases: 'web.default.svc, a.com'", "host-aliases: 'b.com, web.default'", &["a.com", "b.com"]),
        ("host: a.com, host-aliases: c.com", "host: b.com, host-aliases: 'a.com, d.com'", &["a.com", "b.com", "c.com", "d.com"]),
    ];
    for (old, new, own) in cases {
        let entry = |interface: &str, version: &str, config: &str| {
            http(interface, config).replace("config:", &format!("version: {version}, config:"))
        };
        let entries = entry("incoming-handler", "0.2.3", old) + &entry("handler", "0.3.0", new);
        let spec_of = |service: &str| spec(&with_component(&format!("{service}hostInterfaces:\n{entries}")));
        let with_service = spec_of("kubernetes: {service: {name: web}}\n");
        let sent = validate::workload(&meta(), &with_service, &Objects::default()).unwrap();
        let domains: Vec<&str> = sent.http.iter().flat_map(|http| &http.domains).map(|domain| domain.as_str()).collect();
        assert_eq!(domains[..own.len()], *own, "{old} | {new}");
        let mut last = domains[own.len()..].to_vec();
        last.sort_unstable();
        assert_eq!(last, names, "{old} | {new}");

        // A host sees the entries only.
        let mut arrived = spec_of("");
        for (entry, interface) in arrived.host_interfaces.iter_mut().zip(&sent.interfaces) {
            entry.config.clone_from(&interface.config);
        }
        assert_eq!(validate::http_entry(&meta(), &arrived).unwrap(), sent.http, "{old} | {new}");
    }
    let host = format!(
        "kubernetes: {{service: {{name: web}}}}\nhostInterfaces:\n{}",
        http("handler", "host: web.default.svc, host-aliases: a.com")
    );
    assert_eq!(
        domains(&host),
        ["web.default.svc", "a.com", "web.default", "web.default.svc.cluster.local"],
        "a host that is a Service's name"
    );
}

#[test]
fn the_component_that_answers_can_be_named() {
    let yaml = |component: &str| {
        format!(
            "components: [{{name: front, image: 'file:a'}}, {{name: back, image: 'file:b'}}]\nhostInterfaces:\n{}",
            http("handler", &format!("component: {component}"))
        )
    };
    assert_eq!(check(&yaml("back")).unwrap().http.unwrap().component.as_deref(), Some("back"));
    assert_invalid(check(&yaml("bakc")), &[("spec.hostInterfaces[0].config.component", "did you mean `back`?")]);
    let two = yaml("front") + "  - {namespace: wasi, package: http, interfaces: [handler], name: b, config: {component: back}}\n";
    assert_invalid(check(&two), &[("spec.hostInterfaces[1].config.component", "leads to component `front`")]);
}

#[test]
fn what_is_no_domain_is_told_at_its_entry() {
    let yaml = format!(
        "hostInterfaces:\n  - {{namespace: a, package: b, interfaces: [c]}}\n{}",
        http("handler", "host: 'http://a.com', host-aliases: 'ok.com,*.b.com'")
    );
    assert_invalid(
        check(&with_component(&yaml)),
        &[("spec.hostInterfaces[1].config.host", "without scheme"), ("spec.hostInterfaces[1].config.host-aliases", "wildcards")],
    );
    let empty = format!("hostInterfaces:\n{}", http("handler", "host: ''"));
    assert_invalid(check(&with_component(&empty)), &[("spec.hostInterfaces[0].config.host", "leave `host` out")]);
    let service = format!("kubernetes: {{service: {{name: Web}}}}\nhostInterfaces:\n{}", http("handler", ""));
    assert_invalid(check(&with_component(&service)), &[("spec.kubernetes.service.name", "lower-case")]);
}

#[test]
fn the_entry_can_be_had_without_resolving_anything() {
    let yaml = with_component(
        &format!("hostInterfaces:\n{}", http("handler", "host: a.com")).replace("config:", "configFrom: [{name: more}], config:"),
    );
    let entry = validate::http_entry(&meta(), &spec(&yaml)).unwrap().unwrap();
    assert_eq!(entry.domains.len(), 1);
    let objects = Objects::default().config_map("more", &[("host", "b.com")]);
    assert_eq!(check_with(&yaml, &objects).unwrap().http.unwrap().domains[0].as_str(), "b.com", "a ConfigMap overrides");
}
