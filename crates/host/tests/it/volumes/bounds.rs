//! What an ephemeral volume holds at most, whichever way it is filled (L31).

use berth_model::workload::Reuse;

use super::*;
use crate::harness::reused;

const BYTES: u64 = 1 << 20;
const ENTRY: u64 = 4096;

/// Bytes on the disk of what guests see of the only ephemeral volume, without the folder itself.
fn on_disk(root: &Path) -> u64 {
    fn sizes(folder: &Path) -> u64 {
        let size = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => ENTRY + sizes(&entry.path()),
            meta if meta.is_file() => ENTRY + meta.len(),
            _ => ENTRY,
        };
        folder.read_dir().unwrap().map(|entry| size(entry.unwrap())).sum()
    }
    let volume = root.join("ephemeral").read_dir().unwrap().next().unwrap().unwrap();
    sizes(&volume.path().join("files"))
}

fn full(guest: &str) -> Result<String, String> {
    name(guest, "StorageFull", "InsufficientSpace")
}

/// The same of a write to a file that is open: the standard library has one error for all that happens to a stream.
fn full_write(guest: &str, written: u64) -> Result<String, String> {
    if guest == "p2" { Err(format!("Uncategorized after {written}")) } else { full(guest) }
}

#[tokio::test]
async fn l31_an_ephemeral_volume_takes_so_much_and_says_which_setting_bounds_it() {
    for guest in GUESTS {
        let tmp = tempfile::tempdir().unwrap();
        let bench = bench(tmp.path());
        bench.run(with(guest, vec![ephemeral("scratch")], vec![mount("scratch", "/tmp", false)])).await;
        let act = async |what: &str| act(&bench, guest, what).await;
        let used = || bench.metric("berth_volume_bytes", guest) as u64;
        let fits = BYTES - ENTRY;
        assert_eq!(act(&format!("write&bytes={fits}&path=/tmp/a")).await, Ok(format!("wrote {fits}")), "{guest}");
        assert_eq!((used(), on_disk(tmp.path())), (BYTES, BYTES));
        assert_eq!(act("append&bytes=1&path=/tmp/a").await, full_write(guest, 0), "{guest}");
        for more in ["write&bytes=1&path=/tmp/b", "mkdir&path=/tmp/b", "symlink&path=a&to=/tmp/b", "link&path=/tmp/a&to=/tmp/b"] {
            assert_eq!(act(more).await, full(guest), "{guest} {more}");
        }
        assert_eq!(act(&format!("resize&bytes={}&path=/tmp/a", fits + 1)).await, full(guest));
        // What is overwritten or removed makes room.
        assert!(act("resize&bytes=100&path=/tmp/a").await.is_ok());
        assert_eq!((used(), on_disk(tmp.path())), (ENTRY + 100, ENTRY + 100));
        assert!(
            act("mkdir&path=/tmp/b").await.is_ok()
                && act("symlink&path=a&to=/tmp/c").await.is_ok()
                && act("link&path=/tmp/a&to=/tmp/d").await.is_ok()
        );
        assert_eq!((used(), on_disk(tmp.path())), (4 * ENTRY + 100, 4 * ENTRY + 200), "the bytes of both names are one file's");
        assert!(act("write&bytes=5000&path=/tmp/e").await.is_ok() && act("rename&path=/tmp/e&to=/tmp/c").await.is_ok());
        assert_eq!(used(), 4 * ENTRY + 5100);
        assert!(
            act("rmdir&path=/tmp/b").await.is_ok() && act("remove&path=/tmp/c").await.is_ok() && act("remove&path=/tmp/d").await.is_ok()
        );
        assert_eq!((used(), on_disk(tmp.path())), (ENTRY + 100, ENTRY + 100));
        // A write that doesn't fit stops where the last chunk did.
        let tried = act(&format!("write&bytes={}&path=/tmp/a", 4 * BYTES)).await;
        assert_eq!(tried, full_write(guest, fits / (64 << 10) * (64 << 10)), "{guest}");
        assert!(on_disk(tmp.path()) <= BYTES && used() == on_disk(tmp.path()));
        let events = bench.events.with_reason("VolumeFull");
        assert!(
            events[0].message.contains("volume scratch is full") && events[0].message.contains("(ephemeral-volume-size)"),
            "{events:?}"
        );
        let said = bench.host.logs().tail("default", None, 100);
        assert!(said.iter().any(|line| line.text.contains("scratch is full")), "{said:?}");
        bench.host.set_wanted(Vec::new());
        bench.eventually("the figures are gone", || used() == 0).await;
    }
}

