//! Reading what a component imports and exports.

use berth_link::{ReadError, World};

use crate::support::{CONN, component, defining, exporting, guest, importing, try_plan};

#[test]
fn names_are_read_in_the_components_order() {
    let text = r#"(component
        (import "wasi:io/error@0.2.3" (instance (export "error" (type (sub resource)))))
        (import "log-line" (func (param "line" string)))
        (import "acme:kv/store@1.2.0" (instance $s (export "get" (func async (param "key" string) (result (stream u8))))))
        (export "acme:kv/more" (instance $s)))"#;
    let world = World::read(&component(text)).unwrap();
    assert_eq!(world.imports().collect::<Vec<_>>(), ["wasi:io/error@0.2.3", "log-line", "acme:kv/store@1.2.0"]);
    assert_eq!(world.exports().collect::<Vec<_>>(), ["acme:kv/more"]);
}

#[test]
fn what_is_no_component_is_refused_by_name() {
    assert_eq!(World::read(b"").unwrap_err(), ReadError::NotAComponent);
    assert_eq!(World::read(b"hello").unwrap_err(), ReadError::NotAComponent);
    assert_eq!(World::read(&component("(module)")).unwrap_err(), ReadError::NotAComponent);
    let whole = component(&defining("acme:db/api"));
    for length in 8..whole.len() {
        // Some beginnings are components themselves.
        if let Err(error) = World::read(&whole[..length]) {
            assert!(matches!(error, ReadError::Invalid(_)), "{length}: {error}");
        }
    }
}

#[test]
fn every_kind_of_type_is_read() {
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
        (export "run" (func async (param "a" (option $v)) (param "b" (result $e (error $f))) (param "c" (borrow $c)) (param "d" (list u8 4))
            (result (stream (own $c)))))
        (export "more" (func (param "a" (future (result string))) (param "b" (stream)) (param "c" error-context) (result (future))))"#;
    let guests = [guest("a", &importing("acme:all/types", body)), guest("b", &exporting("acme:all/types", body))];
    assert_eq!(try_plan(&guests).unwrap().links.len(), 1);
}

#[test]
fn a_resource_is_known_by_who_brought_it() {
    let guests = [guest("a", &importing("acme:db/api", CONN)), guest("b", &defining("acme:db/api"))];
    assert_eq!(try_plan(&guests).unwrap().links.len(), 1);
}
