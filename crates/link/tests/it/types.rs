//! Links whose two sides differ are told with the place and both types.

use berth_link::LinkError;

use crate::support::{CONN, defining, exporting, guest, importing, try_plan};

/// The mismatch between an import and an export of these bodies: place, what is expected, what is found.
fn mismatch(imported: &str, exported: &str) -> (String, String, String) {
    let guests = [guest("front", &importing("acme:kv/api", imported)), guest("back", &exporting("acme:kv/api", exported))];
    let error = try_plan(&guests).expect_err("the two sides differ");
    let LinkError::Mismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!((mismatch.component.as_str(), mismatch.provider.as_str()), ("front", "back"));
    let text = error.to_string();
    assert!(text.starts_with("component `front` imports `acme:kv/api` from `back` with another type: "), "{text}");
    (mismatch.at.clone(), mismatch.expected.clone(), mismatch.found.clone())
}

#[test]
fn a_difference_is_told_with_its_place_and_both_types() {
    let record = |field: &str| {
        format!(
            "(type $p' (record (field \"id\" {field}) (field \"name\" string))) (export \"pair\" (type $p (eq $p'))) \
             (export \"get\" (func (param \"key\" (list $p)) (result u32)))"
        )
    };
    let variant = |case: &str| {
        format!(
            "(type $v' (variant (case \"none\") (case \"some\" {case}))) (export \"v\" (type $v (eq $v'))) (export \"f\" (func (result (option $v))))"
        )
    };
    let f = |ty: &str| format!("(export \"f\" (func {ty}))");
    let enums = |names: &str| format!("(type $e' (enum {names})) (export \"e\" (type $e (eq $e'))) {}", f("(result $e)"));
    let cases = [
        (f("(param \"a\" u32)"), f("(param \"a\" string)"), "function `f`, parameter `a`", "`u32`", "`string`"),
        (f("(param \"a\" u32)"), f("(param \"b\" u32)"), "function `f`, parameter 1", "the name `a`", "`b`"),
        (f("(param \"a\" u32)"), f(""), "function `f`, parameter 1", "a parameter `a`", "no such parameter"),
        (f(""), f("(param \"a\" u32)"), "function `f`, parameter 1", "no such parameter", "a parameter `a`"),
        (f("(result u32)"), f(""), "function `f`, result", "`u32`", "`nothing`"),
        (f("async"), f(""), "function `f`", "an async function", "a sync function"),
        (f("(result (result u32 (error string)))"), f("(result (result u32 (error u8)))"), "function `f`, result, err", "`string`", "`u8`"),
        (f("(result (result u32))"), f("(result (result))"), "function `f`, result, ok", "`u32`", "`nothing`"),
        (f("(param \"a\" (stream u8))"), f("(param \"a\" (stream u16))"), "function `f`, parameter `a`, stream", "`u8`", "`u16`"),
        (f("(param \"a\" (future))"), f("(param \"a\" (future string))"), "function `f`, parameter `a`, future", "`nothing`", "`string`"),
        (f("(param \"a\" (stream u8))"), f("(param \"a\" (list u8))"), "function `f`, parameter `a`", "`stream<u8>`", "`list<u8>`"),
        (f("(param \"a\" (tuple u8 s8))"), f("(param \"a\" (tuple u8 u8))"), "function `f`, parameter `a`, element 2", "`s8`", "`u8`"),
        (f("(param \"a\" (tuple u8 u8))"), f("(param \"a\" (tuple u8))"), "function `f`, parameter `a`", "`tuple<u8, u8>`", "`tuple<u8>`"),
        (record("u32"), record("u64"), "type `pair`, field `id`", "`u32`", "`u64`"),
        (variant("u32"), variant("char"), "type `v`, case `some`", "`u32`", "`char`"),
        (enums("\"a\" \"b\""), enums("\"a\" \"c\""), "type `e`", "the case `b`", "`c` in its place"),
        (enums("\"a\""), enums("\"a\" \"c\""), "type `e`", "no case more", "a case `c`"),
    ];
    for (imported, exported, at, expected, found) in cases {
        assert_eq!(mismatch(&imported, &exported), (at.to_owned(), expected.to_owned(), found.to_owned()), "{imported} and {exported}");
    }
    let (at, expected, found) = mismatch(&f(""), "(export \"g\" (func))");
    assert_eq!((at.as_str(), expected.as_str(), found.as_str()), ("function `f`", "a function", "none of this name"));
}

