//! `links`: which component satisfies which import.

use berth_model::validate::MAX_LINKS;
use berth_model::workload::Link;

use super::{assert_invalid, check};

/// Components `a`, with these links, and `b`.
fn linked(links: &str) -> String {
    format!("components: [{{name: a, image: 'file:a', links: [{links}]}}, {{name: b, image: 'file:b'}}]")
}

#[test]
fn an_import_leads_to_another_component() {
    let workload = check(&format!(
        "{}\nservice: {{image: 'file:s', links: [{{import: get, component: a}}]}}",
        linked("{import: 'wasi:http/handler', component: b, fuse: true}, {import: 'acme:kv/store@1.2.0'}")
    ))
    .unwrap();
    let link =
        |import: &str, component: Option<&str>, fuse| Link { import: import.parse().unwrap(), component: component.map(Into::into), fuse };
    assert_eq!(workload.components[0].links, [link("wasi:http/handler", Some("b"), true), link("acme:kv/store@1.2.0", None, false)]);
    assert_eq!(workload.service.unwrap().links, [link("get", Some("a"), false)]);
    assert!(workload.components[1].links.is_empty());
}

#[test]
fn every_fault_of_links_is_told_at_once() {
    let links = "{import: 'acme:kv', component: b}, {import: ''}, {import: 'a:b/c', component: bb}, {import: 'a:b/d', component: a}, \
                 {import: 'a:b/c@1.0.0', component: b}, {import: get, component: zzz}";
    let service = "service: {image: 'file:s', links: [{import: get}, {import: get, component: a}]}";
    assert_invalid(
        check(&format!("{}\n{service}", linked(links))),
        &[
            ("spec.components[0].links[0].import", "`acme:kv` is not an import: it must be an interface like"),
            ("spec.components[0].links[1].import", "is missing"),
            ("spec.components[0].links[2].component", "no component `bb`; did you mean `b`?"),
            ("spec.components[0].links[3].component", "can't be linked to itself"),
            ("spec.components[0].links[4].import", "another entry is for the import `a:b/c` too"),
            ("spec.components[0].links[5].component", "no component `zzz`"),
            ("spec.service.links[1].import", "another entry is for the import `get` too"),
        ],
    );
}

#[test]
fn versions_that_are_not_compatible_are_imports_of_their_own() {
    assert!(check(&linked("{import: 'a:b/c@1.0.0', component: b}, {import: 'a:b/c@2.0.0', component: b}")).is_ok());
    assert_invalid(
        check(&linked("{import: 'a:b/c@1.0.0', component: b}, {import: 'a:b/c@1.4.0', component: b}")),
        &[("spec.components[0].links[1].import", "`a:b/c@1.0.0` too")],
    );
}

#[test]
fn l31_links_are_bounded_in_number() {
    let links = |count: usize| linked(&(0..count).map(|i| format!("{{import: 'a:b/c{i}'}}")).collect::<Vec<_>>().join(", "));
    assert_eq!(check(&links(MAX_LINKS)).unwrap().components[0].links.len(), MAX_LINKS);
    assert_invalid(check(&links(MAX_LINKS + 1)), &[("spec.components[0].links", "at most 64 entries, but has 65")]);
}
