//! Editing what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use berth_testkit::guests::path;
use berth_testkit::world::{Manifest, PATIENCE, World, WorldConfig};
use tokio::task::JoinSet;

/// L08: a rolling update loses no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l08_an_update_under_load_loses_no_request() {
    let world = Arc::new(World::start(WorldConfig::default()).await);
    let guest = path("p2");
    let version = |n: usize| Manifest::new("shop", &guest).domain("shop.test").replicas(2).env("VERSION", &n.to_string()).yaml();
    world.apply(&version(0)).await;
    world.ready("shop").await;

    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (world, stop, served) = (world.clone(), stop.clone(), served.clone());
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = world.http_get("shop.test", "/env").await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for n in 1..=3 {
        let before = served.load(Ordering::Relaxed);
        world.apply(&version(n)).await;
        world.ready("shop").await;
        let expected = format!("\"VERSION\":\"{n}\"");
        world
            .eventually("the new version answers", PATIENCE, || async {
                let text = world.http_get("shop.test", "/env").await.unwrap().text().replace(' ', "");
                (text.contains(&expected) && served.load(Ordering::Relaxed) > before + 20).then_some(())
            })
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    Arc::try_unwrap(world).ok().unwrap().shutdown().await;
}

/// L07: on a host that is full of services a new version comes up beside the old one, one replica at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l07_a_deployment_with_a_service_rolls_over_at_the_limit_of_services() {
    let mut config = WorldConfig::default();
    (config.local.host.services.most, config.local.host.services.settle) = (2, Duration::from_millis(50));
    let world = World::start(config).await;
    let manifest = |version: &str| {
        let image = format!("file://{}", path("service-p2").display());
        format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\n\
             kind: WorkloadDeployment\n\
             metadata: {{name: jobs}}\n\
             spec:\n  replicas: 2\n  template:\n    spec:\n      service:\n        image: {image}\n        \
             localResources: {{environment: {{config: {{DO: wait, VERSION: '{version}'}}}}}}\n"
        )
    };
    for version in ["1", "2"] {
        world.apply(&manifest(version)).await;
        world.ready("jobs").await;
    }
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_claim_a_domain_the_older_keeps_it_and_the_newer_says_so() {
    use berth_node::notice::Notice;

    let mut world = World::start(WorldConfig::default()).await;
    let mut notices = world.notices();
    world.apply(&Manifest::new("older", &path("p2-hello")).domain("a.test").yaml()).await;
    world.ready("older").await;
    world.apply(&Manifest::new("newer", &path("p2")).domain("a.test").yaml()).await;
    let conflict = async {
        loop {
            if let Notice::Conflict { owner, domain, holder } = notices.recv().await.unwrap() {
                return (owner, domain, holder);
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, conflict).await.unwrap();
    assert_eq!(told, ("default/newer".into(), "a.test".into(), "default/older".into()));
    assert_eq!(world.http_get("a.test", "/").await.unwrap().header("x-guest"), "p2-hello");
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_replicas_are_told_as_ready_once() {
    use berth_node::notice::Notice;

    let mut world = World::start(WorldConfig::default()).await;
    let mut notices = world.notices();
    world.apply(&Manifest::new("many", &path("p2-hello")).domain("many.test").replicas(300).yaml()).await;
    world.ready("many").await;
    world
        .eventually("300 are ready", PATIENCE, || async {
            (world.host().statuses().iter().filter(|s| s.ready).count() == 300).then_some(())
        })
        .await;
    world.apply(&Manifest::new("last", &path("p2-hello")).domain("last.test").yaml()).await;
    let told = async {
        let mut told = 0;
        loop {
            match notices.recv().await.unwrap() {
                Notice::Ready { owner, .. } if owner == "default/last" => return told,
                Notice::Ready { .. } => told += 1,
                _ => {}
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told, 1, "not once per replica");
    world.shutdown().await;
}
