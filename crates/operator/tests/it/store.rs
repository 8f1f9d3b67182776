//! What every store promises, asked of the embedded one.

use std::time::Duration;

use berth_model::condition::{Condition, ConditionStatus};
use berth_model::resource::{Kind, Resource};
use berth_operator::store::{Applied, Change, EmbeddedStore, Store, StoreError, WORKLOAD_FINALIZER};

use crate::objects::{config_map, deployment, key, replica_set, workload};

fn version(resource: &Resource) -> u64 {
    resource.metadata().resource_version.parse().unwrap()
}

#[tokio::test]
async fn an_object_gets_uid_version_generation_and_time_when_it_is_made() {
    let store = EmbeddedStore::in_memory().unwrap();
    let (made, applied) = store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let meta = made.metadata();
    assert_eq!((applied, meta.generation, meta.namespace.as_str()), (Applied::Created, 1, "default"));
    assert!(!meta.uid.is_empty() && version(&made) > 0 && meta.creation_timestamp.is_some());
    assert_eq!(store.get(&made.key()).await.unwrap(), Some(made.clone()));
    assert!(matches!(store.create(made).await, Err(StoreError::AlreadyExists(_))));
}

#[tokio::test]
async fn generation_grows_with_the_spec_alone_and_nothing_is_written_when_nothing_changed() {
    let store = EmbeddedStore::in_memory().unwrap();
    let (made, _) = store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let (same, applied) = store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    assert_eq!((applied, &same), (Applied::Unchanged, &made));

    let mut labelled = deployment("web", 1, "file:///a.wasm");
    labelled.metadata_mut().labels.insert("team".to_owned(), "a".to_owned());
    let (labelled, applied) = store.apply(labelled).await.unwrap();
    assert_eq!((applied, labelled.metadata().generation), (Applied::Configured, 1));
    assert!(version(&labelled) > version(&made));

    let (edited, _) = store.apply(deployment("web", 2, "file:///a.wasm")).await.unwrap();
    assert_eq!((edited.metadata().generation, edited.metadata().uid == made.metadata().uid), (2, true));
    assert!(edited.metadata().labels.is_empty(), "apply replaces labels");
}

#[tokio::test]
async fn applying_leaves_berths_own_annotations_status_finalizers_and_owners_alone() {
    let store = EmbeddedStore::in_memory().unwrap();
    let mut made = store.create(workload("app", None, &[WORKLOAD_FINALIZER])).await.unwrap();
    made.metadata_mut().annotations.insert("berth.dev/content".to_owned(), "x".to_owned());
    let mut made = store.update(made).await.unwrap();
    let Resource::Workload(app) = &mut made else { panic!() };
    app.status.host_id = Some("host".to_owned());
    let made = store.update_status(made).await.unwrap();

    let (applied, what) = store.apply(workload("app", None, &[])).await.unwrap();
    assert_eq!((what, applied), (Applied::Unchanged, made));
}

#[tokio::test]
async fn a_write_from_an_older_version_is_refused() {
    let store = EmbeddedStore::in_memory().unwrap();
    let first = store.create(config_map("settings", "a")).await.unwrap();
    store.apply(config_map("settings", "b")).await.unwrap();
    for write in [store.update(first.clone()).await, store.update_status(first.clone()).await] {
        assert!(matches!(write, Err(StoreError::Conflict { .. })), "{write:?}");
    }
    store.delete(&first.key()).await.unwrap();
    assert!(matches!(store.update(first.clone()).await, Err(StoreError::NotFound(_))));
    store.create(config_map("settings", "c")).await.unwrap();
    let mut other = first;
    other.metadata_mut().resource_version.clear();
    let error = store.update(other).await.unwrap_err();
    assert!(error.to_string().contains("made anew"), "{error}");
}

#[tokio::test]
async fn immutable_parts_are_refused() {
    let store = EmbeddedStore::in_memory().unwrap();
    let mut made = store.create(config_map("settings", "a")).await.unwrap();
    made.metadata_mut().creation_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
    let error = store.update(made).await.unwrap_err();
    assert!(error.to_string().contains("creationTimestamp"), "{error}");
}

#[tokio::test]
async fn a_status_that_is_equal_is_not_written_again_and_update_leaves_it_alone() {
    let store = EmbeddedStore::in_memory().unwrap();
    let mut made = store.create(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let Resource::Deployment(web) = &mut made else { panic!() };
    web.status.conditions.push(Condition {
        kind: "Ready".to_owned(),
        status: ConditionStatus::True,
        reason: String::new(),
        message: String::new(),
        last_transition_time: None,
        observed_generation: 1,
    });
    web.spec.replicas = Some(9);
    let written = store.update_status(made.clone()).await.unwrap();
    let Resource::Deployment(web) = &written else { panic!() };
    assert_eq!((web.spec.replicas, web.status.conditions.len(), web.metadata.generation), (Some(1), 1, 1), "the spec is left alone");
    assert_eq!(store.update_status(written.clone()).await.unwrap(), written, "L17");

    let mut edited = written;
    let Resource::Deployment(web) = &mut edited else { panic!() };
    web.status.conditions.clear();
    web.spec.replicas = Some(2);
    let Resource::Deployment(web) = store.update(edited).await.unwrap() else { panic!() };
    assert_eq!((web.spec.replicas, web.status.conditions.len(), web.metadata.generation), (Some(2), 1, 2));
}

#[tokio::test]
async fn invalid_objects_are_refused_with_every_fault() {
    let store = EmbeddedStore::in_memory().unwrap();
    let error = store.apply(deployment("Not_A_Name", -1, "file:///a.wasm")).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)));
    assert!(error.to_string().contains("metadata.name") && error.to_string().contains("replicas"), "{error}");
}

