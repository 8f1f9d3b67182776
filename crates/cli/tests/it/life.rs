//! A berth's life: up, edited, killed, again up, stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, PATIENCE, Up, get, manifest};

#[test]
fn a_bare_component_answers_at_the_url_that_is_printed() {
    let home = Home::new();
    std::fs::copy(path("p2-hello"), home.path("Hello_World.wasm")).unwrap();
    let mut up = home.up(&["Hello_World.wasm"]);
    up.wait_for("workloaddeployment.runtime.wasmcloud.dev/hello-world created");
    up.wait_for("compiled in ");
    up.wait_for("hello-world: ready in ");
    let line = up.wait_for("curl ");
    assert_eq!(line.trim(), format!("curl http://{}", up.addr));
    let answer = up.get("whatever.test", "/");
    assert!(answer.status == 200 && answer.text.contains("Hello from WASI 0.2!"), "{answer:?}");
    assert_eq!(home.run(&["stop"]).ok(), "draining\ndrained\nstopped\n");
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
}

#[test]
fn a_component_of_wasi_0_3_answers_and_is_refused_by_name_when_that_is_off() {
    let home = Home::new();
    std::fs::copy(path("p3-hello"), home.path("hello.wasm")).unwrap();
    let mut up = home.up(&["hello.wasm", "--ephemeral"]);
    up.wait_for("curl ");
    assert!(up.get("any.test", "/").text.contains("Hello from WASI 0.3!"));
    drop(up);
    let mut up = home.up(&["hello.wasm", "--ephemeral", "--no-wasi-p3"]);
    let line = up.wait_for("! error: hello:");
    assert!(line.contains("0.3"), "{line}");
}

/// What the host's metric says at the moment.
fn sample(up: &Up, admin: SocketAddr, metric: &str) -> u64 {
    let text = get(admin, "admin", "/metrics").unwrap_or_else(|error| panic!("{error}: {}", up.said())).text;
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {metric}")).trim().parse().unwrap()
}

#[test]
fn with_tiers_a_component_is_optimized_while_it_serves_and_once_for_all_starts() {
    let home = Home::new();
    std::fs::copy(path("p2-hello"), home.path("hello.wasm")).unwrap();
    let start = || {
        let mut up = home.up(&["hello.wasm", "--tiered-compilation", "--admin-addr", "127.0.0.1:0"]);
        let admin: SocketAddr = up.wait_for("/metrics on http://").rsplit_once("//").unwrap().1.trim().parse().unwrap();
        up.wait_for("curl ");
        (up, admin)
    };
    let (mut up, admin) = start();
    let deadline = Instant::now() + PATIENCE;
    while sample(&up, admin, "berth_optimizations_total") == 0 || !home.run(&["cache", "ls"]).ok().contains("code") {
        assert!(up.get("any.test", "/").text.contains("Hello from WASI 0.2!"));
        assert!(Instant::now() < deadline, "it is never optimized: {}", up.said());
    }
    assert_eq!(sample(&up, admin, "berth_compiles_total"), 1);
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
    let (up, admin) = start();
    assert!(up.get("any.test", "/").text.contains("Hello from WASI 0.2!"));
    assert_eq!((sample(&up, admin, "berth_compiles_total"), sample(&up, admin, "berth_code_cache_hits_total")), (0, 1));
}

#[test]
fn an_oci_layout_folder_runs_like_a_file() {
    let home = Home::new();
    for guest in ["p2-hello", "p3-hello"] {
        layout(&home, guest);
        let mut up = home.up(&[guest, "--ephemeral"]);
        up.wait_for("curl ");
        assert!(up.get("any.test", "/").text.contains(&format!("x-guest: {guest}")));
    }
}

