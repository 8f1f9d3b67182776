//! What stands for a composed component that isn't composed.

use berth_link::{FORMAT, compose, identity};
use berth_model::digest::Digest;

use crate::support::{Guest, Planned, guest, plain, planned};

fn chain() -> Vec<Guest> {
    vec![
        guest("front", &plain(&["a:b/back@1.0.0", "a:b/middle@1.0.0", "wasi:cli/environment@0.2.3"], &["a:b/front@1.0.0"])),
        guest("middle", &plain(&["a:b/back@1.0.0", "wasi:cli/environment@0.2.3"], &["a:b/middle@1.0.0"])),
        guest("back", &plain(&["wasi:cli/environment@0.2.3", "wasi:io/poll@0.2.3"], &["a:b/back@1.0.0"])),
    ]
}

fn id(planned: &Planned) -> Digest {
    let digests: Vec<Digest> = planned.guests.iter().map(|guest| Digest::of(&guest.bytes)).collect();
    identity(&planned.plan, &planned.plan.units[0], &digests)
}

#[test]
fn equal_members_with_equal_links_have_one_identity_and_anything_else_another() {
    let first = id(&planned(chain()));
    let mut named = chain();
    named.iter_mut().for_each(|guest| guest.name.push_str("-too"));
    assert_eq!(id(&planned(named)), first, "names don't count");
    let mut beside = chain();
    beside.push(guest("beside", &plain(&[], &["a:b/other@1.0.0"])));
    assert_eq!(id(&planned(beside)), first, "nor does who else is there");

    let mut other = chain();
    other[2] = guest("back", &plain(&["wasi:cli/environment@0.2.3"], &["a:b/back@1.0.0"]));
    assert_ne!(id(&planned(other)), first, "another member");
    let mut turned = chain();
    turned.swap(1, 2);
    assert_ne!(id(&planned(turned)), first, "other seats, and so other names of imports");

    // The same members in the same seats, linked otherwise.
    let twins = |of_front: &str| {
        let back = || guest("back", &plain(&[], &["a:b/back@1.0.0"]));
        let twin = Guest { name: "twin".into(), ..back() };
        let front = guest("front", &plain(&["a:b/back@1.0.0", "a:b/middle@1.0.0"], &["a:b/front@1.0.0"])).link("a:b/back", of_front);
        let middle = guest("middle", &plain(&["a:b/back@1.0.0"], &["a:b/middle@1.0.0"])).link("a:b/back", "twin");
        planned(vec![front, middle, back(), twin])
    };
    let (back, twin) = (twins("back"), twins("twin"));
    assert_ne!(id(&back), id(&twin), "a changed link");
}

/// Compiled code is found by what stands for a composed component. So what composing gives may change with [`FORMAT`] alone: when this test
/// fails, raise that, and put in what the test found.
#[test]
fn what_composing_gives_changes_with_its_format_alone() {
    let planned = planned(chain());
    let composed = compose(&planned.plan, &planned.plan.units[0], &planned.bytes()).unwrap();
    let found = (
        FORMAT,
        Digest::of(&composed.bytes).hex()[..16].to_owned(),
        Digest::of(format!("{:?}", planned.plan).as_bytes()).hex()[..16].to_owned(),
    );
    assert_eq!(found, (2, "46cfb06e36a2ef7e".to_owned(), "b1abbd69387295cf".to_owned()));
}
