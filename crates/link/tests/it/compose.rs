//! One component made of several.

use berth_link::{ComposeError, Composed, World};

use crate::support::{CONN, component, defining, exporting, guest, importing, plain, planned};

fn imports(composed: &Composed) -> Vec<String> {
    let mut imports: Vec<String> = World::read(&composed.bytes).unwrap().imports().map(str::to_owned).collect();
    imports.sort();
    imports
}

fn exports(composed: &Composed) -> Vec<String> {
    World::read(&composed.bytes).unwrap().exports().map(str::to_owned).collect()
}

/// A component with a module that can be told from others, and these imports and exports.
fn marked(mark: &str, imports: &[&str], exports: &[&str]) -> String {
    let module = format!("(component\n  (core module $mark (memory 1) (data (i32.const 0) \"{mark}\"))");
    plain(imports, exports).replacen("(component", &module, 1)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Each span holds the marks of its own component and no other's; `marks` are those of the members by their seats.
fn check_spans(composed: &Composed, marks: &[&str]) {
    assert_eq!(composed.spans.len(), marks.len());
    for (span, seat) in &composed.spans {
        let bytes = &composed.bytes[span.start as usize..span.end as usize];
        for (other, mark) in marks.iter().enumerate() {
            assert_eq!(contains(bytes, mark), other == *seat, "{mark} in the span of the member at {seat}");
        }
        assert_eq!(composed.seat_at(span.start), Some(*seat));
        assert_eq!(composed.seat_at(span.end - 1), Some(*seat));
    }
    assert_eq!(composed.seat_at(0), None);
}

#[test]
fn a_unit_of_one_is_the_component_as_it_is() {
    let planned = planned(vec![guest("a", &plain(&["wasi:cli/environment@0.2.3"], &["x:a/api"]))]);
    let composed = planned.compose("a");
    assert_eq!(composed.bytes, planned.guests[0].bytes);
    assert_eq!(composed.spans, [(0..composed.bytes.len() as u64, 0)]);
}

#[test]
fn l38_every_member_but_the_root_imports_authority_under_names_of_its_own() {
    let planned = planned(vec![
        guest("root", &marked("ROOTMARK", &["x:lib/api", "wasi:cli/environment@0.2.3", "wasi:clocks/wall-clock@0.2.0"], &["x:root/api"])),
        guest(
            "lib",
            &marked(
                "LIBMARK",
                &["x:deep/api", "wasi:cli/environment@0.2.3", "wasi:clocks/wall-clock@0.2.0"],
                &["x:lib/api", "x:unused/api"],
            ),
        ),
        guest("deep", &marked("DEEPMARK", &["wasi:cli/environment@0.2.0", "wasi:cli/stdout@0.3.0"], &["x:deep/api"])),
    ]);
    let composed = planned.compose("root");
    assert_eq!(
        imports(&composed),
        [
            "m1-wasi:cli/environment@0.2.3",
            "m2-wasi:cli/environment@0.2.0",
            "m2-wasi:cli/stdout@0.3.0",
            "wasi:cli/environment@0.2.3",
            "wasi:clocks/wall-clock@0.2.0",
        ]
    );
    assert_eq!(exports(&composed), ["x:root/api"], "only what the root exports");
    check_spans(&composed, &["ROOTMARK", "LIBMARK", "DEEPMARK"]);
}

/// Sockets of WASI 0.3, whose types and makers are one interface: what is handed over has to be of one type.
#[test]
fn l38_members_share_the_types_of_sockets_and_each_makes_its_own() {
    let sockets = r#"
        (import "wasi:sockets/types@0.3.0" (instance $s
          (export "tcp-socket" (type $t (sub resource)))
          (export "[static]tcp-socket.create" (func (result (own $t))))
          (export "[method]tcp-socket.port" (func (param "self" (borrow $t)) (result u16)))))
        (alias export $s "tcp-socket" (type $socket))
        (alias export $s "[static]tcp-socket.create" (func $create)) (core func (canon lower (func $create)))"#;
    let api = r#"(export "tcp-socket" (type $t (eq $socket))) (export "take" (func (param "socket" (own $t))))"#;
    let lib =
        |from: &str, to: &str| format!("(component {sockets} (import \"{from}\" (instance $i {api})) (export \"{to}\" (instance $i)))");
    let planned = planned(vec![
        guest("front", &format!("(component {sockets} (import \"x:lib/api\" (instance {api})) (import \"x:more/api\" (instance {api})))")),
        guest("lib", &lib("x:impl/api", "x:lib/api")),
        guest("more", &lib("x:impl/api", "x:more/api")),
    ]);
    let composed = planned.compose("front");
    assert_eq!(imports(&composed), ["m1-x:impl/api", "m2-x:impl/api", "wasi:sockets/types@0.3.0"]);
    for maker in ["[static]tcp-socket.create", "[static]tcp-socket.m1-create", "[static]tcp-socket.m2-create"] {
        assert!(contains(&composed.bytes, maker), "{maker}");
    }

    let sly = sockets.replace("tcp-socket.create", "tcp-socket.m1-create");
    let planned = self::planned(vec![
        guest("front", &format!("(component {sly} (import \"x:lib/api\" (instance {api})))")),
        guest("lib", &lib("x:impl/api", "x:lib/api")),
    ]);
    let error = berth_link::compose(&planned.plan, &planned.plan.units[0], &planned.bytes()).unwrap_err();
    assert!(matches!(error, ComposeError::Undivided { seat: 0, .. }), "{error}");
}

/// A component within that has sockets from an export of another one within, which passes them on.
#[test]
fn l38_a_member_whose_sockets_take_a_way_that_is_not_followed_is_refused_by_name() {
    let sockets = |name: &str| {
        format!(
            r#"(instance {name} (export "tcp-socket" (type $t (sub resource))) (export "[static]tcp-socket.create" (func (result (own $t)))))"#
        )
    };
    let passed = format!(
        r#"(component
             (import "wasi:sockets/types@0.3.0" {outer})
             (component $through (import "s" {outer}) (export "s" (instance $s)))
             (instance $passed (instantiate $through (with "s" (instance $s))))
             (component $user (import "sockets" {outer}) (alias export $s "[static]tcp-socket.create" (func)))
             (instance (instantiate $user (with "sockets" (instance $passed "s"))))
             (instance $api)
             (export "x:lib/api" (instance $api)))"#,
        outer = sockets("$s")
    );
    let front = r#"(component (import "x:lib/api" (instance)))"#;
    let planned = planned(vec![guest("front", front), guest("lib", &passed)]);
    let error = berth_link::compose(&planned.plan, &planned.plan.units[0], &planned.bytes()).unwrap_err();
    assert_eq!(error.seat(), Some(1));
    let error = error.to_string();
    for text in ["passes wasi:sockets/types@0.3.0 on", "tcp-socket.create", "WASI 0.2"] {
        assert!(error.contains(text), "{text}: {error}");
    }
}

