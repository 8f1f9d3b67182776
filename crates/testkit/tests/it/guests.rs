//! Guests are built once, by content, and are what they say.

use std::fs;
use std::path::Path;
use std::thread;

use berth_testkit::guests::{self, Builder, FIXTURES, Language};

/// The preamble of a component: magic, version 13, layer 1.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn each_rust_guest_is_a_component() {
    for fixture in FIXTURES.iter().filter(|fixture| fixture.language == Language::Rust) {
        let bytes = guests::bytes(fixture.name);
        assert!(bytes.starts_with(COMPONENT), "{}", fixture.name);
    }
}

#[test]
fn a_built_guest_is_not_built_again() {
    let first = guests::path("p2-hello");
    let built = fs::metadata(&first).unwrap().modified().unwrap();
    let second = guests::path("p2-hello");
    assert_eq!(first, second);
    assert_eq!(built, fs::metadata(&second).unwrap().modified().unwrap());
}

#[test]
fn many_that_ask_at_once_get_the_same_whole_guest() {
    let cache = tempfile::tempdir().unwrap();
    let builder = Builder::with_cache(cache.path().to_owned());
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let builder = builder.clone();
            thread::spawn(move || builder.path("p2-no-http").map(|path| fs::read(path).unwrap()))
        })
        .collect();
    for asker in askers {
        let bytes = asker.join().unwrap().unwrap();
        assert!(bytes.starts_with(COMPONENT));
        assert_eq!(bytes, guests::bytes("p2-no-http"));
    }
}

#[test]
fn an_unknown_guest_is_answered_with_the_names_there_are() {
    let cache = tempfile::tempdir().unwrap();
    let error = Builder::with_cache(cache.path().to_owned()).path("p9").unwrap_err();
    assert!(error.to_string().starts_with("no guest is named \"p9\"; there are echo, "), "{error}");
}

#[test]
fn every_folder_of_a_guest_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    let known = |name: &str| FIXTURES.iter().any(|fixture| fixture.language.folder().unwrap_or(fixture.name) == name);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let shared = [".cargo", "common", "wit", "link-wit", "flow-wit", "desk-wit", "target"].contains(&name.as_str());
        assert!(shared || !entry.path().is_dir() || known(&name), "guests/{name} is not in FIXTURES");
    }
}
