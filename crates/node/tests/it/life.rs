//! From applied to answering, and to the end.

use std::sync::Arc;

use berth_node::lifecycle::Phase;
use berth_node::model::resource::Kind;
use berth_node::notice::Notice;
use berth_node::roles::local::LocalConfig;
use berth_testkit::guests::path;
use berth_testkit::world::{Manifest, PATIENCE, World, WorldConfig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_answers_logs_and_goes_when_deleted() {
    let mut world = World::start(WorldConfig::default()).await;
    let mut notices = world.notices();
    world.apply(&Manifest::new("hello", &path("p2")).domain("hello.test").yaml()).await;
    world.ready("hello").await;

    let answer = world.http_get("hello.test", "/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-guest")), (200, "p2"));
    assert_eq!(world.http_get("other.test", "/").await.unwrap().status, 404);

    world.http_get("hello.test", "/log?lines=2").await.unwrap();
    world
        .eventually("the guest's lines are in the log", PATIENCE, || async {
            let texts: Vec<_> = world.logs("default", "hello").iter().map(|line| line.text.clone()).collect();
            (texts.iter().filter(|text| text.contains("line")).count() >= 4).then_some(())
        })
        .await;

    let mut ready = None;
    while let Ok(notice) = notices.try_recv() {
        if let Notice::Ready { owner, domains, .. } = notice {
            ready = Some((owner, domains));
        }
    }
    assert_eq!(ready, Some(("default/hello".to_owned(), vec!["hello.test".to_owned()])));

    let deployment = world.get(Kind::WorkloadDeployment, "hello").await.unwrap();
    assert!(world.store().delete(&deployment.key()).await.unwrap());
    world
        .eventually("nothing of it is left", PATIENCE, || async {
            let left = world.store().list(Kind::Workload, None).await.unwrap();
            (left.is_empty() && world.host().statuses().is_empty()).then_some(())
        })
        .await;
    assert_eq!(world.http_get("hello.test", "/").await.unwrap().status, 404);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_0_3_answers_beside_wasi_0_2() {
    let world = World::start(WorldConfig::default()).await;
    world.apply(&Manifest::new("two", &path("p2-hello")).domain("two.test").yaml()).await;
    world.apply(&Manifest::new("three", &path("p3-hello")).domain("three.test").p3().yaml()).await;
    world.ready("two").await;
    world.ready("three").await;
    assert_eq!(world.http_get("two.test", "/").await.unwrap().header("x-guest"), "p2-hello");
    assert_eq!(world.http_get("three.test", "/").await.unwrap().header("x-guest"), "p3-hello");
    world.shutdown().await;
}

/// L34: a drain finishes the request under way, takes no new one, and stops the workloads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l34_a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let world = Arc::new(World::start(WorldConfig::default()).await);
    world.apply(&Manifest::new("slow", &path("p2")).yaml()).await;
    world.ready("slow").await;
    let slow = {
        let world = world.clone();
        tokio::spawn(async move { world.http_get("any.test", "/sleep?ms=1500").await })
    };
    world.eventually("the request is under way", PATIENCE, || async { (world.host().in_flight() == 1).then_some(()) }).await;
    let addr = world.addr();
    let world = {
        let lifecycle = world.lifecycle().clone();
        lifecycle.stop();
        assert_eq!(lifecycle.phase(), Phase::Draining);
        let answer = slow.await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().trim()), (200, "slept"));
        Arc::try_unwrap(world).ok().unwrap()
    };
    world.shutdown().await;
    let refused = tokio::net::TcpStream::connect(addr).await;
    assert!(refused.is_err(), "the port is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_ended_comes_back_with_what_was_applied() {
    let tmp = tempfile::tempdir().unwrap();
    let config = || WorldConfig { local: LocalConfig { data_dir: Some(tmp.path().join("data")), ..LocalConfig::default() } };
    let world = World::start(config()).await;
    world.apply(&Manifest::new("hello", &path("p2-hello")).domain("hello.test").replicas(2).yaml()).await;
    world.ready("hello").await;
    let error = World::try_start(config()).await.err().unwrap().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())) && error.contains(&world.addr().to_string()), "{error}");
    world.shutdown().await;

    let world = World::start(config()).await;
    world
        .eventually("it answers again", PATIENCE, || async {
            world.http_get("hello.test", "/").await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    world.shutdown().await;
}
