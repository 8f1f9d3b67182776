//! Whatever components are put together, there is a plan or an error with words, and what is planned can be composed.

use berth_link::{LinkError, compose};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{Guest, guest, plain, provided};

const NAMES: [&str; 14] = [
    "x:a/api",
    "x:a/api@1.0.0",
    "x:a/api@1.3.0",
    "x:a/api@2.0.0",
    "x:b/api@0.2.0",
    "x:b/api@0.2.6",
    "x:b/api@0.3.0-rc.1",
    "x:c/api",
    "wasi:http/handler@0.3.0",
    "wasi:http/incoming-handler@0.2.3",
    "wasi:cli/environment@0.2.3",
    "wasi:cli/environment@0.2.0",
    "wasi:clocks/wall-clock@0.2.3",
    "wasi:clocks/wall-clock@0.2.0",
];

fn component() -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>)> {
    let names = || btree_set(select(&NAMES[..]), 0..4).prop_map(|names| names.into_iter().collect());
    (names(), names())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_components_give_a_plan_that_can_be_composed_or_an_error(
        components in vec(component(), 1..7),
        links in vec((0usize..7, select(&NAMES[..]), option::of(0usize..7), any::<bool>()), 0..6),
        service in option::of(0usize..7),
        wants_http in any::<bool>(),
        entry in option::of(0usize..7),
    ) {
        let mut guests: Vec<Guest> =
            components.iter().enumerate().map(|(index, (imports, exports))| guest(&format!("c{index}"), &plain(imports, exports))).collect();
        for (owner, import, component, fuse) in links {
            let Some(guest) = guests.get_mut(owner) else { continue };
            let link = berth_model::workload::Link {
                import: import.parse().unwrap(),
                component: component.map(|index| format!("c{index}")),
                fuse,
            };
            guest.links.push(link);
        }
        if let Some(guest) = service.and_then(|index| guests.get_mut(index)) {
            guest.role = berth_link::Role::Service;
        }
        let worlds = crate::support::worlds(&guests);
        let parts = crate::support::parts(&guests, &worlds);
        let entry = entry.map(|index| format!("c{index}"));
        match berth_link::plan(&parts, entry.as_deref(), wants_http, &provided) {
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                prop_assert!(!matches!(error, LinkError::Mismatch(_)), "all functions are alike");
            }
            Ok(plan) => {
                let bytes: Vec<&[u8]> = guests.iter().map(|guest| guest.bytes.as_slice()).collect();
                prop_assert_eq!(plan.entry.is_some(), wants_http);
                for unit in &plan.units {
                    let composed = compose(&plan, unit, &bytes);
                    prop_assert!(composed.is_ok(), "{}", composed.unwrap_err());
                    prop_assert_eq!(composed.unwrap().spans.len(), unit.members.len());
                }
                // Everybody is somewhere.
                for part in 0..guests.len() {
                    prop_assert!(plan.units.iter().any(|unit| unit.members.contains(&part)));
                }
                prop_assert!(!plan.explain(&parts).to_string().contains("  "));
            }
        }
    }
}
