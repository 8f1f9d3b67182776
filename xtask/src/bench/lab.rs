//! What every scenario works with: the two programs, wrk, the guests, a folder, and how long to measure.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_testkit::guests::Builder;
use tempfile::TempDir;

use super::Options;
use super::machine::Versions;
use super::process::{Launch, Side};
use super::procfs::Process;
use crate::command;
use crate::workspace::Workspace;

/// Installs the peer and wrk, unless they are there.
const SETUP: &str = "scripts/setup-bench-tools.sh";

/// What scenarios work with.
pub struct Lab {
    /// The command line's choices.
    pub options: Choices,
    /// The repository.
    pub root: PathBuf,
    /// Cargo's output.
    pub target: PathBuf,
    /// wrk.
    pub wrk: PathBuf,
    berth: PathBuf,
    peer: PathBuf,
    guests: Builder,
    folder: TempDir,
    ticks: u64,
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// Rounds, if the user said.
    pub rounds: Option<u32>,
    /// Seconds per measurement, if the user said.
    pub seconds: Option<u32>,
    /// Workloads of the scenario `workloads`.
    pub workloads: u32,
}

impl Lab {
    /// Installs the tools and builds what is missing.
    pub fn set_up(workspace: &Workspace, options: &Options) -> Result<Lab> {
        println!("bench: wasmtime and wrk (at once when there; else a quarter of an hour)");
        let mut setup = Command::new(workspace.root.join(SETUP));
        let tools = command::stdout(setup.env("BERTH_TOOLS", &workspace.tools).current_dir(&workspace.root))?;
        let (peer, wrk) = tools.trim().split_once('\n').with_context(|| format!("{SETUP} printed {tools:?} and not two paths"))?;
        let berth = match &options.berth {
            Some(berth) => std::path::absolute(berth).context("--berth is no path")?,
            None => build(workspace)?,
        };
        let ticks = command::stdout(Command::new("getconf").arg("CLK_TCK"))?;
        Ok(Lab {
            options: Choices { rounds: options.rounds, seconds: options.seconds, workloads: options.workloads },
            root: workspace.root.clone(),
            target: workspace.target.clone(),
            wrk: wrk.into(),
            berth,
            peer: peer.into(),
            guests: Builder::from_env().context("the guests can't be built")?,
            folder: tempfile::Builder::new().prefix("berth-bench-").tempdir().context("cannot make a folder")?,
            ticks: ticks.trim().parse().with_context(|| format!("getconf CLK_TCK printed {ticks:?}"))?,
        })
    }

    /// How many rounds.
    pub fn rounds(&self) -> u32 {
        self.options.rounds.unwrap_or(5)
    }

    /// How long a measurement lasts, seconds.
    pub fn seconds(&self) -> u32 {
        self.options.seconds.unwrap_or(10)
    }

    /// How long a measurement lasts.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds().into())
    }

    /// How long a side is asked before it is measured, seconds.
    pub fn warm_up(&self) -> u32 {
        self.seconds().min(2)
    }

    /// The two sides in the order of a round: who went second goes first in the next.
    pub fn order(&self, round: u32) -> [Side; 2] {
        if round.is_multiple_of(2) { [Side::Berth, Side::Peer] } else { [Side::Peer, Side::Berth] }
    }

    /// The program of a side.
    pub fn program(&self, side: Side) -> &Path {
        match side {
            Side::Berth => &self.berth,
            Side::Peer => &self.peer,
        }
    }

    /// Where a guest's component is; built first if it must be.
    pub fn guest(&self, name: &str) -> Result<PathBuf> {
        self.guests.path(name).with_context(|| format!("the guest {name} can't be built"))
    }

    /// A folder of this name that is empty.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file into the lab's folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// How to start a side in an empty home folder named for `name` and the side.
    pub fn launch(&self, side: Side, name: &str) -> Result<Launch> {
        Ok(Launch::new(side, self.program(side), self.fresh(&format!("{name}-{}", side.folder()))?, free_address()?))
    }

    /// A process to be looked at.
    pub fn process(&self, pid: u32) -> Process {
        Process::new(pid, self.ticks)
    }

    /// What is measured.
    pub fn versions(&self) -> Result<Versions> {
        let first = |program: &Path, argument: &str| -> Result<String> {
            let output = Command::new(program).arg(argument).output().with_context(|| format!("cannot run {}", program.display()))?;
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
        };
        let git = |arguments: &[&str]| command::stdout(Command::new("git").arg("-C").arg(&self.root).args(arguments));
        let wrk = first(&self.wrk, "-v")?;
        Ok(Versions {
            berth: first(&self.berth, "--version")?,
            commit: git(&["describe", "--always", "--dirty"])?.trim().to_owned(),
            peer: first(&self.peer, "--version")?,
            wrk: wrk.split(" Copyright").next().unwrap_or_default().trim_end_matches(" [epoll]").to_owned(),
            rustc: command::stdout(Command::new("rustc").arg("--version").current_dir(&self.root))?.trim().to_owned(),
        })
    }

    /// Keeps the folder, with the logs in it, and says where it is.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    println!("bench: building berth (a release build takes some minutes the first time)");
    command::run(&mut command::cargo(workspace, &["build", "--release", "--locked", "--package", "berth-cli"]))?;
    Ok(workspace.target.join("release/berth"))
}

/// An address that nobody listens on, outside the range that outgoing connections take their ports from.
fn free_address() -> Result<SocketAddr> {
    let tries = std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(15_000..30_000))));
    match tries.take(1000).find(|addr| TcpListener::bind(addr).is_ok()) {
        Some(addr) => Ok(addr),
        None => bail!("no port between 15000 and 30000 is free on {}", Ipv4Addr::LOCALHOST),
    }
}
