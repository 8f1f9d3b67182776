//! The thread that ticks, where it may not have real time: guests are interrupted all the same, and the log says what is missing.

use std::time::{Duration, Instant};

use berth_testkit::guests::path;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set};

use crate::process::{Home, PATIENCE, Up, get, manifest};

/// The policy of a thread that has no real time (sched(7), and the 41st field of proc_pid_stat(5)).
const SCHED_OTHER: &str = "0";

/// Starts berth without the right to real time, whoever runs the tests.
fn up_without_real_time(home: &Home, arguments: &[&str]) -> Up {
    let start = || {
        // Of the whole process, unlike the capability; no other test asks for real time.
        let limit = getrlimit(Resource::Rtprio);
        setrlimit(Resource::Rtprio, Rlimit { current: Some(0), ..limit }).unwrap();
        // What a program may be able to do is bounded by the thread that starts it, so only this one gives it up. Who isn't root has nothing.
        if capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_NICE) {
            remove_capability_from_bounding_set(CapabilitySet::SYS_NICE).unwrap();
        }
        home.up(arguments)
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

/// The scheduling policy of a thread by its name.
fn policy(pid: u32, name: &str) -> Option<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().find_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ")?;
        // The first field after the name is the third of all.
        before.ends_with(&format!("({name}")).then(|| after.split(' ').nth(41 - 3).map(str::to_owned))?
    })
}

#[test]
fn l30_without_real_time_guests_that_spin_are_cut_and_others_answered_and_the_log_says_once_what_is_missing() {
    let home = Home::new();
    let spins = manifest("spins", &path("p2"), "spins.test", "1");
    home.write("all/spins.yaml", spins.replace("environment:", "limits: {requestTimeout: 300ms}\n          environment:"));
    home.write("all/answers.yaml", manifest("answers", &path("p3"), "answers.test", "1").replace("incoming-handler", "handler"));
    let mut up = up_without_real_time(&home, &["-v", "--threads", "1", "-f", "all"]);
    up.hear("answers: ready in");
    up.hear("spins: ready in");
    let told = "no real time for the ticking thread";
    assert!(up.hear(told).contains("RLIMIT_RTPRIO"), "{}", up.said());
    assert_eq!(policy(up.pid(), "berth-epoch").as_deref(), Some(SCHED_OTHER));

    // Twice, with a rest between in which the thread that ticks may fall asleep: its second waking says nothing new.
    for _ in 0..2 {
        let addr = up.addr;
        std::thread::scope(|scope| {
            let spinning: Vec<_> = (0..2).map(|_| scope.spawn(|| get(addr, "spins.test", "/spin").unwrap())).collect();
            let start = Instant::now();
            while spinning.iter().any(|request| !request.is_finished()) {
                assert!(start.elapsed() < PATIENCE, "nothing interrupts them");
                assert_eq!(get(addr, "answers.test", "/").unwrap().status, 200, "on the only thread, beside them");
            }
            for answer in spinning {
                assert_eq!(answer.join().unwrap().status, 504);
            }
        });
        assert!(!up.says(told, Duration::from_millis(300)), "{}", up.said());
    }
    assert_eq!(up.said().matches(told).count(), 1, "{}", up.said());
}