/// An OCI image layout with one component, as docs/compatibility.md has it.
fn layout(home: &Home, guest: &str) {
    let component = berth_testkit::guests::bytes(guest);
    let blob = |bytes: &[u8]| {
        let digest = berth_node::model::digest::Digest::of(bytes);
        home.write(&format!("{guest}/blobs/sha256/{}", digest.hex()), bytes);
        serde_json::json!({"digest": digest.to_string(), "size": bytes.len()})
    };
    let described = |mut descriptor: serde_json::Value, kind: &str| {
        descriptor["mediaType"] = kind.into();
        descriptor
    };
    let config = described(blob(b"{\"architecture\":\"wasm\",\"os\":\"wasip2\"}"), "application/vnd.wasm.config.v0+json");
    let layer = described(blob(&component), "application/wasm");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).to_string();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [described(blob(manifest.as_bytes()), kind)]});
    home.write(&format!("{guest}/index.json"), index.to_string());
    home.write(&format!("{guest}/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
}

#[test]
fn a_folder_with_a_manifest_answers_its_domain_and_follows_edits() {
    let home = Home::new();
    std::fs::create_dir(home.path("shop")).unwrap();
    std::fs::copy(path("p2"), home.path("shop/shop.wasm")).unwrap();
    let write = |version: &str| home.write("shop/manifest.yaml", manifest("shop", "./shop.wasm".as_ref(), "shop.localhost", version));
    write("1");
    let mut up = home.up(&["shop"]);
    let line = up.wait_for("curl ");
    assert_eq!(line.trim(), format!("curl http://shop.localhost:{}", up.addr.port()));
    assert!(up.get("shop.localhost", "/env").text.contains("\"1\""));
    assert_eq!(up.get("other.test", "/").status, 404);

    write("2");
    let said = home.run(&["apply", "-f", "shop/manifest.yaml", "--wait"]).ok();
    let name = "workloaddeployment.runtime.wasmcloud.dev/shop";
    assert_eq!(said, format!("{name} configured\n{name} ready\n"));
    assert!(up.get("shop.localhost", "/env").text.contains("\"2\""));
    assert_eq!(home.run(&["apply", "-f", "shop"]).ok(), format!("{name} unchanged\n"));

    // The same path with other content is another version.
    std::fs::copy(path("p2-hello"), home.path("shop/shop.wasm")).unwrap();
    assert!(home.run(&["apply", "-f", "shop", "--wait"]).ok().starts_with(&format!("{name} configured")));
    assert!(up.get("shop.localhost", "/").text.contains("x-guest: p2-hello"));

    assert_eq!(home.run(&["delete", "-f", "shop"]).ok(), format!("{name} deleted\n"));
    let err = home.run(&["get", "wd", "shop"]).failed(3);
    assert!(err.contains("shop"), "{err}");
}

#[test]
fn killed_and_started_again_it_comes_back_with_what_was_applied() {
    let home = Home::new();
    let file = home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "1"));
    let mut up = home.up(&["-f", file.to_str().unwrap()]);
    up.wait_for("curl ");
    home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "2"));
    home.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    up.signal(Signal::KILL);
    assert_eq!(up.ended().code(), None);

    let mut up = home.up(&[]);
    up.wait_for("1 workload from before starts again");
    // The edit was kept, and what was killed before it was rolled out is rolled out now.
    let name = "workloaddeployment.runtime.wasmcloud.dev/shop";
    assert_eq!(home.run(&["apply", "-f", file.to_str().unwrap(), "--wait"]).ok(), format!("{name} unchanged\n{name} ready\n"));
    let answer = up.get("shop.test", "/env");
    assert!(answer.status == 200 && answer.text.contains("\"2\""), "{answer:?}");
}

#[test]
fn ephemeral_keeps_nothing() {
    let home = Home::new();
    let tmp = home.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut command = home.command(&["up", "--http-addr", "127.0.0.1:0", "--ephemeral", path("p2-hello").to_str().unwrap()]);
    let mut up = crate::process::Up::spawn(command.env("TMPDIR", &tmp));
    let folder = up.wait_for("--data-dir ").rsplit_once(' ').unwrap().1.to_owned();
    up.wait_for("curl ");
    assert!(home.run(&["get", "wd", "--data-dir", &folder]).ok().contains("p2-hello"));
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
    assert_eq!(tmp.read_dir().unwrap().count(), 0);
    assert!(!home.path(".local").exists());
}

