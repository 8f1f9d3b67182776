//! The two sides as processes: how each is started, how the command line is written for people, and that none outlives its scenario.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::client::{self, Reply};
use super::lab::Lab;
use super::procfs::Process;

/// A server must answer within this after its start: it may have to compile a large component first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(300);
/// A command of berth must end within this: it may start ten thousand workloads.
const COMMAND_WITHIN: Duration = Duration::from_secs(900);
/// A server that is told to end must do so within this.
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at whether a server answers.
const LOOK: Duration = Duration::from_micros(100);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// `berth up`.
    Berth,
    /// `wasmtime serve`.
    Peer,
}

impl Side {
    /// Both.
    pub const BOTH: [Side; 2] = [Side::Berth, Side::Peer];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Side::Berth => "berth",
            Side::Peer => "wasmtime serve",
        }
    }

    /// Its name in paths.
    pub fn folder(self) -> &'static str {
        match self {
            Side::Berth => "berth",
            Side::Peer => "wasmtime",
        }
    }
}

/// How to start a server: its command line, the home folder that holds all it keeps, and where it answers.
#[derive(Clone, Debug)]
pub struct Launch {
    side: Side,
    program: PathBuf,
    words: Vec<Word>,
    home: PathBuf,
    addr: SocketAddr,
}

/// A word of a command line, and what people are shown in its place.
#[derive(Clone, Debug)]
struct Word {
    real: String,
    shown: String,
}

impl Launch {
    /// `berth up` or `wasmtime serve` with no more than the address.
    pub fn new(side: Side, program: &Path, home: PathBuf, addr: SocketAddr) -> Launch {
        let launch = Launch { side, program: program.to_owned(), words: Vec::new(), home, addr };
        let (verb, flag) = match side {
            Side::Berth => ("up", "--http-addr"),
            Side::Peer => ("serve", "--addr"),
        };
        launch.words(&[verb, flag]).shown(addr.to_string(), "127.0.0.1:PORT")
    }

    /// More words.
    pub fn words(mut self, words: &[&str]) -> Launch {
        self.words.extend(words.iter().map(|word| Word { real: (*word).to_owned(), shown: (*word).to_owned() }));
        self
    }

    /// A path, of which people are shown the file's name.
    pub fn path(self, path: &Path) -> Launch {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.shown(path.display().to_string(), &name)
    }

    fn shown(mut self, real: String, shown: &str) -> Launch {
        self.words.push(Word { real, shown: shown.to_owned() });
        self
    }

    /// The command line for people.
    pub fn line(&self) -> String {
        let words = self.words.iter().map(|word| word.shown.as_str());
        [self.side.folder()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Starts it. What it prints goes to `log` in its home folder.
    pub fn start(&self, lab: &Lab) -> Result<Server> {
        let log = self.home.join("log");
        let open = || -> Result<File> {
            OpenOptions::new().create(true).append(true).open(&log).with_context(|| format!("cannot write {}", log.display()))
        };
        let mut command = Command::new(&self.program);
        command.args(self.words.iter().map(|word| &word.real)).stdout(open()?).stderr(open()?);
        let started = Instant::now();
        let child = clean(&mut command, &self.home).spawn().with_context(|| format!("cannot start {}", self.line()))?;
        let pid = child.id().context("it was just started")?;
        Ok(Server { launch: self.clone(), child, started, log, process: lab.process(pid) })
    }

    /// Starts it and waits until it answers.
    pub async fn serve(&self, lab: &Lab) -> Result<Server> {
        let mut server = self.start(lab)?;
        server.answers("localhost", "/").await?;
        Ok(server)
    }
}

/// Nothing of the caller's settings, no input, and an end with the value that stands for the process.
fn clean<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.env_clear().env("HOME", home).env("NO_COLOR", "1").current_dir(home).stdin(Stdio::null()).kill_on_drop(true)
}

/// A server that runs; dropping it kills it.
pub struct Server {
    launch: Launch,
    child: Child,
    started: Instant,
    log: PathBuf,
    /// The process, looked at from outside.
    pub process: Process,
}

impl Server {
    /// Where it answers.
    pub fn addr(&self) -> SocketAddr {
        self.launch.addr
    }

