//! ConfigMaps and Secrets in one process: what refers to them is rolled over, and no value is shown that wasn't asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use berth_node::api::{Code, EditValues, Outcome, ResourceRef};
use berth_node::model::resource::{Kind, Resource, SecretData, SecretValue};
use berth_testkit::guests::path;
use berth_testkit::world::{PATIENCE, World, WorldConfig};
use tokio::task::JoinSet;

fn named(kind: Kind, name: &str) -> ResourceRef {
    ResourceRef { kind, namespace: "default".into(), name: name.into() }
}

fn data(pairs: &[(&str, &str)]) -> SecretData {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
}

fn set(pairs: &[(&str, &str)]) -> EditValues {
    EditValues { set: data(pairs), ..EditValues::default() }
}

/// Two replicas whose environment is `settings` and `db`, and whose `wasi:config` values are `flags` and their own.
fn shop() -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata: {{name: shop}}\nspec:\n  replicas: 2\n  template:\n    \
         spec:\n      hostInterfaces:\n        \
         - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: shop.test}}}}\n        \
         - {{namespace: wasi, package: config, interfaces: [store], configFrom: [{{name: flags}}]}}\n      \
         components:\n        - name: main\n          image: file://{}\n          localResources:\n            config: {{own: \"1\"}}\n            \
         environment: {{config: {{A: manifest}}, configFrom: [{{name: settings}}], secretFrom: [{{name: db}}]}}\n",
        path("p2-config").display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l12_a_change_of_what_is_referred_to_rolls_over_and_loses_no_request() {
    let world = Arc::new(World::start(WorldConfig::default()).await);
    world.apply(&shop()).await;
    world
        .eventually("what is missing is named", PATIENCE, || async {
            let Some(Resource::Deployment(shop)) = world.get(Kind::WorkloadDeployment, "shop").await else { return None };
            shop.status.conditions.iter().any(|c| c.reason == "ReferenceNotFound" && c.message.contains("doesn't exist")).then_some(())
        })
        .await;
    let client = world.client();
    for (kind, name, pairs) in [
        (Kind::ConfigMap, "flags", &[("color", "red")]),
        (Kind::ConfigMap, "settings", &[("A", "map")]),
        (Kind::Secret, "db", &[("PASSWORD", "first")]),
    ] {
        assert_eq!(client.edit_values(&named(kind, name), &set(pairs)).await.unwrap().outcome, Outcome::Created);
    }
    world.ready("shop").await;

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (world, stop, served) = (world.clone(), stop.clone(), served.clone());
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = world.http_get("shop.test", "/").await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let until = async |path: &str, expected: &str| {
        world
            .eventually(expected, PATIENCE, || async {
                let before = served.load(Ordering::Relaxed);
                let text = world.http_get("shop.test", path).await.unwrap().text().replace(' ', "");
                (text.contains(expected) && before > 0).then_some(())
            })
            .await;
        world.ready("shop").await;
    };
    until("/", r#"{"A":"map","PASSWORD":"first"}"#).await;
    client.edit_values(&named(Kind::Secret, "db"), &set(&[("PASSWORD", "second"), ("A", "secret")])).await.unwrap();
    until("/", r#"{"A":"secret","PASSWORD":"second"}"#).await;
    client.edit_values(&named(Kind::ConfigMap, "flags"), &set(&[("color", "blue")])).await.unwrap();
    until("/config", r#"{"color":"blue","own":"1"}"#).await;
    let remove = EditValues { remove: vec!["A".into()], ..EditValues::default() };
    client.edit_values(&named(Kind::Secret, "db"), &remove).await.unwrap();
    until("/", r#"{"A":"map","PASSWORD":"second"}"#).await;

    // What runs goes on without it.
    client.delete(&named(Kind::Secret, "db")).await.unwrap();
    let before = served.load(Ordering::Relaxed);
    world.eventually("requests go on", PATIENCE, || async { (served.load(Ordering::Relaxed) > before + 20).then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    Arc::try_unwrap(world).ok().unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_shown_without_values_and_a_value_by_its_key_alone() {
    let world = World::start(WorldConfig::default()).await;
    let client = world.client();
    let mut watch = client.watch(Kind::Secret, None, None).await.unwrap();
    let db = named(Kind::Secret, "db");
    let edit = EditValues { secret_type: Some("example.test/login".into()), ..set(&[("USER", "shop"), ("PASSWORD", "hunter2")]) };
    client.edit_values(&db, &edit).await.unwrap();
    let withheld = |object: &Resource| {
        let Resource::Secret(secret) = object else { panic!("{object:?}") };
        assert_eq!(secret.kind, "example.test/login");
        assert_eq!(secret.data.keys().collect::<Vec<_>>(), ["PASSWORD", "USER"]);
        assert!(secret.data.values().all(|value| *value == SecretValue::Withheld));
    };
    withheld(&watch.next().await.unwrap().unwrap().object);
    withheld(&client.get(Kind::Secret, "default", "db").await.unwrap());
    withheld(&client.list(Kind::Secret, None).await.unwrap().items[0]);
    assert_eq!(client.reveal(&db, "PASSWORD").await.unwrap().text(), Some("hunter2"));
    assert!(client.reveal(&db, "password").await.unwrap_err().is_not_found());

    // What was shown isn't applied as if it were all.
    let shown = client.get(Kind::Secret, "default", "db").await.unwrap();
    let applied = client.apply(vec![shown]).await.unwrap();
    let error = applied.results[0].error.as_ref().unwrap();
    assert!(error.code == Code::Invalid && error.message.contains("data.PASSWORD: has no value"), "{error}");
    assert_eq!(client.reveal(&db, "PASSWORD").await.unwrap().text(), Some("hunter2"));

    client.delete(&db).await.unwrap();
    withheld(&watch.next().await.unwrap().unwrap().object);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_changed_one_by_one_together_or_not_at_all() {
    let world = World::start(WorldConfig::default()).await;
    let client = world.client();
    let map = named(Kind::ConfigMap, "settings");
    assert!(client.edit_values(&map, &EditValues { remove: vec!["a".into()], ..EditValues::default() }).await.unwrap_err().is_not_found());
    client.edit_values(&map, &set(&[("a", "1"), ("b", "2")])).await.unwrap();
    assert_eq!(client.edit_values(&map, &set(&[("a", "1")])).await.unwrap().outcome, Outcome::Unchanged);
    let both = EditValues { remove: vec!["a".into(), "none".into()], ..set(&[("c", "3")]) };
    assert!(client.edit_values(&map, &both).await.unwrap_err().to_string().contains("has no key `none`"));
    let values = async || match client.get(Kind::ConfigMap, "default", "settings").await.unwrap() {
        Resource::ConfigMap(map) => format!("{:?}", map.data),
        other => panic!("{other:?}"),
    };
    assert_eq!(values().await, r#"{"a": "1", "b": "2"}"#);
    client.edit_values(&map, &EditValues { ignore_missing: true, ..both }).await.unwrap();
    assert_eq!(values().await, r#"{"b": "2", "c": "3"}"#);
    client.edit_values(&map, &EditValues { replace: true, ..set(&[("d", "4")]) }).await.unwrap();
    assert_eq!(values().await, r#"{"d": "4"}"#);

    let binary = EditValues { set: [("e".to_owned(), SecretValue::Known(vec![0xff]))].into(), ..EditValues::default() };
    assert!(client.edit_values(&map, &binary).await.unwrap_err().to_string().contains("put it into a Secret"));
    client.edit_values(&named(Kind::Secret, "bytes"), &binary).await.unwrap();
    let large = set(&[("large", &"x".repeat(1 << 20))]);
    assert!(client.edit_values(&map, &large).await.unwrap_err().to_string().contains("at most 1048576 bytes"));
    // Many at once: none is lost.
    let edits = (0..20).map(|n| {
        let map = &map;
        async move { client.edit_values(map, &set(&[(&format!("k{n}"), "x")])).await }
    });
    for edited in futures::future::join_all(edits).await {
        edited.unwrap();
    }
    let Resource::ConfigMap(map) = client.get(Kind::ConfigMap, "default", "settings").await.unwrap() else { panic!() };
    assert_eq!(map.data.len(), 21);
    world.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_notes_of_a_secret_is_not_kept_beside_it() {
    let world = World::start(WorldConfig::default()).await;
    let note = r#"{"stringData":{"PASSWORD":"hunter2"}}"#;
    world
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  annotations: {{kubectl.kubernetes.io/last-applied-configuration: '{note}', a: b}}\n\
             stringData: {{PASSWORD: hunter2}}\n"
        ))
        .await;
    let stored = world.client().get(Kind::Secret, "default", "db").await.unwrap();
    assert_eq!(stored.metadata().annotations.keys().collect::<Vec<_>>(), ["a"]);
    world.shutdown().await;
}
