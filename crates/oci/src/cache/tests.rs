//! The cache by itself.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use berth_model::digest::Digest;

use super::*;

const LIMIT: u64 = 1 << 20;

fn open(folder: &Path, max_bytes: u64) -> Cache {
    Cache::open(CacheSettings { max_bytes, ..CacheSettings::in_folder(folder.to_owned()) }).unwrap()
}

/// Keeps content that was used so many seconds ago.
fn put(cache: &Cache, content: &[u8], seconds_ago: u64) -> Digest {
    let digest = Digest::of(content);
    assert_eq!(cache.write(&digest, content).unwrap(), Stored::Kept);
    let used = SystemTime::now() - Duration::from_secs(seconds_ago);
    File::open(path(cache, &digest)).unwrap().set_modified(used).unwrap();
    digest
}

fn path(cache: &Cache, digest: &Digest) -> PathBuf {
    cache.shared.blobs.path_of(digest.hex())
}

fn has(cache: &Cache, digest: &Digest) -> bool {
    path(cache, digest).exists()
}

fn refer(cache: &Cache, reference: &str, manifest: &Digest, component: &Digest) {
    let record = Record { reference: reference.into(), root: manifest.clone(), manifest: manifest.clone(), component: component.clone() };
    cache.remember(&record).unwrap();
}

#[test]
fn l35_what_is_kept_is_read_back_also_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let digest = put(&open(folder.path(), LIMIT), b"content", 0);
    assert_eq!(open(folder.path(), LIMIT).read(&digest, LIMIT).unwrap().as_deref(), Some(&b"content"[..]));
}

#[test]
fn l35_what_is_not_what_its_name_says_is_removed_and_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), LIMIT);
    for damaged in [&b"c0ntent"[..], b"conten", b"", b"content and more"] {
        let digest = put(&cache, b"content", 0);
        fs::write(path(&cache, &digest), damaged).unwrap();
        assert_eq!(cache.read(&digest, LIMIT).unwrap(), None);
        assert!(!has(&cache, &digest));
    }
    assert_eq!(cache.metrics().corrupt.get(), 4);
}

#[test]
fn l35_the_cache_is_bounded_and_what_was_used_longest_ago_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), 10);
    let (old, older, new) = (put(&cache, b"old.", 20), put(&cache, b"older", 30), Digest::of(b"new"));
    // Reading is using.
    assert!(cache.read(&older, LIMIT).unwrap().is_some());
    cache.write(&new, b"new").unwrap();
    assert_eq!([has(&cache, &old), has(&cache, &older), has(&cache, &new)], [false, true, true]);
    assert_eq!((cache.bytes().unwrap(), cache.metrics().evictions.get(), cache.metrics().evicted_bytes.get()), (8, 1, 4));
    // A smaller bound holds from the next opening.
    assert_eq!(open(folder.path(), 3).bytes().unwrap(), 3);
}

#[test]
fn l35_what_is_being_read_is_not_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), 10);
    let read = put(&cache, b"being read", 60);
    let reading = cache.shared.blobs.open_file(read.hex()).unwrap().unwrap();
    let new = Digest::of(b"new");
    assert_eq!(cache.write(&new, b"new").unwrap(), Stored::NoRoom);
    assert_eq!(cache.prune(Prune::All).unwrap(), Pruned { in_use: 1, ..Pruned::default() });
    assert!(has(&cache, &read) && !has(&cache, &new));
    drop(reading);
    assert_eq!(cache.write(&new, b"new").unwrap(), Stored::Kept);
    assert!(!has(&cache, &read));
}

#[test]
fn what_is_larger_than_the_cache_is_not_kept_and_drives_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), 10);
    let small = put(&cache, b"small", 0);
    assert_eq!(cache.write(&Digest::of(b"eleven bytes"), b"eleven bytes").unwrap(), Stored::NoRoom);
    assert!(has(&cache, &small));
}

#[test]
fn l35_what_killed_writers_left_is_removed_and_what_others_are_writing_stays() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), LIMIT));
    let blobs = folder.path().join("blobs/sha256");
    let (left, writing) = (blobs.join(".part-left"), blobs.join(".part-writing"));
    fs::write(&left, "half").unwrap();
    fs::write(&writing, "half").unwrap();
    let lock = File::open(&writing).unwrap();
    lock.lock_shared().unwrap();
    let cache = open(folder.path(), LIMIT);
    assert_eq!((left.exists(), writing.exists()), (false, true));
    // What is being written is no entry, and takes room.
    assert_eq!((cache.entries().unwrap(), cache.bytes().unwrap()), (vec![], 4));
}

#[test]
fn entries_say_what_leads_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), LIMIT);
    let (manifest, component, lost) = (put(&cache, b"manifest", 2), put(&cache, b"component", 1), put(&cache, b"lost", 3));
    refer(&cache, "r.example/a:1", &manifest, &component);
    refer(&cache, "r.example/b:1", &manifest, &component);
    let shown: Vec<_> =
        cache.entries().unwrap().into_iter().map(|entry| (entry.digest, entry.bytes, entry.kind, entry.references)).collect();
    let both = vec!["r.example/a:1".to_owned(), "r.example/b:1".to_owned()];
    assert_eq!(
        shown,
        [
            (component, 9, EntryKind::Component, both.clone()),
            (manifest, 8, EntryKind::Manifest, both),
            (lost, 4, EntryKind::Unreferenced, vec![])
        ]
    );
}

