//! The bounds of a process: each is a setting and a metric, and reaching one is told and harms nobody else.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;

use berth_testkit::guests::path;

use crate::process::{Home, PATIENCE, Up, get};

/// The samples of a metric, by their setting.
fn samples(admin: SocketAddr, metric: &str) -> BTreeMap<String, u64> {
    let text = get(admin, "admin", "/metrics").unwrap().text;
    let sample = |line: &str| {
        let (setting, value) = line.strip_prefix(metric)?.strip_prefix("{setting=\"")?.split_once("\"} ")?;
        Some((setting.to_owned(), value.trim().parse().unwrap()))
    };
    text.lines().filter_map(sample).collect()
}

fn admin(up: &mut Up) -> SocketAddr {
    up.wait_for("/metrics on http://").rsplit_once("//").unwrap().1.trim().parse().unwrap()
}

const ADMIN: [&str; 2] = ["--admin-addr", "127.0.0.1:0"];

#[test]
fn l63_every_bound_is_a_setting_a_metric_and_a_line_of_the_page_on_limits() {
    let home = Home::new();
    let mut up = home.up(&ADMIN);
    let admin = admin(&mut up);
    let (most, used) = (samples(admin, "berth_bound"), samples(admin, "berth_bound_used"));
    assert!(most.len() >= 13, "{most:?}");
    assert_eq!(most.keys().collect::<Vec<_>>(), used.keys().collect::<Vec<_>>());
    assert!(samples(admin, "berth_bound_reached_total").values().all(|reached| *reached == 0));
    let help = home.run(&["up", "--help"]).ok();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md")).unwrap();
    for (setting, most) in most {
        assert!(most > 0, "{setting}");
        assert!(help.contains(&format!("--{setting} ")), "{setting} is no setting");
        assert!(page.lines().any(|line| line.starts_with(&format!("| `--{setting}` |"))), "docs/limits.md lacks {setting}");
    }
}

#[test]
fn open_files_are_raised_to_what_the_system_allows_or_to_what_is_asked_for() {
    let home = Home::new();
    // As a login shell often has it; the hard limit stays as it is.
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        let all = ["-c", script, env!("CARGO_BIN_EXE_berth"), "up", "--http-addr", "127.0.0.1:0", ADMIN[0], ADMIN[1]];
        command.args(all).env_clear().env("HOME", home.dir.path()).current_dir(home.dir.path());
        command
    };
    let mut up = Up::spawn(&mut shell("ulimit -Sn 256; ulimit -Hn 2000; exec \"$0\" \"$@\""));
    let most = samples(admin(&mut up), "berth_bound");
    assert_eq!([most["open-files"], most["max-connections"], most["guest-connections"]], [2000, 1000, 500]);
    drop(up);
    let refused = shell("ulimit -Sn 256; ulimit -Hn 2000; exec \"$0\" \"$@\" --open-files 5000").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--open-files: 5000 open files are more than the 2000 that the system allows"), "{said}");
}

/// L53: neither the most connections nor want of open files ends accepting.
#[test]
fn l53_past_the_connections_that_fit_the_open_files_a_client_gets_503_and_the_settings_name() {
    let home = Home::new();
    let guest = path("p2-hello").display().to_string();
    let mut up = home.up(&["--open-files", "200", "--max-connections", "20", ADMIN[0], ADMIN[1], &guest]);
    let admin = admin(&mut up);
    up.wait_for("ready in");
    let held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(up.addr).unwrap()).collect();
    let deadline = Instant::now() + PATIENCE;
    while samples(admin, "berth_bound_used")["max-connections"] < 20 {
        assert!(Instant::now() < deadline, "the connections are never counted");
    }
    let mut answer = String::new();
    TcpStream::connect(up.addr).unwrap().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1") && answer.contains("(max-connections)"), "{answer}");
    assert_eq!(samples(admin, "berth_bound_reached_total")["max-connections"], 1);
    drop(held);
    while get(up.addr, "anything", "/").map(|answer| answer.status) != Ok(200) {
        assert!(Instant::now() < deadline, "it never serves again");
    }
}

#[test]
fn l53_a_process_without_a_file_left_to_open_goes_on_as_soon_as_it_has_one() {
    let home = Home::new();
    let guest = path("p2-hello").display().to_string();
    let mut up = home.up(&["--open-files", "200", ADMIN[0], ADMIN[1], &guest]);
    let admin = admin(&mut up);
    up.wait_for("ready in");
    // Some more than are left: half of the files go to clients, others to what else is open, and to the admin address the rest.
    let idle: Vec<TcpStream> = (0..200).map(|n| TcpStream::connect(if n % 2 == 0 { up.addr } else { admin }).unwrap()).collect();
    drop(idle);
    let deadline = Instant::now() + PATIENCE;
    while get(up.addr, "anything", "/").map(|answer| answer.status) != Ok(200) {
        assert!(Instant::now() < deadline, "it never serves again");
    }
    assert!(!samples(admin, "berth_bound").is_empty() && !up.has_ended());
}

#[test]
fn l05_l19_a_start_that_finds_the_compile_queue_full_says_so_and_is_tried_again() {
    let home = Home::new();
    let guests = ["p2", "p3"].map(|guest| home.write(&format!("{guest}.yaml"), crate::process::manifest(guest, &path(guest), guest, "1")));
    let [one, two] = guests.each_ref().map(|file| file.to_str().unwrap());
    let mut up = home.up(&["--compile-threads", "1", "--compile-queue", "0", ADMIN[0], ADMIN[1], "-f", one, "-f", two]);
    let admin = admin(&mut up);
    up.wait_for("(compile-queue)");
    assert!(samples(admin, "berth_bound_reached_total")["compile-queue"] >= 1);
    let deadline = Instant::now() + PATIENCE;
    for guest in ["p2", "p3"] {
        while get(up.addr, guest, "/").map(|answer| answer.status) != Ok(200) {
            assert!(Instant::now() < deadline, "{guest} never comes");
        }
    }
    assert!(home.run(&["events"]).ok().contains("CompileQueueFull"));
}

#[test]
fn a_cache_folder_that_can_not_be_used_costs_only_itself_unless_it_was_named() {
    let home = Home::new();
    home.write(".cache/berth", "no folder");
    let mut up = home.up(&[&path("p2-hello").display().to_string()]);
    up.wait_for("ready in");
    assert_eq!(up.get("anything", "/").status, 200);
    assert!(up.said().contains("the caches' folder can't be used") && up.said().contains("--cache-dir"), "{}", up.said());
    drop(up);
    let named = home.path(".cache/berth").display().to_string();
    let said = home.run(&["up", "--http-addr", "127.0.0.1:0", "--cache-dir", &named]).failed(1);
    assert!(said.contains("--cache-dir"), "{said}");
}
