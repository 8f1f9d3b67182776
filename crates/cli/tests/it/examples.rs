//! Every example runs under `berth up` and does what its README says (L63).
//!
//! READMEs are checked by their own words: of the blocks that begin with three backquotes, `console` ones are requests by curl and what is
//! answered, byte for byte; `log` and `up` ones are lines of `berth logs` and of `berth up`, without what differs from run to run.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use berth_testkit::guests::Builder;

use crate::process::{Home, PATIENCE, Up};

/// One test for each example, and that none is left out.
macro_rules! examples {
    ($($test:ident: $name:literal, $more:expr;)*) => {
        $(
            #[test]
            fn $test() {
                let mut run = Run::new($name);
                let more: fn(&mut Run) = $more;
                more(&mut run);
            }
        )*

        #[test]
        fn every_example_has_a_test() {
            let tested: BTreeSet<_> = [$($name.to_owned()),*].into();
            let there: BTreeSet<_> = Builder::from_env().unwrap().examples().unwrap().into_iter().collect();
            assert_eq!(tested, there, "each folder of examples/ needs a line in this file's `examples!`");
            let index = std::fs::read_to_string(repository().join("examples/README.md")).unwrap();
            for name in there {
                assert!(index.contains(&format!("| [{name}]({name}) |")), "examples/README.md doesn't name {name}");
            }
        }
    };
}

