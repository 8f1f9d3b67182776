//! The local API, by its client and by requests that no client makes.

use std::os::unix::fs::PermissionsExt;

use berth_node::api::{ClientError, Code, Outcome, Progress, ResourceRef, WatchKind};
use berth_node::model::resource::{ConfigMap, Kind, ObjectMeta, OwnerReference, Resource, Workload};
use berth_testkit::guests::path;
use berth_testkit::world::{Manifest, PATIENCE, World, WorldConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn named(kind: Kind, name: &str) -> ResourceRef {
    ResourceRef { kind, namespace: "default".into(), name: name.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_applies_watches_and_deletes() {
    let world = World::start(WorldConfig::default()).await;
    let client = world.client();
    let mut watch = client.watch(Kind::WorkloadDeployment, None, Some("hello")).await.unwrap();

    world.apply(&Manifest::new("other", &path("p2-hello")).domain("other.test").yaml()).await;
    world.apply(&Manifest::new("hello", &path("p2-hello")).domain("hello.test").yaml()).await;
    let Resource::Deployment(mut deployment) = client.get(Kind::WorkloadDeployment, "default", "hello").await.unwrap() else { panic!() };
    let again = client.apply(vec![Resource::Deployment(deployment.clone())]).await.unwrap();
    assert_eq!(again.results[0].outcome, Outcome::Unchanged);
    deployment.spec.replicas = Some(2);
    let more = client.apply(vec![Resource::Deployment(deployment)]).await.unwrap();
    assert_eq!((more.results[0].outcome, more.results[0].generation), (Outcome::Configured, 2));
    world.ready("hello").await;
    client.delete(&named(Kind::WorkloadDeployment, "hello")).await.unwrap();

    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.object.metadata().name, "hello");
        seen.push(event.kind);
        if event.kind == WatchKind::Deleted {
            break;
        }
    }
    assert_eq!((seen[0], seen[1]), (WatchKind::Added, WatchKind::Modified));
    let error = client.get(Kind::WorkloadDeployment, "default", "hello").await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(client.delete(&named(Kind::WorkloadDeployment, "hello")).await.unwrap_err().is_not_found());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_is_not_valid_is_refused_and_the_others_are_applied() {
    let world = World::start(WorldConfig::default()).await;
    let bad =
        Resource::Workload(Workload { metadata: ObjectMeta { name: "Not A Name".into(), ..Default::default() }, ..Default::default() });
    world.apply(&Manifest::new("hello", &path("p2-hello")).yaml()).await;
    let good = world.get(Kind::WorkloadDeployment, "hello").await.unwrap();
    let applied = world.client().apply(vec![bad, good]).await.unwrap();
    let outcomes: Vec<_> = applied.results.iter().map(|change| change.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Unchanged]);
    let error = applied.results[0].error.clone().unwrap();
    assert_eq!(error.code, Code::Invalid);
    assert!(error.message.contains("metadata.name"), "{}", error.message);
    world.shutdown().await;
}

/// L15: what is exported from a cluster with `kubectl get -o yaml` brings that cluster's finalizers and owners; it applies, and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l15_an_object_exported_from_another_cluster_applies_and_can_be_deleted() {
    let world = World::start(WorldConfig::default()).await;
    let owner = OwnerReference {
        api_version: Kind::WorkloadDeployment.api_version().into(),
        kind: "WorkloadDeployment".into(),
        name: "far-away".into(),
        uid: "8f6c2c1e-0000-4000-8000-000000000001".into(),
        ..Default::default()
    };
    let metadata = ObjectMeta {
        name: "exported".into(),
        uid: "8f6c2c1e-0000-4000-8000-000000000002".into(),
        resource_version: "123456".into(),
        generation: 7,
        creation_timestamp: Some("2024-01-01T00:00:00Z".parse().unwrap()),
        deletion_timestamp: Some("2024-01-02T00:00:00Z".parse().unwrap()),
        labels: [("app".to_owned(), "x".to_owned())].into(),
        owner_references: vec![owner],
        finalizers: vec!["example.test/guard".into()],
        ..Default::default()
    };
    let exported = Resource::ConfigMap(ConfigMap { metadata, ..Default::default() });

    for outcome in [Outcome::Created, Outcome::Unchanged] {
        let applied = world.client().apply(vec![exported.clone()]).await.unwrap();
        assert_eq!(applied.results[0].outcome, outcome, "{:?}", applied.results[0].error);
    }
    let stored = world.client().get(Kind::ConfigMap, "default", "exported").await.unwrap();
    let meta = stored.metadata();
    assert!(meta.finalizers.is_empty() && meta.owner_references.is_empty() && meta.deletion_timestamp.is_none(), "{meta:?}");
    assert_ne!(meta.uid, exported.metadata().uid);
    assert_eq!(meta.labels, exported.metadata().labels);
    world.client().delete(&named(Kind::ConfigMap, "exported")).await.unwrap();
    assert!(world.client().get(Kind::ConfigMap, "default", "exported").await.unwrap_err().is_not_found());
    world.shutdown().await;
}

