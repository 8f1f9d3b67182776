//! Host interfaces.

use super::{Objects, assert_invalid, check, check_with, with_component};

fn interfaces(entries: &str) -> String {
    with_component(&format!("hostInterfaces:\n{entries}"))
}

#[test]
fn an_entry_names_a_package_and_at_least_one_interface() {
    let workload =
        check(&interfaces("  - {namespace: wasi, package: keyvalue, interfaces: [store, atomics, store], version: 0.2.0-draft}\n"))
            .unwrap();
    assert_eq!(workload.interfaces[0].interfaces, ["store", "atomics"]);
    assert_eq!(workload.interfaces[0].version.as_ref().unwrap().to_string(), "0.2.0-draft");
    assert_invalid(
        check(&interfaces(
            "  - {namespace: '', package: Key_value, interfaces: ['a b']}\n  - {namespace: wasi, package: http, interfaces: []}\n",
        )),
        &[
            ("spec.hostInterfaces[0].namespace", "not a WIT name"),
            ("spec.hostInterfaces[0].package", "not a WIT name"),
            ("spec.hostInterfaces[0].interfaces[0]", "not a WIT name"),
            ("spec.hostInterfaces[1].interfaces", "at least one"),
        ],
    );
}

#[test]
fn a_version_is_a_whole_one_and_a_name_a_lower_case_label() {
    assert_invalid(
        check(&interfaces(&format!(
            "  - {{namespace: a, package: b, interfaces: [c], version: '0.2'}}\n  - {{namespace: a, package: c, interfaces: [c], name: Upper}}\n  - {{namespace: a, package: d, interfaces: [c], name: {}}}\n",
            "x".repeat(65)
        ))),
        &[
            ("spec.hostInterfaces[0].version", "write it like `0.2.3`"),
            ("spec.hostInterfaces[1].name", "lower-case"),
            ("spec.hostInterfaces[2].name", "at most 64"),
        ],
    );
    let longest = format!("  - {{namespace: a, package: d, interfaces: [c], name: {}, version: ''}}\n", "x".repeat(64));
    let workload = check(&interfaces(&longest)).unwrap();
    assert_eq!(workload.interfaces[0].version, None, "an empty version is none");
}

#[test]
fn there_are_at_most_64_entries() {
    let entry = |index| format!("  - {{namespace: acme, package: p{index}, interfaces: [i]}}\n");
    let entries = |count| interfaces(&(0..count).map(entry).collect::<String>());
    assert_eq!(check(&entries(64)).unwrap().interfaces.len(), 64);
    assert_invalid(check(&entries(65)), &[("spec.hostInterfaces", "at most 64 entries, but has 65")]);
}

#[test]
fn entries_of_one_package_differ_in_name_or_incompatible_version() {
    let entry = |rest: &str| format!("  - {{namespace: wasi, package: http, interfaces: [i]{rest}}}\n");
    let pair = |a: &str, b: &str| check(&interfaces(&(entry(a) + &entry(b))));
    let good = [
        (", version: 0.2.3", ", version: 0.3.0"),
        (", name: a", ", name: b"),
        (", name: a", ""),
        (", name: a, version: 0.2.1", ", name: a, version: 0.2.2"),
        (", version: 1.0.0", ", version: 2.0.0"),
        (", version: 0.0.1", ", version: 0.0.2"),
        (", version: 0.3.0-rc-1", ", version: 0.3.0-rc-2"),
    ];
    for (a, b) in good {
        assert!(pair(a, b).is_ok(), "{a} beside {b}");
    }
    let bad = [
        ("", "", "no name either"),
        (", version: 0.2.1", ", version: 0.2.1", "no name either"),
        (", version: 0.2.1", ", version: 0.2.3", "version 0.2.1 is compatible with 0.2.3"),
        (", version: 1.0.0", ", version: 1.5.0", "compatible"),
        ("", ", version: 0.2.3", "no name either"),
        (", name: a", ", name: a", "name `a`"),
        (", name: a, version: 0.2.1", ", name: a, version: 0.2.1", "name `a`"),
    ];
    for (a, b, message) in bad {
        assert_invalid(pair(a, b), &[("spec.hostInterfaces[1]", message)]);
    }
}

#[test]
fn config_is_merged_from_the_manifest_config_maps_and_secrets_and_the_last_wins() {
    let objects = Objects::default()
        .config_map("one", &[("b", "2"), ("c", "2"), ("d", "2")])
        .config_map("two", &[("c", "3"), ("d", "3")])
        .secret("three", &[("d", "4")]);
    let yaml = interfaces(
        "  - namespace: wasi\n    package: config\n    interfaces: [store]\n    config: {a: '1', b: '1', c: '1', d: '1'}\n    secretFrom: [{name: three}]\n    configFrom: [{name: one}, {name: two}]\n",
    );
    let workload = check_with(&yaml, &objects).unwrap();
    let config: Vec<_> = workload.interfaces[0].config.values().map(String::as_str).collect();
    assert_eq!(config, ["1", "2", "3", "4"]);
    assert_invalid(
        check(&yaml),
        &[
            ("spec.hostInterfaces[0].configFrom[0].name", "ConfigMap `one` doesn't exist in namespace `default`"),
            ("spec.hostInterfaces[0].configFrom[1].name", "ConfigMap `two`"),
            ("spec.hostInterfaces[0].secretFrom[0].name", "Secret `three`"),
        ],
    );
}