examples! {
    hello_answers_as_its_readme_says: "hello", |_| {};
    hello_p3_answers_as_its_readme_says: "hello-p3", |_| {};
    middleware_adds_its_header_in_front_of_either_version: "middleware", |run| {
        for host in ["middleware.localhost", "middleware-p3.localhost"] {
            let answer = run.up.get(host, "/Ada").text;
            assert!(answer.contains("\r\nserver-timing: handler;dur="), "{answer}");
        }
    };
    front_and_back_answers_as_its_readme_says: "front-and-back", |run| {
        // The back is asked by its own workload alone.
        assert_eq!(run.up.get("back.workload.internal", "/price/assam").status, 404);
    };
    shared_library_answers_as_its_readme_says: "shared-library", |_| {};
    tokio_service_outlasts_requests_and_ends_when_it_is_told: "tokio-service", |run| {
        assert!(run.up.get("tokio-service.localhost", "/Grace").text.ends_with("Welcome, Grace!\n"));
        let mut logs = run.home.command(&["logs", "-f", "tokio-service"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(logs.stdout.take().unwrap()).lines().map_while(Result::ok);
        // It follows by now, so that it hears the last words too.
        assert!(said.next().unwrap().contains("the guestbook is open"));
        run.home.run(&["stop"]).ok();
        assert!(said.any(|line| line.ends_with("stdout: the guestbook closes with 2 names")));
        logs.wait().unwrap();
    };
    sandbox_gets_nothing_and_each_denial_is_told: "sandbox", |run| {
        let events = run.home.run(&["events"]).ok();
        assert_eq!(events.matches("Denied").count(), 5, "{events}");
        // The door that the README opens.
        let manifest = std::fs::read_to_string(run.folder.join("manifest.yaml")).unwrap();
        let manifest = manifest.replace("# environment:", "environment:").replace("file://./", &format!("file://{}/", run.folder.display()));
        let file = run.home.write("manifest.yaml", manifest);
        run.home.run(&["apply", "-f", file.to_str().unwrap(), "--wait"]).ok();
        let answer = run.up.get("sandbox.localhost", "/").text;
        assert!(answer.contains("SOMETHING: API_KEY") && answer.contains("Things I got: 1 of 11."), "{answer}");
    };
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An example under `berth up`, of which all that its README says was seen.
struct Run {
    folder: PathBuf,
    home: Home,
    up: Up,
}

impl Run {
    fn new(name: &str) -> Run {
        let folder = Builder::from_env()
            .and_then(|builder| builder.example(name))
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        let readme = std::fs::read_to_string(repository().join("examples").join(name).join("README.md")).unwrap();
        assert!(readme.contains(&format!("cargo xtask example {name}")), "the README of {name} doesn't say how to run it");
        let manifest = std::fs::read_to_string(folder.join("manifest.yaml")).unwrap();
        let home = Home::new();
        let mut up = home.up(&[folder.to_str().unwrap()]);
        // Deployments become ready in any order.
        for _ in 0..manifest.matches("kind: WorkloadDeployment").count() {
            up.wait_for("  curl http://");
        }
        for line in block_lines(&readme, "up") {
            assert!(up.said().contains(line), "{name}: `{line}` isn't in {}", up.said());
        }
        let mut asked = 0;
        for question in questions(&readme) {
            let answer = question.ask(&up);
            assert_eq!(answer, question.answer, "{name}: {}", question.command);
            asked += 1;
        }
        assert!(asked > 0, "the README of {name} asks nothing");
        let workloads: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
        for line in block_lines(&readme, "log") {
            wait_for_log(&home, &workloads, line);
        }
        Run { folder, home, up }
    }
}

/// Waits until the log of one of the workloads has a line that ends with `words`, digits aside.
fn wait_for_log(home: &Home, workloads: &[&str], words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let logs: String = workloads.iter().map(|name| home.run(&["logs", name]).ok()).collect();
        if logs.lines().any(|line| timeless(line).ends_with(&timeless(words))) {
            return;
        }
        assert!(Instant::now() < deadline, "no line ends with `{words}` in {logs}");
    }
}

/// A line whose milliseconds, which differ from run to run, are a `#`.
fn timeless(line: &str) -> String {
    match line.rsplit_once(" after ") {
        Some((before, time)) if time.ends_with(" ms") => format!("{before} after # ms"),
        _ => line.to_owned(),
    }
}

/// A request that a README shows, and the body that it says comes back.
#[derive(Debug, PartialEq)]
struct Question {
    command: String,
    answer: String,
}

impl Question {
    /// Sends what `curl [-d TEXT] http://HOST:8000/PATH` would.
    fn ask(&self, up: &Up) -> String {
        let url = self.command.rsplit(' ').next().unwrap().strip_prefix("http://").unwrap();
        let (host, path) = url.split_once(":8000").unwrap_or_else(|| panic!("{url} isn't at port 8000"));
        let path = if path.is_empty() { "/" } else { path };
        let answer = match self.command.split_once("-d '").and_then(|(_, rest)| rest.split_once('\'')) {
            Some((body, _)) => up.post(host, path, body),
            None => up.get(host, path),
        };
        answer.text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// The lines of the blocks in a Markdown text that begin with three backquotes and `kind`.
fn block_lines<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let opening = format!("```{kind}");
    let mut within = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match (within, line.starts_with("```")) {
            (true, false) => found.push(line),
            (_, fence) => within = fence && !within && line == opening,
        }
    }
    found
}

/// The requests of the `console` blocks; what follows each is its answer.
fn questions(text: &str) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for line in block_lines(text, "console") {
        match (line.strip_prefix("$ "), questions.last_mut()) {
            (Some(command), _) => questions.push(Question { command: command.to_owned(), answer: String::new() }),
            (None, Some(question)) => question.answer += &format!("{line}\n"),
            (None, None) => panic!("`{line}` answers nothing"),
        }
    }
    questions
}

#[test]
fn questions_are_read_from_a_readme() {
    let readme =
        "```sh\n$ not this\n```\n\n```console\n$ curl http://a.localhost:8000/\none\ntwo\n$ curl http://a.localhost:8000/b\n\n```\n";
    let question = |command: &str, answer: &str| Question { command: command.to_owned(), answer: answer.to_owned() };
    let expected = [question("curl http://a.localhost:8000/", "one\ntwo\n"), question("curl http://a.localhost:8000/b", "\n")];
    assert_eq!(questions(readme), expected);
}
