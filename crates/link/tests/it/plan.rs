//! Who is linked to whom.

use berth_link::{LinkError, MAX_MEMBERS, Near, Way};

use crate::support::{CONN, exporting, guest, importing, lines, plain, planned, try_http, try_plan};

#[test]
fn an_import_leads_to_the_sibling_that_exports_it() {
    let planned = planned(vec![
        guest("front", &plain(&["acme:kv/store@1.2.0"], &["acme:front/api"])),
        guest("back", &plain(&[], &["acme:kv/store@1.4.1", "acme:kv/store@2.0.0"])),
    ]);
    assert_eq!(planned.lines(), ["front imports acme:kv/store@1.2.0 from back's acme:kv/store@1.4.1, fused"]);
    assert_eq!(planned.units(), [vec!["front", "back"]]);
    assert_eq!(planned.plan.entry, None);
}

#[test]
fn the_same_version_goes_before_a_higher_one_and_a_higher_before_a_lower() {
    let best = |exports: &[&str]| {
        let planned = planned(vec![guest("a", &plain(&["x:y/z@0.2.3"], &[])), guest("b", &plain(&[], exports))]);
        planned.plan.links[0].export.clone()
    };
    assert_eq!(best(&["x:y/z@0.2.0", "x:y/z@0.2.3", "x:y/z@0.2.9"]), "x:y/z@0.2.3");
    assert_eq!(best(&["x:y/z@0.2.9", "x:y/z@0.2.0"]), "x:y/z@0.2.9");
}

#[test]
fn functions_are_linked_by_name() {
    let back = "(component (import \"x:impl/f\" (instance $i (export \"f\" (func (result u8))))) (alias export $i \"f\" (func $f)) (export \"get\" (func $f)))";
    let planned = planned(vec![guest("a", "(component (import \"get\" (func (result u8))))"), guest("b", back)]);
    assert_eq!(planned.lines(), ["a imports get from b's get, fused"]);
}

#[test]
fn a_chain_and_a_diamond_are_one_unit_each() {
    let chain = planned(vec![
        guest("a", &plain(&["x:b/api"], &[])),
        guest("b", &plain(&["x:c/api"], &["x:b/api"])),
        guest("c", &plain(&[], &["x:c/api"])),
    ]);
    assert_eq!(chain.units(), [vec!["a", "b", "c"]]);
    let diamond = planned(vec![
        guest("d", &plain(&[], &["x:d/api"])),
        guest("b", &plain(&["x:d/api"], &["x:b/api"])),
        guest("c", &plain(&["x:d/api"], &["x:c/api"])),
        guest("a", &plain(&["x:b/api", "x:c/api"], &[])),
    ]);
    assert_eq!(diamond.units(), [vec!["a", "d", "b", "c"]]);
}

#[test]
fn a_library_of_two_roots_is_in_both_units_and_an_orphan_is_by_itself() {
    let planned = planned(vec![
        guest("one", &plain(&["x:lib/api"], &["wasi:http/incoming-handler@0.2.3"])),
        guest("lib", &plain(&[], &["x:lib/api"])),
        guest("two", &plain(&["x:lib/api"], &["wasi:http/incoming-handler@0.2.3"])),
        guest("orphan", &plain(&[], &["x:o/api"])),
        guest("service", &plain(&["x:lib/api"], &["wasi:cli/run@0.2.3"])).service(),
    ]);
    assert_eq!(planned.units(), [vec!["one", "lib"], vec!["two", "lib"], vec!["orphan"], vec!["service", "lib"]]);
}

#[test]
fn a_middleware_imports_what_it_exports_and_never_gets_itself() {
    let planned = planned(vec![guest("outer", &plain(&["x:y/z"], &["x:y/z"])), guest("inner", &plain(&[], &["x:y/z"]))]);
    assert_eq!(planned.lines(), ["outer imports x:y/z from inner's x:y/z, fused"]);
    let error = try_plan(&[guest("outer", &plain(&["x:y/z"], &["x:y/z"]))]).unwrap_err();
    let LinkError::Missing(missing) = &error else { panic!("{error}") };
    assert_eq!(missing.near, Some(Near::Itself));
    assert!(error.to_string().contains("only `outer` itself exports it"), "{error}");
}

