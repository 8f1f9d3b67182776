//! The admin address.

use std::net::SocketAddr;

use berth_node::roles::local::LocalConfig;
use berth_testkit::guests::path;
use berth_testkit::world::{Answer, Manifest, World, WorldConfig, request};

async fn get(addr: SocketAddr, at: &str) -> Answer {
    request(addr, http::Request::get(at).header("host", "admin").body(Default::default()).unwrap()).await.unwrap()
}

/// L45: figures of requests, latency, instances, compiles, memory and the process are there for Prometheus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l45_liveness_readiness_and_metrics_are_told_and_a_drain_is_not_ready() {
    let admin = Some("127.0.0.1:0".parse().unwrap());
    let world = World::start(WorldConfig { local: LocalConfig { admin_addr: admin, ..LocalConfig::default() } }).await;
    let addr = world.admin_addr().unwrap();
    world.apply(&Manifest::new("hello", &path("p2-hello")).yaml()).await;
    world.ready("hello").await;
    for _ in 0..3 {
        assert_eq!(world.http_get("any.test", "/").await.unwrap().status, 200);
    }
    assert_eq!(get(addr, "/livez").await.status, 200);
    assert_eq!(get(addr, "/readyz").await.status, 200);
    assert_eq!(get(addr, "/other").await.status, 404);

    let metrics = get(addr, "/metrics").await.text();
    for name in
        ["berth_build_info", "process_resident_memory_bytes", "process_cpu_seconds_total", "berth_compiles_total", "berth_slots_in_use"]
    {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is missing in:\n{metrics}");
    }
    let requests: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("berth_requests_total") && line.contains("hello"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert_eq!(requests, 3.0, "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));

    world.lifecycle().drain();
    assert_eq!(get(addr, "/livez").await.status, 200);
    assert_eq!(get(addr, "/readyz").await.status, 503);
    world.shutdown().await;
}