#[test]
fn what_a_killed_ephemeral_berth_left_goes_with_the_next_start() {
    let home = Home::new();
    let tmp = home.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let start = || {
        let mut command = home.command(&["up", "--http-addr", "127.0.0.1:0", "--ephemeral"]);
        let mut up = crate::process::Up::spawn(command.env("TMPDIR", &tmp));
        up.wait_for("nothing to run yet");
        up
    };
    let running = start();
    let mut killed = start();
    killed.signal(Signal::KILL);
    killed.ended();
    assert_eq!(tmp.read_dir().unwrap().count(), 2);
    let _next = start();
    assert_eq!(tmp.read_dir().unwrap().count(), 2, "that of the one that runs, and the new one's");
    drop(running);
}

#[test]
fn a_component_behind_a_link_has_the_links_name_and_is_read_again_when_the_link_leads_elsewhere() {
    let home = Home::new();
    let link = home.path("current.wasm");
    std::os::unix::fs::symlink(path("p2"), &link).unwrap();
    let mut up = home.up(&["current.wasm"]);
    up.wait_for("workloaddeployment.runtime.wasmcloud.dev/current created");
    up.wait_for("curl ");
    home.run(&["stop"]).ok();

    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(path("p2-hello"), &link).unwrap();
    let mut up = home.up(&["current.wasm"]);
    up.wait_for("workloaddeployment.runtime.wasmcloud.dev/current configured");
    let file = home.write("wait.yaml", home.run(&["get", "wd", "current", "-o", "yaml"]).ok());
    home.run(&["apply", "-f", file.to_str().unwrap(), "--wait"]).ok();
    let answer = up.get("any.test", "/");
    assert!(answer.text.contains("x-guest: p2-hello"), "{answer:?}");
}

/// L34: Ctrl-C finishes the request under way and exits with 0.
#[test]
fn l34_ctrl_c_finishes_the_request_under_way() {
    let home = Home::new();
    let mut up = home.up(&[path("p2").to_str().unwrap()]);
    up.wait_for("curl ");
    let addr = up.addr;
    let slow = std::thread::spawn(move || get(addr, "any.test", "/sleep?ms=2000"));
    home.until_top_says("\"inFlight\": 1");
    up.signal(Signal::INT);
    up.wait_for("finishing requests");
    let answer = slow.join().unwrap().unwrap();
    assert!(answer.status == 200 && answer.text.contains("slept"), "{answer:?}");
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
    assert!(up.said().ends_with("stopped"), "{}", up.said());
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let home = Home::new();
    let mut up = home.up(&[path("p2").to_str().unwrap()]);
    up.wait_for("curl ");
    let addr = up.addr;
    let never = std::thread::spawn(move || get(addr, "any.test", "/sleep?ms=25000"));
    home.until_top_says("\"inFlight\": 1");
    up.signal(Signal::INT);
    up.wait_for("finishing requests");
    // One that comes with the first, as wrappers pass it on, isn't a second one; a later one is.
    up.signal(Signal::INT);
    while !up.says("ended at once", Duration::from_millis(250)) {
        up.signal(Signal::INT);
    }
    assert_eq!(up.ended().code(), Some(130), "{}", up.said());
    assert!(never.join().unwrap().is_err());
    // Nothing is left that keeps the next one from starting.
    let mut up = home.up(&[]);
    up.wait_for("starts again");
}

/// L08: applying an edited manifest under load loses no request.
#[test]
fn l08_a_rolling_update_under_load_loses_no_request() {
    let home = Home::new();
    let file = home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "0"));
    let file = file.to_str().unwrap();
    let mut up = home.up(&["-f", file]);
    up.wait_for("curl ");
    let (addr, stop, served) = (up.addr, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stop, served) = (stop.clone(), served.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = get(addr, "shop.test", "/env").unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for version in ["1", "2", "3"] {
        home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", version));
        home.run(&["apply", "-f", file, "--wait"]).ok();
        assert!(up.get("shop.test", "/env").text.contains(&format!("\"{version}\"")));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 0);
}

#[test]
fn drain_stops_answering_and_the_process_stays() {
    let home = Home::new();
    let mut up = home.up(&[path("p2-hello").to_str().unwrap()]);
    up.wait_for("curl ");
    assert_eq!(home.run(&["drain"]).ok(), "draining\ndrained\n");
    assert!(get(up.addr, "any.test", "/").is_err());
    assert!(home.run(&["version"]).ok().contains(", draining)"));
    assert!(home.run(&["get", "wd"]).ok().contains("p2-hello"));
    home.run(&["stop"]).ok();
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
}
