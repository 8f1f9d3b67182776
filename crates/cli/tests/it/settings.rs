//! Flags, environment and configuration file.

use crate::process::{Home, Up};

#[test]
fn l60_an_unknown_key_in_the_configuration_file_is_refused_with_a_suggestion() {
    let home = Home::new();
    let file = home.write("berth.toml", "# settings\nhttp_addr = \"127.0.0.1:0\"\n");
    let err = home.run(&["up", "--config", file.to_str().unwrap()]).failed(2);
    assert!(err.contains("berth.toml line 2: unknown key `http_addr`; did you mean `http-addr`?"), "{err}");
    // Also in the default place, and for commands that don't need the key.
    home.write(".config/berth/config.toml", "slotz = 1\n");
    let err = home.run(&["get", "all"]).failed(2);
    assert!(err.contains("unknown key `slotz`; did you mean `slots`?"), "{err}");
}

#[test]
fn l60_an_unknown_environment_variable_is_refused_with_a_suggestion() {
    let home = Home::new();
    for arguments in [&["up"][..], &["get", "all"]] {
        let output = home.command(arguments).env("BERTH_HTP_ADDR", "127.0.0.1:0").env("BERTH_SERVICE_HOST", "10.0.0.1").output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert_eq!(err, "error: unknown environment variable `BERTH_HTP_ADDR`; did you mean `BERTH_HTTP_ADDR`?\n");
    }
}

#[test]
fn settings_that_can_not_work_together_or_at_all_are_refused_before_anything_starts() {
    let home = Home::new();
    let err = home.run(&["up", "--http-addr", "127.0.0.1:18080", "--admin-addr", "127.0.0.1:18080"]).failed(2);
    for part in ["--http-addr: 127.0.0.1:18080", "--admin-addr: 127.0.0.1:18080", "a port of its own"] {
        assert!(err.contains(part), "{part} is missing in: {err}");
    }
    home.write("empty.pem", "no certificate\n");
    let err = home.run(&["up", "--extra-ca-path", "empty.pem"]).failed(2);
    assert!(err.contains("--extra-ca-path: ") && err.contains("empty.pem holds no certificate"), "{err}");
    let err = home.run(&["up", "--extra-ca-path", "none.pem"]).failed(2);
    assert!(err.contains("none.pem: No such file"), "{err}");
    home.write("data", "");
    for arguments in [&["up", "--data-dir", "data"][..], &["get", "all", "--data-dir", "data"]] {
        let err = home.run(arguments).failed(2);
        assert!(err.contains("data is a file") && err.contains("--data-dir"), "{err}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let home = Home::new();
    let file = home.write("berth.toml", "drain-grace = \"soon\"\n");
    let mut command = home.command(&["up", "--http-addr", "localhost", "--config", file.to_str().unwrap()]);
    let output = command.env("BERTH_SLOTS", "none").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    for part in ["--http-addr: `localhost` is not an address", "BERTH_SLOTS: `none`", "berth.toml line 1: drain-grace: `soon`"] {
        assert!(err.contains(part), "{part} is missing in:\n{err}");
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let home = Home::new();
    home.write(
        ".config/berth/config.toml",
        "host-name = \"file\"\nhost-group = \"file\"\nenvironment = \"file\"\nhttp-addr = \"127.0.0.1:0\"\n",
    );
    let mut command = home.command(&["up", "--host-name", "flag"]);
    let mut up = Up::spawn(command.env("BERTH_HOST_GROUP", "variable").env("BERTH_HOST_NAME", "variable"));
    up.wait_for("nothing to run yet");
    let watch = home.command(&["get", "hosts", "--watch", "-o", "json"]).stdout(std::process::Stdio::piped()).spawn();
    let mut watch = watch.unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(watch.stdout.take().unwrap()), &mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    for part in ["\"name\":\"flag\"", "\"hostgroup\":\"variable\"", "\"environment\":\"file\""] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
}

#[test]
fn a_configuration_file_that_was_named_must_be_there() {
    let err = Home::new().run(&["get", "all", "--config", "/nonexistent.toml"]).failed(2);
    assert!(err.contains("/nonexistent.toml") && err.contains("No such file"), "{err}");
}

#[test]
fn colors_are_only_there_when_asked_for_without_a_terminal() {
    let home = Home::new();
    let up = home.up(&["--color", "always"]);
    let plain = home.run(&["get", "hosts"]);
    assert!(!plain.out.contains('\x1b'), "{plain:?}");
    drop(up);
    let help = home.run(&["--help", "--color", "always"]).ok();
    assert!(help.contains('\x1b'), "{help}");
}
