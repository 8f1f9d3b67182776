//! Pulling from a real registry.

use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy::{Always, IfNotPresent, Never};
use berth_oci::{FetchError, ImageSource, LocalSource, PullFailure, RegistrySettings, Source as _};
use berth_testkit::registry::{FaultProxy, Registry, RegistryConfig};

use crate::pushed::{Pusher, WASM, component, image, settings, source};

#[tokio::test]
async fn l35_what_was_pulled_needs_no_network_and_survives_a_restart() {
    let registry = Registry::plain().await;
    let (name, wanted) = (registry.name(), component(1, 100_000));
    let digest = Pusher::plain().push(&format!("{name}/acme/hello:1"), &[(WASM, &wanted)]).await;
    let folder = tempfile::tempdir().unwrap();
    let hello = image(&format!("{name}/acme/hello:1"));
    let pinned = image(&format!("{name}/acme/hello@{digest}"));
    let both = image(&format!("{name}/acme/hello:other@{digest}"));

    let first = source(folder.path(), settings(&[&name]));
    let artifact = first.pull(&hello, IfNotPresent, None).await.unwrap();
    assert_eq!((artifact.bytes.to_vec(), artifact.digest, artifact.cached), (wanted.clone(), Digest::of(&wanted), false));
    drop(registry);

    let restarted = source(folder.path(), settings(&[&name]));
    for reference in [&hello, &pinned, &both] {
        for policy in [IfNotPresent, Never] {
            let artifact = restarted.pull(reference, policy, None).await.unwrap();
            assert_eq!((artifact.bytes.to_vec(), artifact.cached), (wanted.clone(), true), "{reference} {policy:?}");
        }
    }
    assert_eq!((restarted.metrics().hits.get(), restarted.metrics().pulls.get()), (6, 0));
}

#[tokio::test]
async fn l35_always_asks_the_registry_and_says_so_when_it_cannot() {
    let registry = Registry::plain().await;
    let name = registry.name();
    Pusher::plain().push(&format!("{name}/acme/hello:1"), &[(WASM, b"one")]).await;
    let folder = tempfile::tempdir().unwrap();
    let hello = image(&format!("{name}/acme/hello:1"));
    let strict = source(folder.path(), settings(&[&name]));
    strict.pull(&hello, Always, None).await.unwrap();
    drop(registry);

    let error = strict.pull(&hello, Always, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::NotRevalidated { .. }), "{error}");
    assert!(error.to_string().contains("can't be reached") && error.to_string().contains("IfNotPresent"), "{error}");
    let lenient = source(folder.path(), RegistrySettings { cached_when_unreachable: true, ..settings(&[&name]) });
    assert_eq!(lenient.pull(&hello, Always, None).await.unwrap().bytes, "one");
    let other = image(&format!("{name}/acme/other:1"));
    let error = lenient.pull(&other, Always, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::Unreachable { .. }), "{error}");
    let error = lenient.pull(&other, Never, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::NotCached), "{error}");
    assert!(error.to_string().contains("IfNotPresent"), "{error}");
}

#[tokio::test]
async fn a_tag_that_moved_is_seen_by_always_alone_and_one_that_has_not_costs_one_request() {
    let registry = Registry::plain().await;
    let proxy = FaultProxy::start(registry.addr()).await;
    let (pusher, hello) = (Pusher::plain(), image(&format!("{}/acme/hello:1", proxy.name())));
    let pushed = format!("{}/acme/hello:1", registry.name());
    pusher.push(&pushed, &[(WASM, b"one")]).await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), settings(&[&proxy.name()]));
    assert!(!source.pull(&hello, Always, None).await.unwrap().cached);

    let before = proxy.requests("/v2/");
    assert!(source.pull(&hello, Always, None).await.unwrap().cached);
    assert_eq!((proxy.requests("/v2/") - before, proxy.requests("HEAD /v2/")), (1, 1));

    pusher.push(&pushed, &[(WASM, b"two")]).await;
    assert_eq!(source.pull(&hello, IfNotPresent, None).await.unwrap().bytes, "one");
    assert_eq!(source.pull(&hello, Always, None).await.unwrap().bytes, "two");
    assert_eq!(source.pull(&hello, Never, None).await.unwrap().bytes, "two");
}

#[tokio::test]
async fn a_component_is_one_layer_of_a_known_type_and_anything_else_is_called_by_its_name() {
    let registry = Registry::plain().await;
    let (pusher, name) = (Pusher::plain(), registry.name());
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), settings(&[&name]));
    let older = "application/vnd.module.wasm.content.layer.v1+wasm";
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    pusher.push(&format!("{name}/a/older:1"), &[(older, b"older")]).await;
    assert_eq!(source.pull(&image(&format!("{name}/a/older:1")), IfNotPresent, None).await.unwrap().bytes, "older");
    for (tag, layers, said) in [
        ("two", &[(WASM, &b"a"[..]), (WASM, b"b")][..], "exactly one layer, of type application/wasm"),
        ("container", &[(tar, b"a"), (tar, b"b")], "it is a container image, not a WebAssembly component"),
        ("text", &[("text/plain", b"a")], "text/plain"),
    ] {
        let pushed = format!("{name}/a/b:{tag}");
        pusher.push(&pushed, layers).await;
        let error = source.pull(&image(&pushed), IfNotPresent, None).await.unwrap_err();
        assert!(matches!(error.reason, PullFailure::NotAComponent { .. }), "{error}");
        assert!(error.to_string().contains(said) && error.to_string().contains(&pushed), "{error}");
    }
    assert_eq!(source.metrics().failures.get(), 3);
}