fn config_map(name: &str, value: usize) -> Resource {
    let metadata = ObjectMeta { name: name.into(), ..Default::default() };
    Resource::ConfigMap(ConfigMap { metadata, data: [("value".to_owned(), value.to_string())].into() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_resources_are_applied_in_their_order() {
    let world = World::start(WorldConfig::default()).await;
    // Each object several times: only the order says which one stays, and that the later ones find it.
    let resources: Vec<_> = (0..1000).map(|n| config_map(&format!("map-{}", n % 250), n)).collect();
    let applied = world.client().apply(resources).await.unwrap();
    for (n, change) in applied.results.iter().enumerate() {
        assert_eq!(change.object.name, format!("map-{}", n % 250));
        assert_eq!(change.outcome, if n < 250 { Outcome::Created } else { Outcome::Configured }, "{n}: {change:?}");
    }
    for n in [0, 100, 249] {
        let Resource::ConfigMap(stored) = world.client().get(Kind::ConfigMap, "default", &format!("map-{n}")).await.unwrap() else {
            panic!()
        };
        assert_eq!(stored.data["value"], (n + 750).to_string());
    }
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_was_accepted_is_finished_when_its_client_goes_away() {
    const COUNT: usize = 4000;
    let mut world = World::start(WorldConfig::default()).await;
    let socket = world.local().data_dir().join("berth.sock");
    let resources: Vec<_> = (0..COUNT).map(|n| config_map(&format!("map-{n}"), n)).collect();
    let body = serde_json::to_string(&serde_json::json!({ "resources": resources })).unwrap();
    let mut watch = world.store().watch();
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let head = format!("POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    drop(stream);
    world
        .eventually("all are applied", PATIENCE, || async {
            (world.store().list(Kind::ConfigMap, None).await.unwrap().len() == COUNT).then_some(())
        })
        .await;
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_streams_leave_room_for_short_calls_and_for_stop() {
    let world = World::start(WorldConfig::default()).await;
    let client = world.client();
    let mut events = Vec::new();
    let mut watches = Vec::new();
    for _ in 0..24 {
        events.push(client.events(true).await.unwrap());
        watches.push(client.watch(Kind::Workload, None, None).await.unwrap());
    }
    let busy =
        |error: Option<ClientError>| matches!(error, Some(ClientError::Refused(e)) if e.code == Code::Busy && e.message.contains("48"));
    assert!(busy(client.events(true).await.err()));
    assert!(busy(client.watch(Kind::Workload, None, None).await.err()));
    assert!(busy(client.logs("default", "hello", 1, true).await.err()));
    client.events(false).await.unwrap();
    client.version().await.unwrap();

    watches.pop();
    world.eventually("the place of one that ended is free", PATIENCE, || async { client.events(true).await.ok().map(drop) }).await;
    let mut progress = client.stop().await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, progress.next()).await.unwrap().unwrap(), Some(Progress::Draining));
    drop((events, watches, progress));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_need_escaping_reach_the_store_as_they_are() {
    let world = World::start(WorldConfig::default()).await;
    let error = world.client().get(Kind::Workload, "default", "a b/c?d&e").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no Workload a b/c?d&e in namespace default");
    assert!(world.client().logs("default", "ünï", 1, false).await.err().unwrap().is_not_found());
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_events_are_followed_without_gap_or_repeat() {
    let world = World::start(WorldConfig::default()).await;
    world.apply(&Manifest::new("hello", &path("p2")).yaml()).await;
    world.ready("hello").await;
    world.http_get("any.test", "/log?lines=3").await.unwrap();
    let mut logs = world.client().logs("default", "hello", 1000, true).await.unwrap();
    world.http_get("any.test", "/log?lines=3").await.unwrap();
    let mut texts = Vec::new();
    while texts.len() < 12 {
        let line = tokio::time::timeout(PATIENCE, logs.next()).await.unwrap().unwrap().unwrap();
        assert!(line.workload.starts_with("hello-") && line.component == "main" && line.request.is_some(), "{line:?}");
        texts.push(line.text);
    }
    for text in ["stdout line 1", "stderr line 1", "stdout line 3"] {
        assert_eq!(texts.iter().filter(|t| t.starts_with(text)).count(), 2, "{texts:#?}");
    }
    let mut events = world.client().events(false).await.unwrap();
    let mut reasons = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        reasons.push(event.reason);
    }
    assert!(reasons.iter().any(|reason| reason == "Started"), "{reasons:?}");
    let top = world.client().top().await.unwrap();
    assert_eq!((top.workloads.len(), top.workloads[0].requests), (1, 2));
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_told_and_nothing_is_applied_afterwards() {
    let world = World::start(WorldConfig::default()).await;
    world.apply(&Manifest::new("hello", &path("p2-hello")).yaml()).await;
    world.ready("hello").await;
    let mut progress = world.client().drain().await.unwrap();
    let mut told = Vec::new();
    while let Some(step) = tokio::time::timeout(PATIENCE, progress.next()).await.unwrap().unwrap() {
        told.push(step);
    }
    assert_eq!(told, [Progress::Draining, Progress::Drained]);
    assert!(world.client().version().await.unwrap().draining);
    let error = world.client().apply(Vec::new()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(e) if e.code == Code::Stopping), "{error}");
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_no_client_makes_get_an_error_that_says_why() {
    let mut world = World::start(WorldConfig::default()).await;
    let socket = world.local().data_dir().join("berth.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(socket.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let cases = [
        ("GET /v2/x HTTP/1.1", "", "404", "nothing that berth"),
        ("GET /v1/resources/pods HTTP/1.1", "", "404", "no kind of resource called `pods`"),
        ("GET /v1/resources/hosts?watch=perhaps HTTP/1.1", "", "400", "true or false"),
        ("GET /v1/logs/default/x?tail=-1 HTTP/1.1", "", "400", "whole number"),
        ("GET /v1/logs/default/%zz HTTP/1.1", "", "404", "nothing that berth"),
        ("POST /v1/apply HTTP/1.1", "{\"resources\":[{}]}", "400", "isn't understood"),
        ("POST /v1/apply HTTP/1.1", "[", "400", "isn't understood"),
        ("DELETE /v1/resources/hosts/default/berth HTTP/1.1", "", "422", "berth stop"),
        ("DELETE /v1/resources/workloads/default/none HTTP/1.1", "", "404", "there is no Workload none"),
    ];
    for (head, body, status, words) in cases {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let text = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{head}:\n{answer}");
    }
    world.shutdown().await;
}
