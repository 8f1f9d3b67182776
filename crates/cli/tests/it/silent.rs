//! A berth that is stopped, and how commands tell that from one that is busy or gone.

use std::time::{Duration, Instant};

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, manifest};

#[test]
fn a_berth_that_was_stopped_is_named_with_the_way_out_within_seconds() {
    let home = Home::new();
    let up = home.up(&[path("p2-hello").to_str().unwrap()]);
    let manifest = home.write("m.yaml", manifest("a", &path("p2-hello"), "a.test", "1"));
    let manifest = manifest.to_str().unwrap();
    up.signal(Signal::STOP);
    let begin = Instant::now();
    let all: [&[&str]; 13] = [
        &["get", "all"],
        &["get", "wd", "--watch"],
        &["apply", "-f", manifest],
        &["describe", "wd", "p2-hello"],
        &["delete", "cm", "x"],
        &["logs", "p2-hello"],
        &["logs", "-f", "wd/p2-hello"],
        &["events"],
        &["events", "--follow"],
        &["top"],
        &["drain"],
        &["stop"],
        &["version", "-o", "json"],
    ];
    std::thread::scope(|scope| {
        for arguments in all {
            let (home, pid) = (&home, up.pid());
            scope.spawn(move || {
                let said = home.run(arguments);
                assert_eq!(said.code, 4, "{arguments:?}: {said:#?}");
                for part in [&format!("process {pid}"), "doesn't answer", &format!("kill -CONT {pid}"), "kill -KILL", "berth up"] {
                    assert!(said.err.contains(part), "{arguments:?}: {part} is missing in: {}", said.err);
                }
                if arguments[0] == "version" {
                    assert!(said.out.contains("\"running\": null"), "{said:#?}");
                }
            });
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
}

#[test]
fn a_berth_that_is_stopped_while_it_drains_is_not_waited_for_for_ever() {
    let home = Home::new();
    let mut up = home.up(&[path("p2").to_str().unwrap()]);
    up.wait_for("curl ");
    let addr = up.addr;
    std::thread::spawn(move || crate::process::get(addr, "any.test", "/sleep?ms=20000"));
    home.until_top_says("\"inFlight\": 1");
    let mut stop = home.command(&["stop"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    up.wait_for("finishing requests");
    up.signal(Signal::STOP);
    let mut err = String::new();
    std::io::Read::read_to_string(&mut stop.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(stop.wait().unwrap().code(), Some(4), "{err}");
    assert!(err.contains("doesn't answer"), "{err}");
}

/// Also while it compiles: what says `stopped` is the process's end.
#[test]
fn stop_says_stopped_when_the_process_has_ended() {
    for (guest, words) in [("go", "created"), ("p2", "curl ")] {
        let home = Home::new();
        let mut up = home.up(&[path(guest).to_str().unwrap()]);
        up.wait_for(words);
        assert!(home.run(&["stop"]).ok().ends_with("stopped\n"));
        assert!(up.has_ended(), "{}", up.said());
        assert_eq!(up.ended().code(), Some(0), "{}", up.said());
    }
}