#[tokio::test]
async fn of_an_index_the_image_for_wasm_is_pulled_and_then_needs_no_network() {
    let registry = Registry::plain().await;
    let (pusher, name) = (Pusher::plain(), registry.name());
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let container = pusher.push(&format!("{name}/a/b:container"), &[(tar, b"tar")]).await;
    let other = pusher.push(&format!("{name}/a/b:other"), &[(tar, b"other")]).await;
    let wasm = pusher.push(&format!("{name}/a/b:wasm"), &[(WASM, b"wasm")]).await;
    pusher.push_index(&format!("{name}/a/b:1"), &[(&container, "linux", "amd64"), (&wasm, "wasip2", "wasm")]).await;
    pusher.push_index(&format!("{name}/a/b:2"), &[(&container, "linux", "amd64"), (&other, "linux", "arm64")]).await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), settings(&[&name]));
    let index = image(&format!("{name}/a/b:1"));
    assert_eq!(source.pull(&index, Always, None).await.unwrap().bytes, "wasm");
    let error = source.pull(&image(&format!("{name}/a/b:2")), Always, None).await.unwrap_err();
    assert!(error.to_string().contains("linux/amd64, linux/arm64, none of which is WebAssembly"), "{error}");
    drop(registry);
    assert_eq!(source.pull(&index, Never, None).await.unwrap().bytes, "wasm");
}

#[tokio::test]
async fn what_is_not_there_is_said_at_once_with_what_the_registry_says() {
    let registry = Registry::plain().await;
    let proxy = FaultProxy::start(registry.addr()).await;
    Pusher::plain().push(&format!("{}/a/b:1", registry.name()), &[(WASM, b"a")]).await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), settings(&[&proxy.name()]));
    for missing in ["a/b:2", "no/such:1"] {
        let error = source.pull(&image(&format!("{}/{missing}", proxy.name())), IfNotPresent, None).await.unwrap_err();
        assert!(matches!(error.reason, PullFailure::NotFound { .. }), "{error}");
        assert!(error.to_string().contains(missing) && error.to_string().contains("unknown"), "{error}");
    }
    assert_eq!(proxy.requests("/v2/"), 2);
}

#[tokio::test]
async fn only_registries_named_as_insecure_are_spoken_to_without_tls() {
    let registry = Registry::plain().await;
    let name = registry.name();
    Pusher::plain().push(&format!("{name}/a/b:1"), &[(WASM, b"a")]).await;
    let folder = tempfile::tempdir().unwrap();
    let error = source(folder.path(), settings(&[])).pull(&image(&format!("{name}/a/b:1")), IfNotPresent, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::PlainHttp { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("--insecure-registry {name}")), "{error}");
}

#[tokio::test]
async fn a_registry_with_tls_is_trusted_by_its_own_authority() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    let config = RegistryConfig { tls: Some((server.pem(), server_key.serialize_pem())), ..RegistryConfig::default() };
    let registry = Registry::start(config).await;
    let (name, folder) = (registry.name(), tempfile::tempdir().unwrap());
    Pusher::tls(&ca_pem).push(&format!("{name}/a/b:1"), &[(WASM, b"a")]).await;
    let hello = image(&format!("{name}/a/b:1"));

    let error = source(folder.path(), settings(&[])).pull(&hello, IfNotPresent, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::UnknownCa { .. }), "{error:?}");
    assert!(error.to_string().contains("--registry-ca-path FILE"), "{error}");
    let error = source(folder.path(), settings(&[&name])).pull(&hello, IfNotPresent, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::NotPlainHttp { .. }), "{error:?}");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &ca_pem).unwrap();
    let trusting = source(folder.path(), RegistrySettings { ca_file: Some(ca_file), ..settings(&[]) });
    assert_eq!(trusting.pull(&hello, IfNotPresent, None).await.unwrap().bytes, "a");
}

#[tokio::test]
async fn one_source_takes_images_from_registries_and_from_disk() {
    let registry = Registry::plain().await;
    let name = registry.name();
    Pusher::plain().push(&format!("{name}/a/b:1"), &[(WASM, b"pulled")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wasm");
    std::fs::write(&file, "read").unwrap();
    let registries = source(folder.path(), settings(&[&name]));
    let images = ImageSource::new(LocalSource::default(), registries.clone());
    let fetch = async |text: &str| images.fetch(&ImageRef::parse(text).unwrap(), IfNotPresent, None).await;
    assert_eq!(fetch(&format!("{name}/a/b:1")).await.unwrap().bytes, "pulled");
    assert_eq!(fetch(&format!("file://{}", file.display())).await.unwrap().bytes, "read");
    let error = fetch(&format!("{name}/a/b:2")).await.unwrap_err();
    assert!(matches!(&error, FetchError::Pull(_)) && error.to_string().starts_with(&format!("pulling {name}/a/b:2: ")), "{error}");
    let error = registries.fetch(&ImageRef::File(file), IfNotPresent, None).await.unwrap_err();
    assert!(matches!(error, FetchError::NotInRegistry { .. }), "{error}");
}
