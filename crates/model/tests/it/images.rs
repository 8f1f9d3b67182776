//! Image references.

use std::path::Path;

use berth_model::digest::Digest;
use berth_model::image::{ImageRef, RegistryRef};
use proptest::prelude::*;

fn registry(text: &str) -> RegistryRef {
    match ImageRef::parse(text) {
        Ok(ImageRef::Registry(reference)) => reference,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn dockers_defaults_are_filled_in() {
    let cases = [
        ("hello", "docker.io/library/hello:latest"),
        ("acme/hello", "docker.io/acme/hello:latest"),
        ("hello:1.2", "docker.io/library/hello:1.2"),
        ("index.docker.io/hello", "docker.io/library/hello:latest"),
        ("ghcr.io/acme/hello", "ghcr.io/acme/hello:latest"),
        ("localhost/hello", "localhost/hello:latest"),
        ("localhost:5000/hello:v1", "localhost:5000/hello:v1"),
        ("[::1]:5000/a/b_c/d__e/f--g/h.i:V_1.2-3", "[::1]:5000/a/b_c/d__e/f--g/h.i:V_1.2-3"),
        (" ghcr.io/acme/hello:1 ", "ghcr.io/acme/hello:1"),
    ];
    for (text, full) in cases {
        assert_eq!(ImageRef::parse(text).unwrap().to_string(), full, "{text}");
    }
}

#[test]
fn a_digest_stands_for_itself_and_beside_a_tag() {
    let digest = Digest::of(b"hello");
    let pinned = registry(&format!("ghcr.io/acme/hello@{digest}"));
    assert_eq!((pinned.tag, pinned.digest.as_ref()), (None, Some(&digest)));
    let both = registry(&format!("ghcr.io/acme/hello:1@{digest}"));
    assert_eq!((both.tag.as_deref(), both.digest), (Some("1"), Some(digest)));
}

#[test]
fn files_and_layout_folders_have_forms_of_their_own() {
    assert_eq!(ImageRef::parse("file:///a/b.wasm").unwrap(), ImageRef::File("/a/b.wasm".into()));
    assert_eq!(ImageRef::parse("file://a/b.wasm").unwrap(), ImageRef::File("a/b.wasm".into()));
    assert_eq!(ImageRef::parse("file:./b.wasm").unwrap(), ImageRef::File("./b.wasm".into()));
    let layout = |path: &str, reference: Option<&str>| ImageRef::OciLayout { path: path.into(), reference: reference.map(Into::into) };
    assert_eq!(ImageRef::parse("oci:out").unwrap(), layout("out", None));
    assert_eq!(ImageRef::parse("oci://out:v1").unwrap(), layout("out", Some("v1")));
    assert_eq!(ImageRef::parse("oci:///a:b/out").unwrap(), layout("/a:b/out", None));
    let digest = Digest::of(b"");
    assert_eq!(ImageRef::parse(&format!("oci:out@{digest}")).unwrap(), layout("out", Some(digest.as_str())));
    assert_eq!(ImageRef::parse("artifact://hello").unwrap(), ImageRef::Artifact("hello".into()));
}

#[test]
fn a_file_without_its_scheme_is_told_apart_from_a_registrys() {
    for text in ["./hello.wasm", "../hello", "/hello.wasm", "~/hello.wasm", "Hello.wasm", "target/My App.wasm"] {
        let error = ImageRef::parse(text).expect_err(text).to_string();
        assert!(error.contains("file://PATH"), "{error}");
    }
    for text in ["hello.wasm", "target/release/hello.wasm", " a/b.WAT "] {
        assert_eq!(ImageRef::looks_like_file(text), ImageRef::parse(text).is_ok(), "{text}");
    }
    assert!(ImageRef::looks_like_file("hello.wasm"));
    for text in ["hello", "file://hello.wasm", "ghcr.io/acme/hello.wasm:1", "oci:out.wasm", ".wasm", "artifact://hello.wasm"] {
        assert!(!ImageRef::looks_like_file(text), "{text}");
    }
}

#[test]
fn relative_paths_are_taken_from_the_manifests_folder() {
    let dir = Path::new("/srv/app");
    let at = |text: &str| ImageRef::parse(text).unwrap().relative_to(dir).to_string();
    assert_eq!(at("file://hello.wasm"), "file:///srv/app/hello.wasm");
    assert_eq!(at("file:///hello.wasm"), "file:///hello.wasm");
    assert_eq!(at("oci:out:v1"), "oci:///srv/app/out:v1");
    assert_eq!(at("ghcr.io/acme/hello:1"), "ghcr.io/acme/hello:1");
}

#[test]
fn what_is_no_reference_is_refused_with_the_way_out() {
    let cases = [
        ("", "empty"),
        ("./hello.wasm", "file://PATH"),
        ("/srv/hello.wasm", "file://PATH"),
        ("file:", "missing"),
        ("file://", "missing"),
        ("oci:", "missing"),
        ("oci::v1", "missing"),
        ("oci:out:", "tag"),
        ("oci:out:a b", "tag"),
        ("oci:out@sha256:12", "digest"),
        ("artifact://", "artifact://"),
        ("artifact://a/b", "artifact://"),
        ("https://ghcr.io/acme/hello", "no scheme"),
        ("ghcr.io/Acme/hello", "lower-case"),
        ("ghcr.io/acme/hello:", "tag"),
        ("ghcr.io/acme/hello:.x", "tag"),
        ("ghcr.io/acme/hello@sha256:12", "digest"),
        ("ghcr.io/acme//hello", "repository"),
        ("ghcr.io/acme/-hello", "repository"),
        ("ghcr.io/acme/a...b", "repository"),
        ("ghcr.io/", "repository"),
        ("ghcr.io:99999/hello", "registry"),
        ("-bad.io/hello", "registry"),
        ("a\nb", "control"),
    ];
    for (text, reason) in cases {
        let error = ImageRef::parse(text).expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert!(ImageRef::parse(&"a".repeat(300)).is_err());
}

proptest! {
    #[test]
    fn any_text_is_an_image_or_an_error(text in any::<String>()) {
        let _ = ImageRef::parse(&text);
    }

    #[test]
    fn an_image_reads_back_as_itself(
        text in "(file:|file://|oci:|oci://|artifact://|)[a-zA-Z0-9./_-]{0,12}([/:@][a-zA-Z0-9./_-]{0,12}){0,3}(@sha256:[0-9a-f]{64})?"
    ) {
        if let Ok(image) = ImageRef::parse(&text) {
            prop_assert_eq!(ImageRef::parse(&image.to_string()).unwrap(), image.clone());
            let moved = image.relative_to(Path::new("/some:where/else"));
            prop_assert_eq!(ImageRef::parse(&moved.to_string()).unwrap(), moved);
        }
    }
}
