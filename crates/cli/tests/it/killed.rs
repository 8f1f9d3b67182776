//! Killed in the middle of compiling, or of writing compiled code: the next start serves, and nothing corrupt is ever used.

use std::path::Path;
use std::time::{Duration, Instant};

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, PATIENCE, Up, manifest};

/// Kills spread over the time from the start until the code is kept.
const MOMENTS: u32 = 8;
/// Kills that found the file that is being written, after which there need be no more; and the most tries for them.
const HITS: usize = 3;
const TRIES: usize = 20;

fn files(entries: &Path) -> Vec<String> {
    let Ok(listed) = entries.read_dir() else { return Vec::new() };
    listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn parts(entries: &Path) -> usize {
    files(entries).iter().filter(|name| name.starts_with(".part-")).count()
}

/// Looks until `condition` holds, or the process has ended.
fn until(up: &mut Up, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(!up.has_ended() && Instant::now() < deadline, "it never comes: {}", up.said());
        std::thread::yield_now();
    }
}

fn kill(mut up: Up) {
    up.signal(Signal::KILL);
    assert_eq!(up.ended().code(), None);
}

/// After a kill: whatever is cached is whole, what was half written is gone, and a start serves. Then all code is removed, so that the
/// next start compiles.
fn assert_sound(home: &Home, entries: &Path, when: &str) {
    let found: serde_json::Value = serde_json::from_str(&home.run(&["cache", "verify", "-o", "json"]).ok()).unwrap();
    assert_eq!(found["code"]["removed"], serde_json::json!([]), "{when}: an entry was there and wasn't whole");
    assert_eq!(found["code"]["unreadable"], serde_json::json!([]), "{when}");
    assert_eq!(parts(entries), 0, "{when}: leftovers are swept");
    let mut up = home.up(&[]);
    up.wait_for("ready in");
    assert_eq!(up.get("shop.test", "/").status, 200, "{when}");
    assert!(!up.said().contains("isn't authentic"), "{when}: {}", up.said());
    kill(up);
    home.run(&["cache", "prune", "--all"]).ok();
}

#[test]
fn l36_after_kill_9_in_a_compile_or_a_write_of_code_the_next_start_serves_and_nothing_corrupt_is_used() {
    let home = Home::new();
    let entries = home.path(".cache/berth/code/entries");
    home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "1"));
    let start = Instant::now();
    let mut up = home.up(&["-f", "shop.yaml"]);
    until(&mut up, || files(&entries).iter().any(|name| !name.starts_with('.')));
    let whole = start.elapsed();
    kill(up);
    assert_sound(&home, &entries, "with everything kept");

    for moment in 0..MOMENTS {
        let start = Instant::now();
        let mut up = home.up(&[]);
        // Until that moment has come; or until it is ready, where the machine is faster now.
        let at: Duration = whole * moment / MOMENTS;
        up.says("ready in", at.saturating_sub(start.elapsed()));
        kill(up);
        assert_sound(&home, &entries, &format!("at {at:?} of {whole:?}"));
    }

    let mut hits = 0;
    for _ in 0..TRIES {
        let mut up = home.up(&[]);
        until(&mut up, || !files(&entries).is_empty());
        kill(up);
        hits += parts(&entries);
        assert_sound(&home, &entries, "in a write");
        if hits >= HITS {
            break;
        }
    }
    assert!(hits > 0, "no kill came while an entry was being written");
}