#[tokio::test]
async fn deleting_an_owner_takes_what_it_owns_and_finalizers_hold_that_up() {
    let store = EmbeddedStore::in_memory().unwrap();
    let web = store.create(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let set = store.create(replica_set("web-1", ("web", &web.metadata().uid))).await.unwrap();
    let owner = Some(("web-1", set.metadata().uid.as_str()));
    store.create(workload("held", owner, &[WORKLOAD_FINALIZER])).await.unwrap();
    store.create(workload("free", owner, &[])).await.unwrap();
    store.create(workload("other", None, &[])).await.unwrap();

    assert!(store.delete(&web.key()).await.unwrap());
    assert!(!store.delete(&web.key()).await.unwrap());
    assert_eq!(store.get(&set.key()).await.unwrap(), None);
    let left = store.list(Kind::Workload, Some("default")).await.unwrap();
    let names: Vec<_> = left.iter().map(|w| w.metadata().name.as_str()).collect();
    assert_eq!(names, ["held", "other"]);
    assert!(left[0].metadata().deletion_timestamp.is_some());

    let error = store.apply(workload("held", None, &[])).await.unwrap_err();
    assert!(error.to_string().contains("being deleted"), "{error}");
    let mut held = left[0].clone();
    held.metadata_mut().finalizers = vec!["another".to_owned()];
    assert!(store.update(held.clone()).await.is_err(), "a dying object gets no other finalizer");
    held.metadata_mut().finalizers.clear();
    store.update(held).await.unwrap();
    assert_eq!(store.get(&key(Kind::Workload, "held")).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_deleted_owner_had_in_thousands_goes_in_steps_between_which_others_write() {
    let store = EmbeddedStore::in_memory().unwrap();
    let deployment = store.create(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let set = store.create(replica_set("web-1", ("web", deployment.metadata().uid.as_str()))).await.unwrap();
    let owner = Some(("web-1", set.metadata().uid.as_str()));
    let children =
        (0..2000).map(|i| store.create(workload(&format!("web-{i:04}"), owner, if i % 2 == 0 { &[WORKLOAD_FINALIZER] } else { &[] })));
    futures::future::try_join_all(children).await.unwrap();
    let mut changes = store.watch();

    assert!(store.delete(&key(Kind::WorkloadDeployment, "web")).await.unwrap());
    let unmarked = async || {
        let all = store.list(Kind::Workload, None).await.unwrap();
        all.iter().filter(|w| w.metadata().deletion_timestamp.is_none()).count()
    };
    assert!(unmarked().await > 1000, "not all at once");
    store.apply(config_map("other", "written meanwhile")).await.unwrap();
    let collected = async {
        while unmarked().await > 0 {
            changes.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), collected).await.expect("all is collected");
    assert_eq!(store.list(Kind::Workload, None).await.unwrap().len(), 1000, "finalizers hold the others");
    assert!(store.get(&key(Kind::WorkloadReplicaSet, "web-1")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_child_of_an_owner_that_has_gone_is_refused() {
    let store = EmbeddedStore::in_memory().unwrap();
    let error = store.create(workload("late", Some(("web-1", "0b6d3a52-6e6c-4f2c-9c5e-0d4f3f1c2b1a")), &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "WorkloadReplicaSet default/web-1 doesn't exist");
}

#[tokio::test]
async fn lists_are_sorted_and_of_one_kind_and_namespace() {
    let store = EmbeddedStore::in_memory().unwrap();
    for name in ["b", "a", "c"] {
        store.create(config_map(name, "")).await.unwrap();
    }
    let mut elsewhere = config_map("a", "");
    elsewhere.metadata_mut().namespace = "other".to_owned();
    store.create(elsewhere).await.unwrap();
    store.create(workload("a", None, &[])).await.unwrap();
    let names = |list: Vec<Resource>| list.iter().map(|o| format!("{}/{}", o.metadata().namespace, o.metadata().name)).collect::<Vec<_>>();
    assert_eq!(names(store.list(Kind::ConfigMap, Some("default")).await.unwrap()), ["default/a", "default/b", "default/c"]);
    assert_eq!(names(store.list(Kind::ConfigMap, None).await.unwrap()).len(), 4);
    assert_eq!(names(store.list(Kind::ConfigMap, Some("none")).await.unwrap()).len(), 0);
}

#[tokio::test]
async fn a_watch_tells_every_change_in_order() {
    let store = EmbeddedStore::in_memory().unwrap();
    let mut watch = store.watch();
    let made = store.create(config_map("settings", "a")).await.unwrap();
    store.apply(config_map("settings", "b")).await.unwrap();
    store.apply(config_map("settings", "b")).await.unwrap();
    store.delete(&made.key()).await.unwrap();

    let mut seen = Vec::new();
    while let Some(change) = watch.try_next() {
        seen.push(match change {
            Change::Added(o) => ("added", version(&o)),
            Change::Modified(o) => ("modified", version(&o)),
            Change::Deleted(o) => ("deleted", version(&o)),
            Change::Resync => ("resync", 0),
        });
    }
    assert_eq!(seen.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["added", "modified", "deleted"]);
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "{seen:?}");
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_to_list_again_and_then_hears_what_is_new() {
    let store = EmbeddedStore::in_memory().unwrap();
    let mut watch = store.watch();
    for value in 0..10_000 {
        store.apply(config_map("settings", &value.to_string())).await.unwrap();
    }
    assert!(matches!(watch.next().await, Some(Change::Resync)));
    assert!(watch.try_next().is_none());
    store.create(config_map("new", "")).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert!(matches!(next, Some(Change::Added(object)) if object.metadata().name == "new"));
    drop(store);
    assert!(watch.next().await.is_none(), "the store has closed");
}
