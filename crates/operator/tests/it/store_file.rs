//! The embedded store's file: what survives, and what is said when it can't be used.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_model::resource::Kind;
use berth_operator::store::{Applied, EmbeddedStore, Store, StoreError};

use crate::objects::{config_map, deployment, key, replica_set};

/// Set in the process that is to be killed: where its store is.
const CHILD: &str = "BERTH_TEST_STORE_OF_CHILD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut before = 0;
    for _ in 0..3 {
        let acknowledged = write_and_kill(&path);
        let store = EmbeddedStore::open(&path).unwrap();
        for name in &acknowledged {
            assert!(store.get(&key(Kind::ConfigMap, name)).await.unwrap().is_some(), "{name} was acknowledged and is gone");
        }
        let next = store.create(config_map(&format!("after-{before}"), "")).await.unwrap();
        let version: u64 = next.metadata().resource_version.parse().unwrap();
        let there = store.list(Kind::ConfigMap, None).await.unwrap().len() as u64;
        assert!(version > before && version >= there, "versions never repeat");
        before = version;
    }
}

/// Starts this test again as a process that writes, and kills it in the middle of that. Returns what it was told is safe.
fn write_and_kill(path: &Path) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_file::nothing_that_was_acknowledged_is_lost_when_the_process_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 300 {
        let line = lines.next().expect("the child writes until it is killed").unwrap();
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A line that was cut was never read, so it doesn't count.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned)));
    acknowledged.retain(|name| name.ends_with('.'));
    acknowledged.iter().map(|name| name.trim_end_matches('.').to_owned()).collect()
}

async fn write_until_killed(path: &Path) {
    let store = EmbeddedStore::open(path).unwrap();
    let run = std::process::id();
    for i in 0.. {
        let names = [0, 1, 2].map(|writer| format!("c-{run}-{writer}-{i}"));
        let writes = names.iter().map(|name| store.create(config_map(name, "value")));
        for (written, name) in futures::future::join_all(writes).await.into_iter().zip(&names) {
            written.unwrap();
            std::io::stdout().write_all(format!("acknowledged {name}.\n").as_bytes()).unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below").join("store.db");
    let store = EmbeddedStore::open(&path).unwrap();
    let made = store.create(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    store.create(config_map("gone", "")).await.unwrap();
    store.delete(&key(Kind::ConfigMap, "gone")).await.unwrap();
    drop(store);

    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(store.get(&made.key()).await.unwrap(), Some(made));
    assert_eq!(store.list(Kind::ConfigMap, None).await.unwrap(), []);
    let (_, applied) = store.apply(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    assert_eq!(applied, Applied::Unchanged);
}

/// Changes the file behind the store's back.
fn tamper(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// A disk that is full for a while, as a trigger: SQLite refuses to delete the children until a time that is soon.
#[tokio::test]
async fn l15_what_couldnt_be_collected_is_collected_later_though_nobody_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = EmbeddedStore::open(&path).unwrap();
    let made = store.create(deployment("web", 1, "file:///a.wasm")).await.unwrap();
    let child = store.create(replica_set("web-1", ("web", &made.metadata().uid))).await.unwrap();
    drop(store);
    tamper(
        &path,
        "DELETE FROM objects WHERE kind = 'WorkloadDeployment';
         CREATE TABLE full (until REAL);
         INSERT INTO full SELECT julianday('now') + 0.5 / 86400;
         CREATE TRIGGER full BEFORE DELETE ON objects WHEN julianday('now') < (SELECT until FROM full)
             BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;",
    );

    let store = EmbeddedStore::open(&path).unwrap();
    let mut watch = store.watch();
    let collected = async {
        while store.get(&child.key()).await.unwrap().is_some() {
            watch.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), collected).await.expect("it is collected");
}

async fn with_one_object(path: &Path) {
    EmbeddedStore::open(path).unwrap().create(config_map("settings", "a")).await.unwrap();
}

#[tokio::test]
async fn a_file_of_a_newer_berth_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    with_one_object(&path).await;
    tamper(&path, "PRAGMA user_version = 7");
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 2, .. }));
    assert!(error.to_string().contains("newer berth"), "{error}");
    tamper(&path, "PRAGMA user_version = 2");
    EmbeddedStore::open(&path).unwrap();
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    with_one_object(&path).await;
    tamper(&path, r#"UPDATE objects SET body = '{"kind":"ConfigMap"'"#);
    let error = EmbeddedStore::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { key, .. } if key == "ConfigMap default/settings"), "{error:?}");
    assert!(error.to_string().contains("store.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database at all, but long enough to be read as the head of one, which takes a hundred bytes. ".repeat(9))
        .unwrap();
    assert!(matches!(EmbeddedStore::open(&text).unwrap_err(), StoreError::Corrupt { key, .. } if key == "the database"));

    let foreign = folder.path().join("foreign.db");
    tamper(&foreign, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    assert!(matches!(EmbeddedStore::open(&foreign).unwrap_err(), StoreError::Foreign { .. }));
    tamper(&foreign, "UPDATE theirs SET x = 2");
}

#[tokio::test]
async fn a_file_that_is_open_already_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let _first = EmbeddedStore::open(&path).unwrap();
    assert!(matches!(EmbeddedStore::open(&path).unwrap_err(), StoreError::InUse { .. }));
}

#[tokio::test]
async fn a_folder_that_cant_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = EmbeddedStore::open(&file.join("store.db")).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
