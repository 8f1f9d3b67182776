//! Runs the built command in a home of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A home folder, with nothing of the tester's own in the environment.
pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the home.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
        command.args(arguments).env_clear().env("HOME", self.dir.path()).env("TMPDIR", self.dir.path()).current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// Runs a command with text on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    }

    /// Waits until `berth top` says `words`.
    #[track_caller]
    pub fn until_top_says(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.run(&["top", "-o", "json"]).ok().contains(words) {
            assert!(Instant::now() < deadline, "`berth top` never says `{words}`");
        }
    }

    /// Starts `berth up` on a free port and waits until it answers.
    pub fn up(&self, arguments: &[&str]) -> Up {
        let mut all = vec!["up", "--http-addr", "127.0.0.1:0"];
        all.extend(arguments);
        Up::spawn(&mut self.command(&all))
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The output of a command that must have worked.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// The error of a command that must have failed so; nothing may stand on standard output.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:#?}");
        assert!(self.err.starts_with("error: "), "{self:#?}");
        self.err
    }
}

/// A running `berth up`; killed when dropped.
pub struct Up {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    readers: Vec<JoinHandle<()>>,
    pub addr: SocketAddr,
}

impl Up {
    pub fn spawn(command: &mut Command) -> Up {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let mut readers = Vec::new();
        for (mark, pipe) in
            [("", Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>), ("! ", Box::new(child.stderr.take().unwrap()))]
        {
            let sender = sender.clone();
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send(format!("{mark}{line}"));
                }
            }));
        }
        let mut up = Up { child, lines, said: Vec::new(), readers, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = up.wait_for("answers on ");
        up.addr = line.rsplit_once("://").unwrap().1.split(['"', '\x1b']).next().unwrap().parse().unwrap();
        up
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with `words`; lines of standard error begin with `! `.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no `{words}` within {PATIENCE:?} in {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without `{words}`: {:#?}", self.said),
            }
        }
    }

    /// A line with `words` that has come or comes: standard output and error have no order between them.
    #[track_caller]
    pub fn hear(&mut self, words: &str) -> String {
        match self.said.iter().find(|line| line.contains(words)) {
            Some(line) => line.clone(),
            None => self.wait_for(words),
        }
    }

    /// Whether a line with `words` comes within `patience`.
    pub fn says(&mut self, words: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.said.push(line.clone());
            if line.contains(words) {
                return true;
            }
        }
        false
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        if signal == Signal::STOP {
            let deadline = Instant::now() + PATIENCE;
            // Each thread stops when it next leaves the kernel, and until then it may still answer.
            while !self.stands_still() {
                assert!(Instant::now() < deadline, "it doesn't stop");
                std::thread::yield_now();
            }
        }
    }

    /// Whether all its threads are stopped.
    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.flatten().all(|thread| {
            // A name may hold parentheses; the state follows the last one.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Both pipes close when it ends.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it runs on after {PATIENCE:?}: {:#?}", self.said),
            }
        }
    }

    /// Whether it has ended by now.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        self.said.join("\n")
    }

    pub fn get(&self, host: &str, path: &str) -> Answer {
        get(self.addr, host, path).unwrap()
    }

    /// Sends text, and reads the answer.
    pub fn post(&self, host: &str, path: &str, body: &str) -> Answer {
        ask(self.addr, "POST", host, path, body).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

/// One request on a connection of its own; an error when it breaks off.
pub fn get(addr: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    ask(addr, "GET", host, path, "")
}

fn ask(addr: SocketAddr, method: &str, host: &str, path: &str, body: &str) -> Result<Answer, String> {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let ask = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{length}connection: close\r\n\r\n{body}")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = ask().map_err(|error| error.to_string())?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| format!("no answer: {text:?}"))?;
    Ok(Answer { status, text })
}

/// A manifest of one component for one domain.
pub fn manifest(name: &str, image: &Path, domain: &str, version: &str) -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: {name}
spec:
  template:
    spec:
      hostSelector: {{hostgroup: default}}
      hostInterfaces:
      - namespace: wasi
        package: http
        interfaces: [incoming-handler]
        config: {{host: {domain}}}
      components:
      - name: main
        image: file://{}
        localResources:
          environment: {{config: {{VERSION: \"{version}\"}}}}
",
        image.display()
    )
}
