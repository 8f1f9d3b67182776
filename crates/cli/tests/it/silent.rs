//! A berth that is stopped, and how commands tell that from one that is busy or gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, PATIENCE, manifest};

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
    let client = std::thread::spawn(move || crate::process::get(addr, "any.test", "/sleep?ms=20000"));
    home.until_top_says("\"inFlight\": 1");
    let mut stop = home.command(&["stop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    up.wait_for("finishing requests");
    up.signal(Signal::STOP);
    let mut err = String::new();
    stop.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(stop.wait().unwrap().code(), Some(4), "{err}");
    assert!(err.contains("doesn't answer"), "{err}");
    drop(up);
    client.join().unwrap().expect_err("it was killed");
}

/// A process that hangs at its very end: its socket is gone, and a connection to it is still open.
#[test]
fn a_berth_whose_api_has_ended_is_not_asked_for_ever() {
    std::thread::scope(|scope| {
        for (command, words) in [("drain", "closed the connection"), ("stop", "still runs 10 s after its drain")] {
            scope.spawn(move || {
                let home = Home::new();
                let folder = home.path("data");
                std::fs::create_dir(&folder).unwrap();
                let socket = folder.join("berth.sock");
                let listener = UnixListener::bind(&socket).unwrap();
                let mut command = home.command(&[command, "--data-dir", folder.to_str().unwrap()]);
                let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
                let connection = begin_to_drain(&listener);
                drop(listener);
                std::fs::remove_file(&socket).unwrap();

                let (ended, end) = channel();
                let mut stderr = child.stderr.take().unwrap();
                let reader = std::thread::spawn(move || {
                    let mut err = String::new();
                    stderr.read_to_string(&mut err).unwrap();
                    ended.send(err)
                });
                let err = end.recv_timeout(PATIENCE);
                if err.is_err() {
                    child.kill().unwrap();
                }
                let code = child.wait().unwrap().code();
                reader.join().unwrap().unwrap();
                let err = err.expect("it ends");
                assert!(code == Some(1) && err.contains(words), "{code:?} {err}");
                drop(connection);
            });
        }
    });
}

/// Accepts until something is asked for, and answers that it drains.
fn begin_to_drain(listener: &UnixListener) -> UnixStream {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let head: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        if !head.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"state\":\"draining\"}\n").unwrap();
            return stream;
        }
    }
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
