//! The berth under test: one data folder, one process at a time, and the commands that talk to it.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// A command must end within this; `apply --wait` itself gives up after 60 s.
const COMMAND_DEADLINE: Duration = Duration::from_secs(90);

/// What berth prints goes to this file in the folder.
pub const LOG: &str = "berth.log";

/// Where a berth is and how to call it.
#[derive(Clone, Debug)]
pub struct Seat {
    binary: PathBuf,
    folder: PathBuf,
    /// Where it answers HTTP.
    pub http: SocketAddr,
    /// Where it answers `/metrics`.
    pub admin: SocketAddr,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Seat {
    /// A seat for `binary` in an empty folder, on two free ports.
    pub fn new(binary: &Path, folder: &Path, rng: &mut fastrand::Rng) -> Result<Seat> {
        let [http, admin] = free_addresses(rng)?;
        Ok(Seat { binary: binary.to_owned(), folder: folder.to_owned(), http, admin })
    }

    /// Writes a file into the folder and says where it is.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Everything that berth printed.
    pub fn log(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// Starts `berth up`, with manifests or with what was applied before.
    pub fn up(&self, manifests: Option<&Path>) -> Result<Child> {
        let log = self.open_log()?;
        let mut up = self.command(&["up", "--http-addr", &self.http.to_string(), "--admin-addr", &self.admin.to_string()]);
        if let Some(manifests) = manifests {
            up.arg("-f").arg(manifests);
        }
        let errors = log.try_clone().context("cannot share berth's log")?;
        up.stdout(log).stderr(errors).spawn().with_context(|| format!("cannot start {}", self.binary.display()))
    }

    /// Runs one command to its end. An error says that it couldn't run or didn't end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Said, String> {
        let ended = tokio::time::timeout(COMMAND_DEADLINE, self.command(arguments).output()).await;
        let output = ended.map_err(|_| format!("didn't end within {COMMAND_DEADLINE:?}"))?.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) })
    }

    /// A command that knows this folder and nothing of the caller's own settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--data-dir").arg(self.folder.join("data"));
        command.env_clear().env("HOME", &self.folder).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn open_log(&self) -> Result<File> {
        let path = self.log();
        OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Said {
    /// The output of a command that worked; an error otherwise.
    pub fn ok(self) -> Result<String, String> {
        match self.code {
            0 => Ok(self.out),
            code => Err(format!("exit code {code}: {}{}", self.out.trim(), self.err.trim())),
        }
    }
}

/// Kills a process with SIGKILL and waits for its end.
pub async fn kill(child: &mut Child) -> Result<ExitStatus> {
    child.start_kill().context("cannot kill berth")?;
    child.wait().await.context("cannot wait for berth")
}

/// Two addresses that nobody listens on, outside the range that outgoing connections take their ports from: while berth is down, one
/// of ours could take its port otherwise.
fn free_addresses(rng: &mut fastrand::Rng) -> Result<[SocketAddr; 2]> {
    let mut found = Vec::new();
    for _ in 0..1000 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.u16(15_000..30_000)));
        if !found.contains(&addr) && TcpListener::bind(addr).is_ok() {
            found.push(addr);
        }
        if let [http, admin] = found[..] {
            return Ok([http, admin]);
        }
    }
    bail!("no two ports between 15000 and 30000 are free on {}", Ipv4Addr::LOCALHOST)
}
