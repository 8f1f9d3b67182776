//! Divided interfaces in components of several shapes.

use super::super::{Fault, member};
use super::MAX_NESTED;
use crate::World;
use crate::world::Item;

const SOCKETS: &str = "wasi:sockets/types@0.3.0";

/// An interface of sockets with these names of what makes one and of a method.
fn interface(maker: &str, method: &str) -> String {
    format!(
        r#"(instance $s
             (export "tcp-socket" (type $t (sub resource)))
             (export "{maker}" (func (result (own $t))))
             (export "{method}" (func (param "self" (borrow $t)) (result u16))))"#
    )
}

/// What imports sockets and calls both functions, as bindings do.
fn user(maker: &str, method: &str) -> String {
    format!(
        r#"(import "{SOCKETS}" {})
           (alias export $s "{maker}" (func $make)) (core func (canon lower (func $make)))
           (alias export $s "{method}" (func $ask)) (core func (canon lower (func $ask)))"#,
        interface(maker, method)
    )
}

const MAKER: &str = "[static]tcp-socket.create";
const METHOD: &str = "[method]tcp-socket.port";

fn component(body: &str) -> Vec<u8> {
    let text = format!("(component {body})");
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Rewrites the component as this member, and reads what it asks of sockets then; reading validates it.
fn asked(bytes: &[u8], seat: usize, fused: &dyn Fn(&str) -> bool) -> Vec<String> {
    let rewritten = member(bytes, seat, fused).unwrap();
    let world = World::read(&rewritten.bytes).unwrap();
    let Some(Item::Interface(items)) = world.imports.get(SOCKETS) else { panic!("{:?}", world.imports().collect::<Vec<_>>()) };
    items.iter().filter(|(_, item)| matches!(item, Item::Func(_))).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn l38_a_member_takes_what_makes_sockets_under_a_name_of_its_own() {
    let before = r#"(type u8) (import "x:before/api" (instance $before (export "t" (type (sub resource))) (export "run" (func))))
                    (alias export $before "t" (type)) (alias export $before "run" (func))"#;
    for bytes in [component(&user(MAKER, METHOD)), component(&format!("{before} {}", user(MAKER, METHOD)))] {
        assert_eq!(asked(&bytes, 0, &|_| false), [MAKER, METHOD]);
        assert_eq!(asked(&bytes, 2, &|_| false), ["[static]tcp-socket.m2-create", METHOD]);
        assert_eq!(asked(&bytes, 2, &|import| import == SOCKETS), [MAKER, METHOD], "what is fused isn't the host's");
    }
}

#[test]
fn l38_so_does_a_component_within_that_is_given_the_interface() {
    let given = format!(r#"(with "{SOCKETS}" (instance $s))"#);
    let mut body = user(MAKER, METHOD);
    for _ in 0..MAX_NESTED {
        body = format!("(import \"{SOCKETS}\" {}) (component $in {body}) (instance (instantiate $in {given}))", interface(MAKER, METHOD));
    }
    assert_eq!(asked(&component(&body), 1, &|_| false), ["[static]tcp-socket.m1-create", METHOD]);

    let deeper = format!("(import \"{SOCKETS}\" {}) (component $in {body}) (instance (instantiate $in {given}))", interface(MAKER, METHOD));
    let fault = member(&component(&deeper), 1, &|_| false).err();
    assert_eq!(fault, Some(Fault::Nested { interface: SOCKETS.to_owned(), most: MAX_NESTED }));
}

#[test]
fn a_component_within_that_has_sockets_of_another_is_left_alone() {
    let inner = user(MAKER, METHOD);
    let body = format!(
        r#"{} (component $in {inner})
           (import "x:own/sockets" {})
           (instance (instantiate $in (with "{SOCKETS}" (instance $own))))"#,
        user(MAKER, METHOD),
        interface(MAKER, METHOD).replacen("$s", "$own", 1)
    );
    assert_eq!(asked(&component(&body), 1, &|_| false), ["[static]tcp-socket.m1-create", METHOD]);
}

/// An instance that is fused, or any other, has the functions that its type says, under their own names.
#[test]
fn l38_a_type_that_another_import_has_too_is_refused_where_it_would_be_renamed() {
    let shared = |ty: &str| {
        let imports = format!("(import \"{SOCKETS}\" (instance (type $both)))");
        let other = "(import \"x:own/sockets\" (instance (type $both)))";
        let ty = ty.replacen("(instance $s", "(type $both (instance", 1) + ")";
        [component(&format!("{ty} {imports} {other}")), component(&format!("{ty} {other} {imports}"))]
    };
    for bytes in shared(&interface(MAKER, METHOD)) {
        let fault = member(&bytes, 1, &|_| false).err();
        assert_eq!(fault, Some(Fault::Shared { interface: SOCKETS.to_owned() }));
        assert_eq!(asked(&bytes, 0, &|_| false), [MAKER, METHOD], "the root's functions keep their names");
        assert_eq!(asked(&bytes, 1, &|import| import == SOCKETS), [MAKER, METHOD], "no import is the host's");
    }
    let methods =
        interface(METHOD, "[method]tcp-socket.address").replace("(func (result (own $t)))", "(func (param \"self\" (borrow $t)))");
    for bytes in shared(&methods) {
        assert_eq!(asked(&bytes, 1, &|_| false), [METHOD, "[method]tcp-socket.address"], "nothing is renamed");
    }
}

#[test]
fn l38_nobody_asks_for_what_another_makes_sockets_with() {
    let theirs = component(&user("[static]tcp-socket.m1-create", METHOD));
    let fault = member(&theirs, 0, &|_| false).err().unwrap();
    assert!(fault.to_string().contains("`[static]tcp-socket.m1-create` of wasi:sockets/types@0.3.0"), "{fault}");
    assert_eq!(asked(&theirs, 2, &|_| false), ["[static]tcp-socket.m2-m1-create", METHOD], "which nobody has");

    let constructed = component(&user("[constructor]tcp-socket", METHOD));
    for seat in [0, 1] {
        let fault = member(&constructed, seat, &|_| false).err().unwrap();
        assert!(matches!(fault, Fault::Function { .. }), "{fault}");
    }
}

#[test]
fn l38_an_interface_whose_type_is_not_written_out_is_refused() {
    // Within a component a type may be one of those around it; at the outermost level there is nothing around.
    let around = format!(
        r#"(type $sockets {}) (import "{SOCKETS}" (instance $s (type $sockets)))
           (component $in (alias outer 1 $sockets (type $outer)) (import "{SOCKETS}" (instance (type $outer))))
           (instance (instantiate $in (with "{SOCKETS}" (instance $s))))"#,
        interface(MAKER, METHOD).replacen("(instance $s", "(instance", 1)
    );
    let fault = member(&component(&around), 1, &|_| false).err();
    assert_eq!(fault, Some(Fault::Type { interface: SOCKETS.to_owned() }));
}
