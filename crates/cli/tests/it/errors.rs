//! What goes wrong, with which exit code, and what to do about it.

use berth_testkit::guests::{bytes, path};

use crate::process::{Home, manifest};

#[test]
fn without_a_running_berth_every_command_says_so() {
    let home = Home::new();
    let manifest = home.write("m.yaml", manifest("a", &home.path("a.wasm"), "a.test", "1"));
    let manifest = manifest.to_str().unwrap();
    for arguments in [
        &["get", "all"][..],
        &["apply", "-f", manifest],
        &["describe", "wd", "x"],
        &["delete", "wd", "x"],
        &["logs", "x"],
        &["events"],
        &["top"],
        &["drain"],
        &["stop"],
    ] {
        let err = home.run(arguments).failed(4);
        assert!(err.contains("no berth is running") && err.contains("berth up") && err.contains("--data-dir"), "{arguments:?}: {err}");
    }
    assert!(home.run(&["version"]).ok().starts_with("berth "));
}

#[test]
fn a_second_berth_on_one_data_folder_says_who_holds_it() {
    let home = Home::new();
    let up = home.up(&[]);
    let err = home.run(&["up", "--http-addr", "127.0.0.1:0"]).failed(6);
    for part in [&format!("process {}", up.pid()), &up.addr.to_string(), "berth stop", "--data-dir"] {
        assert!(err.contains(part), "{part} is missing in: {err}");
    }
    // Another folder is another berth.
    let other = home.up(&["--data-dir", home.path("other").to_str().unwrap()]);
    assert_ne!(up.addr, other.addr);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_flag_that_changes_it() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let err = home.run(&["up", "--http-addr", &addr]).failed(6);
    assert!(err.contains(&addr) && err.contains("--http-addr"), "{err}");
    let err = home.run(&["up", "--http-addr", "127.0.0.1:0", "--admin-addr", &addr]).failed(6);
    assert!(err.contains(&addr) && err.contains("--admin-addr"), "{err}");
    // The folder is free again.
    let _up = home.up(&[]);
}

#[test]
fn files_that_are_no_components_are_told_and_the_rest_keeps_running() {
    let home = Home::new();
    let good = bytes("p2-hello");
    let mut up = home.up(&[path("p2-hello").to_str().unwrap()]);
    up.wait_for("curl http://127.0.0.1");
    let files = [
        (home.write("empty.wasm", b""), "the file is empty"),
        (home.write("words.wasm", b"just words"), "not WebAssembly"),
        (home.write("core.wasm", b"\0asm\x01\0\0\0"), "core WebAssembly module"),
        (home.write("cut.wasm", &good[..good.len() / 2]), "cut off"),
        (path("p2-no-http"), "wasi:http"),
        (path("p2-missing-import"), "acme:widgets/store"),
    ];
    for (i, (file, words)) in files.iter().enumerate() {
        let manifest = home.write("bad.yaml", manifest(&format!("bad-{i}"), file, "bad.test", "1"));
        home.run(&["apply", "-f", manifest.to_str().unwrap()]).ok();
        let line = up.wait_for(&format!("bad-{i}:"));
        assert!(line.starts_with("! error: ") && line.contains(words), "`{words}` is missing in: {line}");
        assert_eq!(up.get("any.test", "/").status, 200);
    }
    let described = home.run(&["describe", "wd", "bad-2"]).ok();
    assert!(described.contains("core WebAssembly module"), "{described}");
}

#[test]
fn a_bare_file_that_is_no_component_runs_into_a_clear_error() {
    let home = Home::new();
    home.write("words.wasm", "(module)");
    let mut up = home.up(&["words.wasm"]);
    let line = up.wait_for("! error: words:");
    assert!(line.contains("WebAssembly text"), "{line}");
}

#[test]
fn what_can_not_be_run_is_refused_before_anything_starts() {
    let home = Home::new();
    let err = home.run(&["up", "none.wasm"]).failed(5);
    assert!(err.contains("none.wasm") && err.contains("No such file"), "{err}");
    home.write("bad.yaml", manifest("a", &home.path("a.wasm"), "a.test", "1").replace("components", "component"));
    let err = home.run(&["up", "-f", "bad.yaml"]).failed(5);
    assert!(err.contains("bad.yaml") && err.contains("did you mean `components`?"), "{err}");
    assert!(!home.path(".local").exists(), "something was made before the manifest was read");
}

#[test]
fn a_resource_that_is_refused_is_told_and_the_others_are_applied() {
    let home = Home::new();
    let up = home.up(&[]);
    let good = manifest("good", &path("p2-hello"), "good.test", "1");
    let bad = manifest("bad", &path("p2-hello"), "good.test", "1").replace("  template:", "  replicas: -1\n  template:");
    let said = home.run_with_input(&["apply", "-f", "-"], &format!("{bad}---\n{good}"));
    assert_eq!(said.code, 5, "{said:?}");
    assert_eq!(said.out, "workloaddeployment.runtime.wasmcloud.dev/good created\n");
    assert!(said.err.contains("workloaddeployment.runtime.wasmcloud.dev/bad is refused") && said.err.contains("replicas"), "{}", said.err);
    drop(up);
}

#[test]
fn what_is_not_there_is_not_found() {
    let home = Home::new();
    let _up = home.up(&[]);
    for arguments in [&["get", "wd", "none"][..], &["describe", "wd/none"], &["delete", "ww", "none"], &["logs", "none"]] {
        let err = home.run(arguments).failed(3);
        assert!(err.contains("none") && err.contains("namespace default"), "{arguments:?}: {err}");
    }
    home.run(&["delete", "ww", "none", "--ignore-not-found"]).ok();
    let err = home.run(&["get", "pods"]).failed(2);
    assert!(err.contains("there is no kind `pods`"), "{err}");
    let empty = home.run(&["get", "wd"]);
    assert_eq!((empty.code, empty.out.as_str(), empty.err.as_str()), (0, "", "no workloaddeployments in namespace default\n"));
}