    /// Waits until it answers 200, and says how long that was since its start.
    pub async fn answers(&mut self, host: &str, path: &str) -> Result<Duration> {
        self.answers_with(200, host, path).await
    }

    /// The same with another status.
    pub async fn answers_with(&mut self, status: u16, host: &str, path: &str) -> Result<Duration> {
        while self.started.elapsed() < ANSWERS_WITHIN {
            if let Ok(reply) = client::get(self.addr(), host, path).await
                && reply.status == status
            {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait().context("cannot look after a server")? {
                bail!("{} ended: {status}: {}", self.launch.line(), self.last_words());
            }
            // Tokio's timers are too coarse for a start that takes milliseconds.
            std::thread::sleep(LOOK);
        }
        bail!("{} doesn't answer {path} with {status} within {ANSWERS_WITHIN:?}: {}", self.launch.line(), self.last_words())
    }

    /// One answer.
    pub async fn ask(&self, path: &str) -> Result<Reply> {
        client::get(self.addr(), "localhost", path).await.map_err(|error| anyhow!("{} answers {path}: {error}", self.launch.line()))
    }

    /// The status with which a domain is answered.
    pub async fn status_of(&self, domain: &str) -> Result<u16> {
        let reply = client::get(self.addr(), domain, "/").await;
        reply.map(|reply| reply.status).map_err(|error| anyhow!("{} answers {domain}: {error}", self.launch.line()))
    }

    /// Runs another command of berth on the same home folder, and fails if it does.
    pub async fn berth(&self, lab: &Lab, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(lab.program(Side::Berth));
        let ended = tokio::time::timeout(COMMAND_WITHIN, clean(command.args(arguments), &self.launch.home).output()).await;
        let line = || format!("berth {}", arguments.join(" "));
        let output = ended.map_err(|_| anyhow!("{} didn't end within {COMMAND_WITHIN:?}", line()))?;
        let output = output.with_context(|| format!("cannot start {}", line()))?;
        if !output.status.success() {
            let said = [&output.stdout[..], &output.stderr[..]].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
            let (kept, _) = said.split_at(said.floor_char_boundary(2000));
            bail!("{} failed: {}: {}", line(), output.status, kept.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The home folder, which holds all that it keeps.
    pub fn home(&self) -> &Path {
        &self.launch.home
    }

    /// Kills it and waits for its end.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.launch.line()))
    }

    /// Ends it as whoever ends a service does (SIGTERM), with time to write what it wants to keep.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().with_context(|| format!("{} ended by itself", self.launch.line()))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("kill -TERM {pid}")]);
        shell.status().await.with_context(|| format!("cannot end {}", self.launch.line()))?;
        let ended = tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await;
        ended
            .map_err(|_| anyhow!("{} didn't end within {STOPS_WITHIN:?} of SIGTERM", self.launch.line()))?
            .context("cannot wait for a server")?;
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

/// Both sides, running, that were seen to give the same answer.
pub struct Pair {
    /// `berth up`.
    pub berth: Server,
    /// `wasmtime serve`.
    pub peer: Server,
}

impl Pair {
    /// Starts both and compares what they answer.
    pub async fn serve(lab: &Lab, berth: &Launch, peer: &Launch) -> Result<Pair> {
        let pair = Pair { berth: berth.serve(lab).await?, peer: peer.serve(lab).await? };
        let (ours, theirs) = (pair.berth.ask("/").await?, pair.peer.ask("/").await?);
        if ours != theirs {
            bail!("the two sides answer differently, berth {ours:?} and wasmtime serve {theirs:?}");
        }
        Ok(pair)
    }

    /// The server of a side.
    pub fn of(&self, side: Side) -> &Server {
        match side {
            Side::Berth => &self.berth,
            Side::Peer => &self.peer,
        }
    }

    /// Kills both.
    pub async fn kill(self) -> Result<()> {
        self.berth.kill().await?;
        self.peer.kill().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_what_differs_from_run_to_run() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 18000));
        let launch = Launch::new(Side::Peer, Path::new("/opt/wasmtime"), "/tmp/home".into(), addr);
        let launch = launch.words(&["-Scli"]).path(Path::new("/cache/abc/p2-hello.wasm"));
        assert_eq!(launch.line(), "wasmtime serve --addr 127.0.0.1:PORT -Scli p2-hello.wasm");
    }
}
