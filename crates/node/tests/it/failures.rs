//! What isn't right is told, and the rest keeps running.

use berth_node::notice::Notice;
use berth_testkit::guests::{bytes, path};
use berth_testkit::world::{Manifest, PATIENCE, World, WorldConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_is_named_and_the_rest_keeps_running() {
    let mut world = World::start(WorldConfig::default()).await;
    let mut notices = world.notices();
    world.apply(&Manifest::new("good", &path("p2-hello")).domain("good.test").yaml()).await;
    world.ready("good").await;

    let tmp = tempfile::tempdir().unwrap();
    let good = bytes("p2-hello");
    let write = |name: &str, bytes: &[u8]| {
        let file = tmp.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let cases = [
        (write("empty.wasm", b""), "empty"),
        (write("text.wasm", b"just words"), "not WebAssembly"),
        (write("core.wasm", b"\0asm\x01\0\0\0"), "core WebAssembly module"),
        (write("cut.wasm", &good[..good.len() / 2]), "cut off"),
        (path("p2-no-http"), "wasi:http"),
        (path("p2-missing-import"), "acme:widgets/store"),
        (tmp.path().join("none.wasm"), "none.wasm"),
    ];
    for (i, (file, words)) in cases.iter().enumerate() {
        let name = format!("bad-{i}");
        world.apply(&Manifest::new(&name, file).domain("bad.test").yaml()).await;
        let failed = async {
            loop {
                match notices.recv().await.unwrap() {
                    Notice::Failed { owner, message, .. } if owner == format!("default/{name}") => return message,
                    _ => {}
                }
            }
        };
        let message = tokio::time::timeout(PATIENCE, failed).await.unwrap_or_else(|_| panic!("no word about {}", file.display()));
        assert!(message.contains(words), "`{words}` is missing in: {message}");
        assert_eq!(world.http_get("good.test", "/").await.unwrap().status, 200);
    }
    world.shutdown().await;
}