/// A sibling that is to have sockets of the member's, which it exports as it imports them.
#[test]
fn l38_a_member_that_passes_its_sockets_on_to_a_sibling_is_the_one_that_is_refused() {
    let sockets = r#"(import "wasi:sockets/types@0.3.0" (instance $s
        (export "tcp-socket" (type $t (sub resource))) (export "[static]tcp-socket.create" (func (result (own $t))))))"#;
    for name in ["wasi:sockets/types@0.3.0", "x:own/sockets"] {
        let front = format!("(component {})", sockets.replace("wasi:sockets/types@0.3.0", name));
        let lib = format!("(component {sockets} (export \"{name}\" (instance $s)))");
        let planned = planned(vec![guest("front", &front).link(name, "lib"), guest("lib", &lib)]);
        let error = berth_link::compose(&planned.plan, &planned.plan.units[0], &planned.bytes()).unwrap_err();
        assert!(matches!(error, ComposeError::Undivided { seat: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("passes wasi:sockets/types@0.3.0 on"), "{error}");

        // Who asks for none of what makes sockets is given the rest.
        let front = front.replace(r#"(export "[static]tcp-socket.create" (func (result (own $t))))"#, "");
        let planned = self::planned(vec![guest("front", &front).link(name, "lib"), guest("lib", &lib)]);
        assert_eq!(imports(&planned.compose("front")), ["wasi:sockets/types@0.3.0"]);
    }
}

#[test]
fn a_diamonds_foot_is_there_once() {
    let planned = planned(vec![
        guest("a", &marked("AMARK", &["x:b/api", "x:c/api"], &["x:a/api"])),
        guest("b", &marked("BMARK", &["x:d/api"], &["x:b/api"])),
        guest("c", &marked("CMARK", &["x:d/api"], &["x:c/api"])),
        guest("d", &marked("DMARK", &["wasi:cli/stderr@0.2.0"], &["x:d/api"])),
    ]);
    let composed = planned.compose("a");
    assert_eq!(imports(&composed), ["m3-wasi:cli/stderr@0.2.0"]);
    check_spans(&composed, &["AMARK", "BMARK", "CMARK", "DMARK"]);
    let printed = composed.bytes.windows(5).filter(|window| window == b"DMARK").count();
    assert_eq!(printed, 1);
}

#[test]
fn equal_components_are_told_apart() {
    let twin = plain(&[], &["x:twin/api"]);
    let planned = planned(vec![
        guest("root", &plain(&["x:twin/api", "x:other/api"], &["x:root/api"])).link("x:twin/api", "one"),
        guest("one", &twin),
        guest("two", &twin),
        guest("user", &plain(&["x:twin/api"], &["x:other/api"])).link("x:twin/api", "two"),
    ]);
    let composed = planned.compose("root");
    let mut seats: Vec<usize> = composed.spans.iter().map(|(_, seat)| *seat).collect();
    seats.sort_unstable();
    assert_eq!(seats, [0, 1, 2, 3]);
    assert_eq!(composed.spans.iter().map(|(span, _)| span.start).collect::<std::collections::HashSet<_>>().len(), 4);
}

#[test]
fn compatible_versions_of_a_shared_interface_merge() {
    let streams = |version: &str, functions: &str| {
        format!(
            "(import \"wasi:io/error@{version}\" (instance $e (export \"error\" (type (sub resource))))) (alias export $e \"error\" (type $error)) \
             (import \"wasi:io/streams@{version}\" (instance $s (export \"output-stream\" (type $o (sub resource))) \
               (export \"error\" (type $er (eq $error))) \
               (type $v' (variant (case \"last\" (own $er)) (case \"closed\"))) (export \"stream-error\" (type $v (eq $v'))) {functions})) \
             (alias export $s \"output-stream\" (type $out))"
        )
    };
    let check = "(export \"[method]output-stream.check-write\" (func (param \"self\" (borrow $o)) (result (result u64 (error $v)))))";
    let flush = "(export \"[method]output-stream.flush\" (func (param \"self\" (borrow $o)) (result (result (error $v)))))";
    let api = "(export \"out\" (type $t (eq $out))) (export \"take\" (func (param \"o\" (own $t))))";
    for (front, back) in [("0.2.3", "0.2.6"), ("0.2.6", "0.2.3"), ("0.2.3", "0.2.3")] {
        let planned = planned(vec![
            guest("front", &format!("(component {} (import \"x:lib/api\" (instance {api})))", streams(front, check))),
            guest(
                "back",
                &format!(
                    "(component {} (import \"x:impl/api\" (instance $i {api})) (export \"x:lib/api\" (instance $i)))",
                    streams(back, flush)
                ),
            ),
        ]);
        let composed = planned.compose("front");
        let highest = front.max(back);
        assert_eq!(
            imports(&composed),
            ["m1-x:impl/api".to_owned(), format!("wasi:io/error@{highest}"), format!("wasi:io/streams@{highest}")],
            "{front} and {back}"
        );
    }
}

#[test]
fn a_resource_is_used_through_a_link() {
    let planned = planned(vec![guest("front", &importing("acme:db/api", CONN)), guest("db", &defining("acme:db/api"))]);
    assert_eq!(imports(&planned.compose("front")), Vec::<String>::new());
}

#[test]
fn every_kind_of_type_is_composed() {
    let body = r#"
        (export "conn" (type $c (sub resource)))
        (type $r' (record (field "a" u8) (field "b" (list string)) (field "c" (tuple s8 char))))
        (export "rec" (type $r (eq $r')))
        (type $v' (variant (case "x") (case "y" $r)))
        (export "var" (type $v (eq $v')))
        (type $e' (enum "p" "q"))
        (export "en" (type $e (eq $e')))
        (type $f' (flags "s" "t"))
        (export "fl" (type $f (eq $f')))
        (export "run" (func async (param "a" (option $v)) (param "b" (result $e (error $f))) (param "c" (borrow $c))
            (result (stream (own $c)))))
        (export "[constructor]conn" (func (param "x" $r) (result (own $c))))
        (export "more" (func (param "a" (future (result string))) (param "b" (stream u8)) (result (future))))"#;
    let planned = planned(vec![guest("a", &importing("acme:all/types@1.0.0", body)), guest("b", &exporting("acme:all/types@1.2.0", body))]);
    assert_eq!(imports(&planned.compose("a")), ["m1-x:impl/api"]);
}

#[test]
fn functions_and_middleware_are_composed() {
    let lift = "(core module $m (func (export \"f\") (result i32) (i32.const 1))) (core instance $i (instantiate $m)) \
                (func $f (result u32) (canon lift (core func $i \"f\")))";
    let planned = planned(vec![
        guest("outer", &format!("(component (import \"get\" (func (result u32))) {lift} (export \"get\" (func $f)))")),
        guest("inner", &format!("(component {lift} (export \"get\" (func $f)))")),
    ]);
    let composed = planned.compose("outer");
    assert_eq!((imports(&composed), exports(&composed)), (vec![], vec!["get".to_owned()]));
}

#[test]
fn handlers_that_are_bridged_stay_imports_of_each_member() {
    let planned = planned(vec![
        guest("web", &plain(&["x:lib/api", "wasi:http/handler@0.3.0"], &["x:web/api"])),
        guest("lib", &plain(&["wasi:http/handler@0.3.0"], &["x:lib/api"])),
        guest("inner", &plain(&[], &["wasi:http/handler@0.3.0"])),
    ]);
    assert_eq!(imports(&planned.compose("web")), ["m1-wasi:http/handler@0.3.0", "wasi:http/handler@0.3.0"]);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let guests = || {
        vec![
            guest("a", &plain(&["x:b/api", "x:c/api", "wasi:clocks/wall-clock@0.2.0", "wasi:cli/stdin@0.2.0"], &["x:a/one", "x:a/two"])),
            guest("b", &plain(&["x:d/api", "wasi:clocks/wall-clock@0.2.6", "wasi:io/poll@0.2.0"], &["x:b/api"])),
            guest("c", &plain(&["x:d/api", "wasi:random/random@0.2.1", "wasi:cli/stdin@0.2.0"], &["x:c/api"])),
            guest("d", &plain(&["wasi:io/poll@0.2.3", "wasi:random/random@0.2.0"], &["x:d/api"])),
        ]
    };
    let first = planned(guests()).compose("a");
    for _ in 0..20 {
        assert_eq!(planned(guests()).compose("a"), first);
    }
}

#[test]
fn bytes_that_are_missing_or_broken_are_named() {
    let planned = planned(vec![guest("a", &plain(&["x:b/api"], &[])), guest("b", &plain(&[], &["x:b/api"]))]);
    let unit = &planned.plan.units[0];
    let error = berth_link::compose(&planned.plan, unit, &planned.bytes()[..1]).unwrap_err();
    assert_eq!(error, ComposeError::NoBytes { seat: 1 });
    let other = component("(component)");
    let error = berth_link::compose(&planned.plan, unit, &[&planned.guests[0].bytes, &other]).unwrap_err();
    assert!(matches!(error, ComposeError::Link { importer: 0, exporter: 1, .. }), "{error}");
    let error = berth_link::compose(&planned.plan, unit, &[&planned.guests[0].bytes, &other[..7]]).unwrap_err();
    assert!(matches!(error, ComposeError::Member { seat: 1, .. }), "{error}");
}