#[test]
fn order_breaks_no_tie_and_links_do() {
    let guests = |front| vec![front, guest("one", &plain(&[], &["x:y/z"])), guest("two", &plain(&[], &["x:y/z@1.0.0"]))];
    let front = || guest("front", &plain(&["x:y/z"], &[]));
    let error = try_plan(&guests(front())).unwrap_err();
    assert_eq!(error.reason(), "AmbiguousImport");
    let text = error.to_string();
    assert!(text.contains("which `one` and `two` export"), "{text}");
    assert!(text.contains("links: [{import: \"x:y/z\", component: one}]"), "{text}");
    for (named, expected) in [("one", "x:y/z"), ("two", "x:y/z@1.0.0")] {
        let guests = guests(front().link("x:y/z", named));
        let plan = try_plan(&guests).unwrap();
        assert_eq!(lines(&guests, &plan), [format!("front imports x:y/z from {named}'s {expected}, fused")]);
    }
}

#[test]
fn links_that_name_what_is_not_there_are_refused() {
    let error = |front| try_plan(&[front, guest("back", &plain(&[], &["x:y/z@2.0.0", "x:o/k"]))]).unwrap_err();
    let front = || guest("front", &plain(&["x:o/k"], &[]));
    let text = error(front().link("x:other/k", "back")).to_string();
    assert!(text.contains("link for `x:other/k`, which it doesn't import; it imports `x:o/k`"), "{text}");
    let text = error(guest("front", &plain(&["x:y/z@1.0.0"], &[])).link("x:y/z", "back")).to_string();
    assert!(text.contains("`back`, which doesn't export it; it exports `x:y/z@2.0.0`, whose version isn't compatible"), "{text}");
    let error = error(front().link("x:o/k", "nobody"));
    assert!(matches!(&error, LinkError::UnknownComponent { named, .. } if named == "nobody"), "{error}");
}