#[tokio::test]
async fn l31_files_without_bytes_holes_and_removed_files_count_too() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    bench.run(with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
    let act = async |what: &str| act(&bench, "p2", what).await;
    assert!(act("mkdir&path=/v/many").await.is_ok());
    assert_eq!(act("many&path=/v/many&files=1000").await, Ok("255 then StorageFull".into()));
    assert_eq!(act("list&path=/v/many").await.unwrap().split(' ').count(), 255, "more than are read at once");
    bench.host.set_wanted(Vec::new());
    bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;

    bench.run(with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
    assert_eq!(act("stream&path=a&bytes=2000000").await, Err("InsufficientSpace".into()));
    assert!(act("remove&path=/v/a").await.is_ok());
    assert!(act("write-at&path=/v/hole&offset=2000000").await.is_err());
    assert_eq!(act("write-at&path=/v/hole&offset=500000").await, Ok("written".into()));
    assert!(act("remove&path=/v/hole").await.is_ok());
    // Those that are removed but open count until they are closed, and can be read until then.
    assert_eq!(act("orphans&path=/v&files=10&bytes=300000").await, Ok("Uncategorized at 3, 300000 read, then Ok(\"wrote 300000\")".into()));
    assert_eq!(bench.metric("berth_volume_bytes", "p2") as u64, 300_000 + ENTRY);
}

#[tokio::test]
async fn l31_requests_that_fill_a_volume_at_once_get_no_more_together() {
    for guest in GUESTS {
        let tmp = tempfile::tempdir().unwrap();
        let bench = bench(tmp.path());
        bench.run(with(guest, vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
        let bench = &bench;
        let write = |n: usize| async move { act(bench, guest, &format!("write&bytes=300000&path=/v/{n}")).await.is_ok() };
        let written = futures::future::join_all((0..8).map(write)).await.into_iter().filter(|written| *written).count();
        assert!(written <= 3, "{guest}: {written}");
        assert!(on_disk(tmp.path()) <= BYTES, "{guest}");
        assert_eq!(bench.metric("berth_volume_bytes", guest) as u64, on_disk(tmp.path()), "{guest}");
    }
}

#[tokio::test]
async fn l31_a_guest_has_so_many_files_open_and_the_next_when_it_closes_one() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    bench.run(with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
    assert_eq!(act(&bench, "p2", "keep-open&files=1000").await, Ok("InsufficientMemory at 256, then true".into()));
    let events = bench.events.with_reason("FileLimit");
    assert!(events[0].message.contains("256 files open"), "{events:?}");
    bench.eventually("all are closed", || bench.host.bounds().iter().all(|b| b.setting != "guest-connections" || b.used == 0)).await;
}

#[tokio::test]
async fn l31_a_file_whose_stream_outlives_its_descriptor_is_free_when_the_stream_is_gone_though_the_instance_stays() {
    for guest in GUESTS {
        let tmp = tempfile::tempdir().unwrap();
        let bench = bench(tmp.path());
        let reuse = Reuse { pool_size: 1, ..Reuse::default() };
        bench.run(reused(with(guest, vec![ephemeral("v")], vec![mount("v", "/v", false)]), reuse)).await;
        assert_eq!(act(&bench, guest, "write&bytes=7&path=/v/file").await, Ok("wrote 7".into()));
        assert_eq!(act(&bench, guest, "outlive&path=file").await, Ok("xxxxxxx".into()), "{guest}");
        bench.eventually("it is free", || bench.host.bounds().iter().all(|b| b.setting != "guest-connections" || b.used == 0)).await;
        assert_eq!(bench.metric("berth_instances_live", ""), 1.0, "{guest}");
    }
}

#[tokio::test]
async fn l31_a_file_is_read_as_it_is_however_large_through_streams() {
    for guest in GUESTS {
        let tmp = tempfile::tempdir().unwrap();
        let bench = bench(tmp.path());
        bench.run(with(guest, vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
        // More than is read at once, and nothing.
        for bytes in [0, 200_001] {
            assert!(act(&bench, guest, &format!("write&bytes={bytes}&path=/v/file")).await.is_ok());
            assert_eq!(act(&bench, guest, "read&path=/v/file").await, Ok("x".repeat(bytes)), "{guest}");
        }
        // The standard library looks at that itself.
        if guest == "p3" {
            assert_eq!(act(&bench, guest, "read&path=/v").await, Err("IsDirectory".into()));
        }
    }
}

/// L45: without anything that changes the volume afterwards.
#[tokio::test]
async fn l45_a_removed_file_stops_counting_when_it_is_closed() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    bench.run(with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
    assert_eq!(act(&bench, "p2", "orphans&path=/v&files=2&bytes=1000").await, Ok("kept 2".into()));
    bench.eventually("nothing is in it", || bench.metric("berth_volume_bytes", "p2") == 0.0).await;
    assert_eq!(on_disk(tmp.path()), 0);
}