#[test]
fn pruning_removes_by_size_and_age_and_forgets_what_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), LIMIT);
    let (manifest, component, old) = (put(&cache, b"manifest", 10), put(&cache, b"component", 20), put(&cache, b"old", 7200));
    refer(&cache, "r.example/a:1", &manifest, &component);
    assert_eq!(cache.prune(Prune::UnusedFor(Duration::from_secs(3600))).unwrap(), Pruned { entries: 1, bytes: 3, in_use: 0 });
    assert!(!has(&cache, &old) && cache.record("r.example/a:1").unwrap().is_some());
    assert_eq!(cache.prune(Prune::ToBytes(8)).unwrap(), Pruned { entries: 1, bytes: 9, in_use: 0 });
    assert!(has(&cache, &manifest) && cache.record("r.example/a:1").unwrap().is_none());
    assert_eq!(cache.prune(Prune::All).unwrap(), Pruned { entries: 1, bytes: 8, in_use: 0 });
    assert_eq!(cache.entries().unwrap(), []);
}

#[test]
fn verifying_finds_and_removes_every_file_that_is_not_what_its_name_says() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), LIMIT);
    let (good, bad) = (put(&cache, b"good", 0), put(&cache, b"bad", 0));
    refer(&cache, "r.example/a:1", &good, &bad);
    fs::write(path(&cache, &bad), "worse").unwrap();
    fs::write(folder.path().join("blobs/sha256/notes.txt"), "mine").unwrap();
    let verified = cache.verify().unwrap();
    let mut removed = vec![bad.hex().to_owned(), "notes.txt".to_owned()];
    removed.sort();
    assert_eq!(verified, Verified { good: 1, good_bytes: 4, removed, ..Verified::default() });
    assert!(has(&cache, &good) && !has(&cache, &bad) && cache.record("r.example/a:1").unwrap().is_none());
    assert_eq!(cache.verify().unwrap(), Verified { good: 1, good_bytes: 4, ..Verified::default() });
}

#[test]
fn a_file_that_can_not_be_read_is_noted_and_neither_ends_the_check_nor_is_removed() {
    let mut verified = Verified::default();
    let broken = CacheError::at("reading", Path::new("b"))(std::io::Error::other("the disk fails"));
    assert!(!verified.add("b", 4, Err(broken)) && !verified.add("a", 4, Ok(Some(true))) && !verified.add("gone", 4, Ok(None)));
    assert!(verified.add("c", 4, Ok(Some(false))));
    let expected =
        Verified { good: 1, good_bytes: 4, removed: vec!["c".to_owned()], unreadable: vec![("b".to_owned(), "the disk fails".to_owned())] };
    assert_eq!(verified.sorted(), expected);
}

#[test]
fn a_folder_that_somebody_removed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder.path().join("images"), LIMIT);
    let gone = put(&cache, b"gone", 0);
    fs::remove_dir_all(folder.path().join("images")).unwrap();
    assert_eq!((cache.read(&gone, LIMIT).unwrap(), cache.bytes().unwrap()), (None, 0));
    let content = put(&cache, b"content", 0);
    refer(&cache, "r.example/a:1", &content, &content);
    assert!(has(&cache, &content) && cache.record("r.example/a:1").unwrap().is_some());
}

#[test]
fn references_are_bounded_too_and_a_damaged_one_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let settings = CacheSettings { max_references: 2, ..CacheSettings::in_folder(folder.path().to_owned()) };
    let cache = Cache::open(settings).unwrap();
    let content = put(&cache, b"content", 0);
    for (reference, seconds_ago) in [("r.example/a:1", 30), ("r.example/b:1", 20), ("r.example/c:1", 10)] {
        refer(&cache, reference, &content, &content);
        let file = File::open(folder.path().join("references").join(record::file_name(reference))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }
    let known = |reference: &str| cache.record(reference).unwrap().is_some();
    assert_eq!(["r.example/a:1", "r.example/b:1", "r.example/c:1"].map(known), [false, true, true]);
    fs::write(folder.path().join("references").join(record::file_name("r.example/b:1")), "{").unwrap();
    assert!(!known("r.example/b:1"));
}

#[test]
fn many_writers_and_readers_of_one_folder_see_whole_content_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let contents: Vec<Vec<u8>> = (0u8..6).map(|n| vec![n; 3000]).collect();
    // Two thirds fit, so that there is always something to evict.
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (contents, folder) = (&contents, folder.path());
            scope.spawn(move || {
                let cache = open(folder, 12_000);
                for round in 0..60 {
                    let content = &contents[(round * (worker + 1)) % contents.len()];
                    let digest = Digest::of(content);
                    match cache.read(&digest, LIMIT).unwrap() {
                        Some(found) => assert_eq!(&found, content),
                        None => drop(cache.write(&digest, content).unwrap()),
                    }
                }
                assert_eq!(cache.metrics().corrupt.get(), 0);
            });
        }
    });
    let cache = open(folder.path(), 12_000);
    assert!(cache.bytes().unwrap() <= 12_000);
    assert_eq!(cache.verify().unwrap().removed, [""; 0]);
}
