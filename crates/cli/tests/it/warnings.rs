//! What is told and not refused, and what is refused before it reaches a berth.

use berth_testkit::guests::path;

use crate::process::{Home, manifest};

const NAME: &str = "workloaddeployment.runtime.wasmcloud.dev/shop";

#[test]
fn an_image_that_is_not_there_is_applied_with_a_warning() {
    let home = Home::new();
    let _up = home.up(&[]);
    home.write("shop.yaml", manifest("shop", "none.wasm".as_ref(), "shop.test", "1"));
    let said = home.run(&["apply", "-f", "shop.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (0, format!("{NAME} created\n").as_str()), "{said:?}");
    let head = format!("warning: {NAME}: spec.template.spec.components[0].image: {} can't be read", home.path("none.wasm").display());
    assert!(said.err.starts_with(&head) && said.err.contains("No such file"), "{}", said.err);
    // With -o json, it is in the JSON.
    let said = home.run(&["apply", "-f", "shop.yaml", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((value["warnings"][0]["name"].as_str(), said.err.as_str()), (Some("shop"), ""), "{value}");
    // And deleting it needs no image.
    assert_eq!(home.run(&["delete", "-f", "shop.yaml"]).err, "");
}

#[test]
fn an_image_that_looks_like_a_file_is_told_of() {
    let home = Home::new();
    let _up = home.up(&[]);
    let text = manifest("shop", "hello.wasm".as_ref(), "shop.test", "1");
    let said = home.run_with_input(&["apply", "-f", "-"], &text.replace("file://", ""));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("`hello.wasm` is taken for a repository in a registry; a file is written file://hello.wasm"), "{}", said.err);
    let said = home.run_with_input(&["apply", "-f", "-"], &text.replace("file://", "./"));
    assert!(said.code == 5 && said.err.contains("write a file's path as file://PATH"), "{said:?}");
}

#[test]
fn what_has_no_effect_yet_is_told_when_it_is_applied_and_when_it_is_run() {
    let home = Home::new();
    let text = manifest("shop", &path("p2"), "shop.test", "1")
        .replace("      components:", "      - {namespace: wasi, package: keyvalue, interfaces: [store]}\n      components:");
    home.write("shop.yaml", text);
    let mut up = home.up(&["-f", "shop.yaml"]);
    up.hear(&format!("! warning: {NAME}: spec.template.spec.hostInterfaces[1]: has no effect yet"));
    up.hear("curl ");
    let said = home.run(&["apply", "-f", "shop.yaml"]);
    assert_eq!((said.code, said.out), (0, format!("{NAME} unchanged\n")));
    assert!(said.err.contains("imports wasi:keyvalue isn't started"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
}

#[test]
fn what_is_given_twice_is_refused_with_both_places() {
    let home = Home::new();
    let text = manifest("shop", &path("p2"), "shop.test", "1");
    home.write("twice.yaml", format!("{text}---\n{text}"));
    let err = home.run(&["up", "-f", "twice.yaml"]).failed(5);
    assert!(err.contains("document 2, line 20: metadata.name: the WorkloadDeployment `shop` is in line 1 already"), "{err}");
    home.write("a.yaml", &text);
    home.write("b.yaml", &text);
    let err = home.run(&["up", "-f", "a.yaml", "-f", "b.yaml"]).failed(5);
    assert!(err.contains("`shop` of namespace default comes from a.yaml and from b.yaml"), "{err}");
    for folder in ["x", "y"] {
        std::fs::create_dir(home.path(folder)).unwrap();
        std::fs::copy(path("p2-hello"), home.path(folder).join("hello.wasm")).unwrap();
    }
    let err = home.run(&["up", "x/hello.wasm", "y/hello.wasm"]).failed(5);
    assert!(err.contains("x/hello.wasm") && err.contains("y/hello.wasm"), "{err}");
}

#[test]
fn every_fault_of_a_manifest_is_told_at_once_and_a_large_one_is_called_so() {
    let home = Home::new();
    let text = manifest("shop", &path("p2"), "shop.test", "1");
    let text =
        text.replace("  template:", "  replicas: 99999999999\n  template:").replace("\"1\"", "1").replace("package: http", "package: 1");
    home.write("bad.yaml", text);
    let err = home.run(&["up", "-f", "bad.yaml"]).failed(5);
    assert_eq!(err.lines().count(), 3, "{err}");
    for part in ["replicas: must be a whole number from 0 to", "package: must be text", "VERSION: must be text"] {
        assert!(err.contains(part), "{part} is missing in: {err}");
    }
    home.write("large.yaml", "# ".repeat(5 << 19));
    let err = home.run(&["up", "-f", "large.yaml"]).failed(5);
    assert!(err.contains("larger than 4 MiB") && err.contains("split it") && !err.contains("without -f"), "{err}");
    let err = home.run(&["up", "-f", path("p2").to_str().unwrap()]).failed(5);
    assert!(err.contains("WebAssembly, not a manifest") && err.contains("without -f"), "{err}");
}