#[test]
fn an_export_may_have_more_than_is_imported() {
    let guests = [
        guest("a", &importing("acme:kv/api", "(export \"get\" (func))")),
        guest("b", &exporting("acme:kv/api", "(export \"set\" (func)) (export \"get\" (func))")),
    ];
    assert!(try_plan(&guests).is_ok());
}

#[test]
fn every_link_that_differs_is_told_at_once() {
    let guests = [
        guest("a", "(component (import \"get\" (func (result u8))) (import \"acme:kv/api\" (instance (export \"f\" (func)))))"),
        guest(
            "b",
            "(component (import \"x:impl/f\" (instance $i (export \"f\" (func (result u16))))) (alias export $i \"f\" (func $f)) (export \"get\" (func $f)))",
        ),
        guest("c", &exporting("acme:kv/api", "(export \"f\" (func (param \"x\" u8)))")),
    ];
    let LinkError::Several(all) = try_plan(&guests).unwrap_err() else { panic!("two links differ") };
    let places: Vec<String> = all
        .iter()
        .map(|error| match error {
            LinkError::Mismatch(m) => format!("{} {}", m.import, m.at),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(places, ["get result", "acme:kv/api function `f`, parameter 1"]);
}

#[test]
fn resources_are_the_same_when_they_lead_to_one_definition() {
    // `front` gets the resource by way of `middle`, which got it from `db`, and hands it to `back`, which has it from `db`.
    let using = |to: &str| {
        format!(
            "(component (import \"acme:db/api\" (instance $db {CONN})) (alias export $db \"conn\" (type $c)) \
             (import \"x:impl/api\" (instance $i (export \"conn\" (type $d (eq $c))) (export \"use\" (func (param \"c\" (borrow $d)))))) \
             (export \"{to}\" (instance $i)))"
        )
    };
    let front = format!(
        "(component (import \"acme:db/api\" (instance $db {CONN})) (alias export $db \"conn\" (type $c)) \
         (import \"acme:b/use\" (instance (export \"conn\" (type $d (eq $c))) (export \"use\" (func (param \"c\" (borrow $d)))))))"
    );
    let guests = |extra: Vec<crate::support::Guest>| {
        let mut all = vec![guest("front", &front), guest("back", &using("acme:b/use")), guest("db", &defining("acme:db/api"))];
        all.extend(extra);
        all
    };
    assert_eq!(try_plan(&guests(vec![])).unwrap().links.len(), 3);

    let mut two = guests(vec![guest("other", &defining("acme:db/api"))]);
    two[0] = guest("front", &front).link("acme:db/api", "db");
    two[1] = guest("back", &using("acme:b/use")).link("acme:db/api", "other");
    let error = try_plan(&two).unwrap_err().to_string();
    let expected =
        "resource `conn`: `front` expects the resource `conn` that `db` defines, `back` has the resource `conn` that `other` defines";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn l38_handles_of_a_capability_stay_with_the_component_that_got_them() {
    let store = "(import \"x:impl/kv\" (instance $kv (export \"bucket\" (type (sub resource))))) (alias export $kv \"bucket\" (type $b))";
    let body = "(export \"bucket\" (type $d (eq $b))) (export \"use\" (func (param \"b\" (own $d))))";
    let guests = [
        guest("a", &format!("(component {store} (import \"acme:b/use\" (instance {body})))")),
        guest("b", &format!("(component {store} (import \"x:impl/api\" (instance $i {body})) (export \"acme:b/use\" (instance $i)))")),
    ];
    let error = try_plan(&guests).unwrap_err().to_string();
    assert!(error.contains("that the host gives to `a`") && error.contains("that the host gives to `b`"), "{error}");
}
