//! Secrets in the embedded store's file: sealed, bound to their place, and what is said when their key is gone.

use std::path::{Path, PathBuf};

use berth_model::resource::{Kind, Resource};
use berth_operator::store::{EmbeddedStore, Store, StoreError};
use serde_json::json;

use crate::objects::{config_map, key, resource};

/// base64 of "hunter2-hunter2".
const VALUE: &str = "aHVudGVyMi1odW50ZXIy";

fn secret(name: &str) -> Resource {
    resource(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "PASSWORD": VALUE } }))
}

/// A store's file with a ConfigMap and the Secrets `a` and `b`.
async fn store(folder: &Path) -> PathBuf {
    let path = folder.join("store.db");
    let store = EmbeddedStore::open(&path).unwrap();
    for object in [config_map("settings", "x"), secret("a"), secret("b")] {
        store.apply(object).await.unwrap();
    }
    path
}

async fn value(store: &EmbeddedStore, name: &str) -> Option<String> {
    let Some(Resource::Secret(secret)) = store.get(&key(Kind::Secret, name)).await.unwrap() else { return None };
    secret.data["PASSWORD"].text().map(str::to_owned)
}

/// Runs SQL on the file as anybody could who can write it.
fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn values_are_sealed_in_every_file_and_read_back_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    {
        let store = EmbeddedStore::open(&path).unwrap();
        assert_eq!(value(&store, "a").await.as_deref(), Some("hunter2-hunter2"));
        // Also what is only in the log of writes.
        store.delete(&key(Kind::Secret, "b")).await.unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for text in ["hunter2", VALUE] {
                assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} is on the disk");
            }
        }
    }
    let store = EmbeddedStore::open(&path).unwrap();
    let Resource::Secret(object) = store.get(&key(Kind::Secret, "a")).await.unwrap().unwrap() else { panic!() };
    assert_eq!((object.metadata.generation, object.kind.as_str()), (0, "Opaque"));
    assert_eq!(store.apply(secret("a")).await.unwrap().1, berth_operator::store::Applied::Unchanged);
}

#[tokio::test]
async fn without_its_key_nothing_is_opened_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    let key_file = folder.path().join("secrets.key");
    let kept = std::fs::read(&key_file).unwrap();
    std::fs::remove_file(&key_file).unwrap();
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::KeyMissing { there: false, .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("2 Secrets") && text.contains("secrets.key, which isn't there") && text.contains("berth secret discard"),
        "{text}"
    );
    assert!(!key_file.exists(), "none is made that opens nothing");

    EmbeddedStore::open(&folder.path().join("other/store.db")).unwrap();
    std::fs::copy(folder.path().join("other/secrets.key"), &key_file).unwrap();
    let text = EmbeddedStore::open(&path).unwrap_err().to_string();
    assert!(text.contains("2 Secrets") && text.contains("isn't theirs"), "{text}");

    std::fs::write(&key_file, kept).unwrap();
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(value(&store, "b").await.as_deref(), Some("hunter2-hunter2"));
}

#[tokio::test]
async fn what_no_key_opens_any_more_can_be_discarded_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    assert_eq!(EmbeddedStore::discard_unopened(&path).unwrap(), [], "all of them open");
    std::fs::remove_file(folder.path().join("secrets.key")).unwrap();
    assert_eq!(EmbeddedStore::discard_unopened(&path).unwrap(), [key(Kind::Secret, "a"), key(Kind::Secret, "b")]);
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(value(&store, "a").await, None);
    assert!(store.get(&key(Kind::ConfigMap, "settings")).await.unwrap().is_some());
    store.apply(secret("a")).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("hunter2-hunter2"));
}

#[tokio::test]
async fn a_value_that_was_moved_or_changed_on_the_disk_is_told_and_never_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    tamper(
        &path,
        "UPDATE objects SET body = (SELECT replace(body, '\"name\":\"b\"', '\"name\":\"a\"') FROM objects WHERE kind = 'Secret' AND name = 'b')
         WHERE kind = 'Secret' AND name = 'a'",
    );
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { key, .. } if key == "Secret default/a"), "{error:?}");
    assert!(error.to_string().contains("its value `PASSWORD`"), "{error}");
    assert_eq!(EmbeddedStore::discard_unopened(&path).unwrap(), [key(Kind::Secret, "a")]);
    assert_eq!(value(&EmbeddedStore::open(&path).unwrap(), "b").await.as_deref(), Some("hunter2-hunter2"));
}

#[tokio::test]
async fn a_file_from_before_there_were_secrets_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    tamper(&path, "DELETE FROM objects WHERE kind = 'Secret'; PRAGMA user_version = 1");
    std::fs::remove_file(folder.path().join("secrets.key")).unwrap();
    let store = EmbeddedStore::open(&path).unwrap();
    store.apply(secret("a")).await.unwrap();
    drop(store);
    assert_eq!(value(&EmbeddedStore::open(&path).unwrap(), "a").await.as_deref(), Some("hunter2-hunter2"));
}
