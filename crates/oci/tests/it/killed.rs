//! Killed in the middle of a pull, or of writing what came: nothing corrupt is ever used.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use berth_model::resource::PullPolicy::{IfNotPresent, Never};
use berth_oci::{Cache, CacheSettings, PullFailure};
use berth_testkit::registry::{Fault, FaultProxy, Gate, Registry};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::pushed::{Pusher, WASM, component, image, settings, source};

/// Set in the process that a test starts of itself and kills: the registry to pull from, and the folder to pull into.
const PULLS: &str = "BERTH_TEST_PULLS";
const IMAGES: u8 = 6;
const BYTES: usize = 3_000_000;
/// How often a process is killed.
const KILLS: u64 = 12;

/// What the process does that is killed: pulls the images, and empties the cache, again and again.
async fn pull_until_killed(place: &str) {
    let (name, folder) = place.split_once(' ').unwrap();
    let source = source(folder.as_ref(), settings(&[name]));
    std::io::stderr().write_all(b"pulling\n").unwrap();
    loop {
        for number in 0..IMAGES {
            source.pull(&image(&format!("{name}/a/b:{number}")), IfNotPresent, None).await.unwrap();
        }
        source.cache().prune(berth_oci::Prune::All).unwrap();
    }
}

/// Starts the process, and waits until it pulls.
async fn start(name: &str, folder: &std::path::Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["killed::l35_after_kill_9_in_a_pull_nothing_corrupt_is_ever_used", "--exact", "--nocapture"])
        .env(PULLS, format!("{name} {}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("the process says that it pulls") != "pulling" {}
    child
}

#[tokio::test]
async fn l35_after_kill_9_in_a_pull_nothing_corrupt_is_ever_used() {
    if let Ok(place) = std::env::var(PULLS) {
        return pull_until_killed(&place).await;
    }
    let registry = Registry::plain().await;
    let proxy = FaultProxy::start(registry.addr()).await;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..IMAGES {
        Pusher::plain().push(&format!("{}/a/b:{number}", registry.name()), &[(WASM, &component(number, BYTES))]).await;
    }
    let mut kept = 0;
    for round in 0..KILLS {
        let mut child = start(&proxy.name(), folder.path()).await;
        let seen = proxy.requests("GET");
        // Some way into its work: after another number of requests and of milliseconds each time.
        proxy.requested("GET", seen + 1 + usize::try_from(round).unwrap() % 5).await;
        let _ = tokio::time::timeout(Duration::from_millis(round * 3), child.wait()).await;
        child.kill().await.unwrap();

        let cache = Cache::open(CacheSettings::in_folder(folder.path().join("images"))).unwrap();
        let verified = cache.verify().unwrap();
        assert_eq!(verified.removed, [""; 0], "round {round}: a file was there and wasn't whole");
        kept += verified.good;
        let left = std::fs::read_dir(folder.path().join("images/blobs/sha256")).unwrap();
        assert_eq!(u64::try_from(left.count()).unwrap(), verified.good, "round {round}: leftovers of the killed process are removed");
        let source = source(folder.path(), settings(&[]));
        for number in 0..IMAGES {
            match source.pull(&image(&format!("{}/a/b:{number}", proxy.name())), Never, None).await {
                Ok(artifact) => assert_eq!(artifact.bytes, component(number, BYTES)),
                Err(error) => assert!(matches!(error.reason, PullFailure::NotCached), "round {round}: {error}"),
            }
        }
    }
    assert!(kept > 0, "the kills came before anything was kept");
    let source = source(folder.path(), settings(&[&proxy.name()]));
    for number in 0..IMAGES {
        let pulled = source.pull(&image(&format!("{}/a/b:{number}", proxy.name())), IfNotPresent, None).await.unwrap();
        assert_eq!(pulled.bytes, component(number, BYTES));
    }
}

#[tokio::test]
async fn l35_killed_while_a_component_is_coming_leaves_nothing_of_it() {
    let registry = Registry::plain().await;
    let proxy = FaultProxy::start(registry.addr()).await;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..IMAGES {
        Pusher::plain().push(&format!("{}/a/b:{number}", registry.name()), &[(WASM, &component(number, BYTES))]).await;
    }
    proxy.always("/blobs/", Fault::HoldAfter(BYTES / 2, Gate::closed()));
    let mut child = start(&proxy.name(), folder.path()).await;
    proxy.requested("/blobs/", 1).await;
    child.kill().await.unwrap();
    proxy.heal();
    let source = source(folder.path(), settings(&[&proxy.name()]));
    let entries = source.cache().entries().unwrap();
    assert!(entries.iter().all(|entry| entry.bytes < 10_000), "{entries:?}");
    let pulled = source.pull(&image(&format!("{}/a/b:0", proxy.name())), IfNotPresent, None).await.unwrap();
    assert_eq!(pulled.bytes, component(0, BYTES));
}
