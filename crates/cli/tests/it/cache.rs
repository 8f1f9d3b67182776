//! Images from a registry, and what is kept of them and their code.

use std::time::Instant;

use berth_testkit::guests::path;
use berth_testkit::registry::Registry;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use rustix::process::Signal;

use crate::process::{Home, PATIENCE, Up};

/// Pushes a fixture guest into a registry in plain HTTP.
pub async fn push(image: &str, guest: &str) {
    let reference: Reference = image.parse().unwrap();
    let layer = ImageLayer::new(std::fs::read(path(guest)).unwrap(), "application/wasm".to_owned(), None);
    let config = Config::new(&b"{}"[..], "application/vnd.wasm.config.v0+json".to_owned(), None);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }).unwrap();
    client.push(&reference, &[layer], config, &RegistryAuth::Anonymous, None).await.unwrap();
}

/// Runs what was applied before, until it is asked for.
fn again(home: &Home) -> Up {
    let mut up = home.up(&[]);
    up.wait_for("ready in");
    assert_eq!(up.get("anything", "/").status, 200);
    up
}

fn end(mut up: Up) -> String {
    up.signal(Signal::TERM);
    assert!(up.ended().success());
    up.said()
}

#[test]
fn l35_l36_what_was_pulled_and_compiled_once_needs_neither_registry_nor_compiler_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = Home::new();
    let registry = runtime.block_on(Registry::plain());
    let image = format!("{}/shop/hello:1", registry.name());
    runtime.block_on(push(&image, "p2-hello"));

    let mut up = home.up(&["--insecure-registry", &registry.name(), &image]);
    up.wait_for(&format!("pulling {image} ("));
    up.wait_for("compiled in");
    up.wait_for("ready in");
    assert_eq!(up.get("anything", "/").status, 200);
    end(up);
    drop(registry);

    let said = end(again(&home));
    assert!(said.contains("caches: 1 compiled component (") && said.contains("compiled before"), "{said}");

    let listed: serde_json::Value = serde_json::from_str(&home.run(&["cache", "ls", "-o", "json"]).ok()).unwrap();
    let kinds: Vec<_> = listed.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.iter().filter(|kind| **kind == "image").count(), kinds.iter().filter(|kind| **kind == "code").count()), (1, 1));
    assert!(home.run(&["cache", "ls"]).ok().contains(&image));

    let entries = home.path(".cache/berth/code/entries");
    let entry = entries.read_dir().unwrap().next().unwrap().unwrap().path();
    let mut code = std::fs::read(&entry).unwrap();
    code[100] ^= 1;
    std::fs::write(&entry, code).unwrap();
    let said = end(again(&home));
    assert!(said.contains("compiled in") && said.contains("isn't authentic"), "{said}");
    assert!(end(again(&home)).contains("compiled before"));
}

#[test]
fn caches_are_checked_and_emptied_whether_a_berth_runs_or_not() {
    let home = Home::new();
    assert!(home.run(&["cache", "ls"]).err.contains("nothing is cached"));
    let guest = path("p2-hello").display().to_string();
    let mut up = home.up(&[&guest]);
    up.wait_for("ready in");
    let deadline = Instant::now() + PATIENCE;
    while !home.run(&["cache", "ls"]).out.contains("code") {
        assert!(Instant::now() < deadline, "the code is never kept");
    }
    let entry = home.path(".cache/berth/code/entries").read_dir().unwrap().next().unwrap().unwrap().path();
    assert!(home.run(&["cache", "verify"]).ok().contains("1 file ("));
    std::fs::write(&entry, b"nonsense").unwrap();
    let said = home.run(&["cache", "verify"]).ok();
    assert!(said.contains(&format!("removed {} of compiled code", entry.file_name().unwrap().to_string_lossy())), "{said}");
    assert_eq!(up.get("anything", "/").status, 200);
    assert!(home.run(&["cache", "prune", "--all"]).ok().contains("removed 0 files (0) of compiled code"));
    assert!(home.run(&["cache", "prune"]).failed(2).contains("--all"));
    assert_eq!(up.get("anything", "/").status, 200);
}

#[test]
fn an_ephemeral_berth_keeps_no_caches_but_those_that_are_named() {
    let home = Home::new();
    let guest = path("p2-hello").display().to_string();
    let mut up = home.up(&["--ephemeral", &guest]);
    up.wait_for("ready in");
    end(up);
    assert!(!home.path(".cache/berth").exists());
    let named = home.path("caches").display().to_string();
    for words in ["compiled in", "compiled before"] {
        let mut up = home.up(&["--ephemeral", "--cache-dir", &named, &guest]);
        up.wait_for(words);
        up.wait_for("ready in");
        end(up);
    }
}

#[test]
fn settings_of_registries_and_caches_are_checked() {
    let home = Home::new();
    let said = home.run(&["up", "--insecure-registry", "Not a registry", "--code-cache-size", "many"]).failed(2);
    assert!(said.contains("--insecure-registry: `Not a registry` is not a registry") && said.contains("--code-cache-size: "), "{said}");
    let file = home.write("file", b"");
    let said = home.run(&["cache", "ls", "--cache-dir", &file.display().to_string()]).failed(1);
    assert!(said.contains("--cache-dir"), "{said}");
}