#[test]
fn all_missing_imports_are_told_at_once() {
    let error = try_plan(&[
        guest("a", &plain(&["x:y/z@1.0.0", "wasi:cli/stdin@0.2.0", "wasi:nn/graph"], &[])),
        guest("b", &plain(&["x:more/api"], &["x:y/z@2.0.0"])),
    ])
    .unwrap_err();
    assert_eq!(error.reason(), "MissingImport");
    let LinkError::Several(all) = &error else { panic!("{error}") };
    let told: Vec<(&str, &str)> = all
        .iter()
        .map(|error| match error {
            LinkError::Missing(missing) => (missing.component.as_str(), missing.import.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(told, [("a", "x:y/z@1.0.0"), ("a", "wasi:nn/graph"), ("b", "x:more/api")]);
    assert!(error.to_string().contains("`b` exports `x:y/z@2.0.0`, whose version isn't compatible"), "{error}");
}

#[test]
fn interfaces_of_types_alone_need_nobody() {
    let types = "(type $p' (record (field \"x\" u32))) (export \"point\" (type (eq $p')))";
    assert!(try_plan(&[guest("a", &importing("x:y/types", types))]).is_ok());
    let exports = || exporting("x:y/types", types);
    let several = [guest("a", &importing("x:y/types", types)), guest("b", &exports()), guest("c", &exports())];
    assert!(try_plan(&several).unwrap().links.is_empty(), "which of equal types is meant is all the same");
    assert_eq!(try_plan(&[guest("a", &importing("x:y/types", CONN))]).unwrap_err().reason(), "MissingImport");
}

#[test]
fn what_the_host_provides_comes_from_the_host_unless_links_say_otherwise() {
    let shim = || guest("shim", &plain(&[], &["wasi:cli/run@0.2.0", "wasi:cli/shim@0.2.0"]));
    let front = || guest("front", &plain(&["wasi:cli/shim@0.2.3"], &[]));
    assert!(try_plan(&[front(), shim()]).unwrap().links.is_empty());
    let plan = try_plan(&[front().link("wasi:cli/shim", "shim"), shim()]).unwrap();
    assert_eq!((plan.links[0].export.as_str(), plan.links[0].way), ("wasi:cli/shim@0.2.0", Way::Fused));
}

#[test]
fn handlers_are_bridged_between_versions_and_fused_on_request() {
    let outer = || guest("outer", &plain(&["wasi:http/handler@0.3.0"], &["wasi:http/handler@0.3.0"]));
    let p2 = || guest("inner", &plain(&[], &["wasi:http/incoming-handler@0.2.6"]));
    let p3 = || guest("inner", &plain(&[], &["wasi:http/handler@0.3.0", "wasi:http/incoming-handler@0.2.6"]));
    let line = |guests: &[crate::support::Guest]| lines(guests, &try_plan(guests).unwrap());
    assert_eq!(line(&[outer(), p2()]), ["outer imports wasi:http/handler@0.3.0 from inner's wasi:http/incoming-handler@0.2.6, bridged"]);
    assert_eq!(line(&[outer(), p3()]), ["outer imports wasi:http/handler@0.3.0 from inner's wasi:http/handler@0.3.0, bridged"]);
    let guests = [outer().fuse("wasi:http/handler"), p3()];
    let plan = try_plan(&guests).unwrap();
    assert_eq!(plan.links[0].way, Way::Fused);
    // It still answers by its name, in a unit of its own.
    assert_eq!(plan.units.iter().map(|unit| unit.members.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![1]]);
    let error = try_plan(&[outer().fuse("wasi:http/handler"), p2()]).unwrap_err();
    assert!(error.to_string().contains("WASI 0.2, whose requests and responses are of other types"), "{error}");
}

#[test]
fn the_entry_is_the_only_handler_that_nobody_imports() {
    let p3 = |name: &str, imports: &[&str]| guest(name, &plain(imports, &["wasi:http/handler@0.3.0"]));
    let middleware = || p3("outer", &["wasi:http/handler@0.3.0"]);
    assert_eq!(try_http(&[p3("inner", &[]), middleware()], None).unwrap().entry, Some(1));
    assert_eq!(try_http(&[p3("inner", &[]), middleware()], Some("inner")).unwrap().entry, Some(0));
    let error = try_http(&[p3("a", &[]), p3("b", &[])], None).unwrap_err();
    assert!(error.to_string().contains("`a` and `b` export an HTTP handler") && error.to_string().contains("`component: a`"), "{error}");
    let library = || guest("lib", &plain(&[], &["x:y/z"]));
    assert_eq!(try_http(&[library()], None).unwrap_err(), LinkError::NoEntry);
    let error = try_http(&[p3("a", &[]), library()], Some("lib")).unwrap_err().to_string();
    assert!(error.contains("`lib` is to answer HTTP, and it doesn't export an HTTP handler; these do: `a`"), "{error}");
    assert!(try_http(&[p3("a", &[])], Some("b")).unwrap_err().to_string().contains("no such component"));
    assert_eq!(try_plan(&[p3("a", &[]), p3("b", &[])]).unwrap().entry, None);
}

#[test]
fn a_circle_is_told_in_its_order() {
    let error = try_plan(&[
        guest("in", &plain(&["x:a/api"], &[])),
        guest("a", &plain(&["x:b/api"], &["x:a/api"])),
        guest("b", &plain(&["x:c/api"], &["x:b/api"])),
        guest("c", &plain(&["x:a/api"], &["x:c/api"])),
    ])
    .unwrap_err();
    assert_eq!(error, LinkError::Cycle { components: ["a", "b", "c"].map(str::to_owned).into() });
    assert!(error.to_string().contains("`a` -> `b` -> `c` -> `a`"), "{error}");
    let handlers = |name: &str, other: &str| {
        guest(name, &plain(&["wasi:http/handler@0.3.0"], &["wasi:http/handler@0.3.0"])).link("wasi:http/handler", other)
    };
    assert_eq!(try_plan(&[handlers("a", "b"), handlers("b", "a")]).unwrap_err().reason(), "LinkCycle");
}

#[test]
fn what_a_service_exports_is_copied_where_that_is_possible() {
    let service = |body: &str| guest("service", &exporting("x:svc/api", body)).service();
    let plan = |body: &str| try_plan(&[guest("web", &importing("x:svc/api", body)), service(body)]);
    let fine = plan("(export \"f\" (func async (param \"a\" (list (option string))) (result (result u32 (error string)))))").unwrap();
    assert_eq!((fine.links[0].way, fine.units.len()), (Way::Copied, 2));
    let cases = [
        (CONN, "resource `conn` has `conn`, and resources"),
        ("(export \"f\" (func (result (list (stream u8)))))", "function `f`, result has `list<stream<u8>>`, and streams"),
        ("(export \"f\" (func (param \"x\" (future u8))))", "function `f`, parameter `x` has `future<u8>`, and futures"),
    ];
    for (body, expected) in cases {
        let error = plan(body).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let handler =
        [guest("web", &plain(&["wasi:http/handler@0.3.0"], &[])), guest("service", &plain(&[], &["wasi:http/handler@0.3.0"])).service()];
    assert_eq!(try_plan(&handler).unwrap_err().reason(), "MissingImport");
}

#[test]
fn a_service_of_wasi_02_cant_be_called_while_it_runs_and_one_of_03_can() {
    let plan = |runs: &[&str]| {
        let service = guest("service", &plain(&[], &[runs, &["x:svc/api"]].concat())).service();
        try_plan(&[guest("web", &plain(&["x:svc/api"], &[])), service])
    };
    let error = plan(&["wasi:cli/run@0.2.12"]).unwrap_err();
    assert_eq!(error.reason(), "UnlinkableImport");
    assert!(error.to_string().contains("`web` imports `x:svc/api` from `service`, which exports wasi:cli/run of WASI 0.2"), "{error}");
    for runs in [&["wasi:cli/run@0.3.0"][..], &["wasi:cli/run@0.2.12", "wasi:cli/run@0.3.0"], &[]] {
        assert_eq!(plan(runs).unwrap().links[0].way, Way::Copied, "{runs:?}");
    }
}

#[test]
fn l31_units_are_bounded() {
    let imports: Vec<String> = (0..MAX_MEMBERS).map(|i| format!("x:lib{i}/api")).collect();
    let root = |count: usize| guest("root", &plain(&imports[..count].iter().map(String::as_str).collect::<Vec<_>>(), &[]));
    let all = |count: usize| {
        let libraries = imports[..count].iter().enumerate().map(|(i, import)| guest(&format!("lib{i}"), &plain(&[], &[import.as_str()])));
        std::iter::once(root(count)).chain(libraries).collect::<Vec<_>>()
    };
    assert_eq!(try_plan(&all(MAX_MEMBERS - 1)).unwrap().units[0].members.len(), MAX_MEMBERS);
    assert!(
        try_plan(&all(MAX_MEMBERS))
            .unwrap_err()
            .to_string()
            .contains("composed of 33 components, with all that it is linked to, and the limit is 32")
    );
}

#[test]
fn a_component_of_an_odd_form_runs_by_itself_alone() {
    let odd = "(component (import \"x:lib/api\" (instance (export \"run\" (func)))) (import \"m\" (core module)))";
    let fine = "(component (core module $m) (export \"m\" (core module $m)))";
    assert!(try_plan(&[guest("odd", fine)]).is_ok());
    let error = try_plan(&[guest("odd", odd), guest("lib", &plain(&[], &["x:lib/api"]))]).unwrap_err();
    assert_eq!(error.reason(), "MissingImport");
    let linked = "(component (import \"x:lib/api\" (instance (export \"run\" (func)))) (core module $m) (export \"m\" (core module $m)))";
    let error = try_plan(&[guest("odd", linked), guest("lib", &plain(&[], &["x:lib/api"]))]).unwrap_err();
    assert!(error.to_string().contains("`odd` has a core module, `m`, among its imports and exports"), "{error}");
}

#[test]
fn a_plan_is_told_in_words() {
    let guests = vec![
        guest("web", &plain(&["wasi:http/handler@0.3.0", "x:kv/store@1.0.0", "wasi:cli/environment@0.3.0"], &["wasi:http/handler@0.3.0"])),
        guest("inner", &plain(&["wasi:clocks/wall-clock@0.2.0"], &["wasi:http/incoming-handler@0.2.0"])),
        guest("store", &plain(&[], &["x:kv/store@1.1.0"])),
    ];
    let plan = try_http(&guests, None).unwrap();
    let worlds = crate::support::worlds(&guests);
    let explained = plan.explain(&crate::support::parts(&guests, &worlds));
    let text = explained.to_string();
    for line in [
        "HTTP requests go to web\n",
        "web imports wasi:http/handler@0.3.0 from inner (wasi:http/incoming-handler@0.2.0), bridged: ",
        "web imports x:kv/store@1.0.0 from store (x:kv/store@1.1.0), fused: ",
        "web runs as one with store\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let host: Vec<(&str, &str, bool)> = explained.host.iter().map(|i| (i.component.as_str(), i.import.as_str(), i.own)).collect();
    assert_eq!(host, [("web", "wasi:cli/environment@0.3.0", true), ("inner", "wasi:clocks/wall-clock@0.2.0", false)]);
}
