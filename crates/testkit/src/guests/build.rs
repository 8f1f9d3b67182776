//! Building one guest: find it, take its lock, run its tools, put the result in place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use berth_model::manifest::ManifestError;

use super::{FIXTURES, Fixture, Language, hash};

/// Why there is no guest to test with.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No fixture of that name.
    #[error("no guest is named {name:?}; there are {}", names())]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// No example of that name.
    #[error("no example is named {name:?}; there are {names}")]
    UnknownExample {
        /// The name asked for.
        name: String,
        /// Those there are.
        names: String,
    },
    /// Neither `BERTH_CACHE` nor `HOME` is set.
    #[error("no place to keep built guests: set BERTH_CACHE or HOME")]
    NoCache,
    /// A file or folder couldn't be read, written or locked.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program couldn't be started.
    #[error("{what}: starting {program}")]
    Spawn {
        /// What was built: a guest, or an example.
        what: String,
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed; what it wrote is on standard error.
    #[error("{what}: {program} failed with {status}; what it said is on standard error")]
    Failed {
        /// What was built: a guest, or an example.
        what: String,
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// An example's manifest can't be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn names() -> String {
    FIXTURES.iter().map(|fixture| fixture.name).collect::<Vec<_>>().join(", ")
}

/// Builds guests of one repository into one cache.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) repository: PathBuf,
    pub(super) cache: PathBuf,
}

impl Builder {
    /// For this repository, and the cache of the environment.
    ///
    /// # Errors
    /// If neither `BERTH_CACHE` nor `HOME` is set.
    pub fn from_env() -> Result<Self, BuildError> {
        let given = std::env::var_os("BERTH_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/berth"));
        given.or_else(home).map(Self::with_cache).ok_or(BuildError::NoCache)
    }

    /// For this repository, and a cache folder that is made if need be.
    #[must_use]
    pub fn with_cache(cache: PathBuf) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        // A script runs in another folder, so the cache's path must not depend on this one's.
        let cache = std::path::absolute(&cache).unwrap_or(cache);
        Self { repository: repository.canonicalize().unwrap_or(repository), cache }
    }

    /// The path of a built guest, built first if need be.
    ///
    /// # Errors
    /// If there is no such guest or it can't be built.
    pub fn path(&self, name: &str) -> Result<PathBuf, BuildError> {
        let Some(fixture) = FIXTURES.iter().find(|fixture| fixture.name == name) else {
            return Err(BuildError::Unknown { name: name.to_owned() });
        };
        let hash = hash::of(&self.repository, &inputs(fixture)).map_err(|(path, source)| BuildError::Io {
            action: "reading guest source",
            path,
            source,
        })?;
        let built = self.cache.join("guests").join(hash).join(format!("{name}.wasm"));
        if built.is_file() {
            return Ok(built);
        }
        // One build per language at a time: its guests share folders.
        let lock = self.cache.join("guests").join(format!(".{}.lock", fixture.language));
        let _lock = self.lock(&lock, &format!("{} guests", fixture.language))?;
        // Another process may have built it while this one waited.
        if !built.is_file() {
            self.build(fixture, &built)?;
        }
        Ok(built)
    }

    /// Takes the lock of those who build `what`. It ends with the file handle, also when the process dies.
    pub(super) fn lock(&self, path: &Path, what: &str) -> Result<File, BuildError> {
        make_dir(path.parent().unwrap_or(&self.cache))?;
        let file = File::options().create(true).append(true).open(path).map_err(failed("opening", path))?;
        if file.try_lock().is_err() {
            say(format_args!("waiting for another process that builds {what}"));
            file.lock().map_err(failed("locking", path))?;
        }
        Ok(file)
    }

    fn build(&self, fixture: &Fixture, built: &Path) -> Result<(), BuildError> {
        let started = Instant::now();
        say(format_args!("building guest {} ({})", fixture.name, fixture.language));
        let dir = built.parent().unwrap_or(&self.cache);
        make_dir(dir)?;
        // Written beside its place and renamed, so that nobody ever sees half of it.
        let fresh = dir.join(format!(".{}.{}.wasm", fixture.name, std::process::id()));
        match fixture.language.folder() {
            None => self.cargo(fixture, &fresh)?,
            Some(folder) => self.script(fixture, folder, &fresh)?,
        }
        fs::rename(&fresh, built).map_err(failed("placing guest", built))?;
        say(format_args!("built guest {} in {:.1} s: {}", fixture.name, started.elapsed().as_secs_f32(), built.display()));
        Ok(())
    }

    fn cargo(&self, fixture: &Fixture, out: &Path) -> Result<(), BuildError> {
        let target_dir = self.cache.join("guests/target");
        let mut cargo = self.cargo_for_wasm(&guest(fixture))?;
        cargo.command.current_dir(self.repository.join("guests")).env("CARGO_TARGET_DIR", &target_dir);
        cargo.command.args(["--package", fixture.name]);
        if fixture.accepts {
            cargo.command.arg("--config").arg(self.newer_libc(&guest(fixture))?);
        }
        cargo.run()?;
        let command = self.repository.join("guests").join(fixture.name).join("src/main.rs").is_file();
        let artifact = if command { fixture.name.to_owned() } else { fixture.name.replace('-', "_") };
        let artifact = target_dir.join("wasm32-wasip2/release").join(artifact).with_extension("wasm");
        fs::copy(&artifact, out).map_err(failed("copying", &artifact))?;
        Ok(())
    }

    /// A cargo that builds components of `what` in Rust, with the target that they need.
    pub(super) fn cargo_for_wasm(&self, what: &str) -> Result<Program, BuildError> {
        let toolchain = self.toolchain(what)?;
        let mut cargo = self.command(what, "cargo");
        cargo.command.env("RUSTUP_TOOLCHAIN", toolchain);
        cargo.command.args(["build", "--release", "--locked", "--target", "wasm32-wasip2"]);
        Ok(cargo)
    }

    /// Makes sure of a C library with which programs can accept connections; the setting by which rustc finds it before its own.
    pub(super) fn newer_libc(&self, what: &str) -> Result<String, BuildError> {
        self.tools(what, "libc")?;
        let libraries = self.cache.join("tools/wasi-libc/usr/lib/wasm32-wasip2");
        Ok(format!("target.wasm32-wasip2.rustflags=[\"-L\", {:?}]", format!("native={}", libraries.display())))
    }

    /// Makes sure of the tools of one kind of guest; the folder of all tools.
    fn tools(&self, what: &str, of: &str) -> Result<PathBuf, BuildError> {
        let tools = self.cache.join("tools");
        let mut setup = self.command(what, self.repository.join("scripts/setup-guest-tools.sh"));
        setup.command.arg(of).env("BERTH_TOOLS", &tools);
        setup.run()?;
        Ok(tools)
    }

    /// Makes sure of the Wasm target; the name of the toolchain that has it.
    fn toolchain(&self, what: &str) -> Result<String, BuildError> {
        let script = self.repository.join("scripts/setup-wasm-target.sh");
        let mut script = self.command(what, script);
        script.command.arg("wasm32-wasip2").stdout(Stdio::piped());
        Ok(String::from_utf8_lossy(&script.run()?).trim().to_owned())
    }

    fn script(&self, fixture: &Fixture, folder: &str, out: &Path) -> Result<(), BuildError> {
        let tools = self.tools(&guest(fixture), folder)?;
        let mut build = self.command(&guest(fixture), self.repository.join("guests").join(folder).join("build.sh"));
        build.command.arg(fixture.name).arg(out).env("BERTH_TOOLS", &tools);
        build.run().map(drop)
    }

    /// A program that knows nothing of the cargo that runs the tests and writes to standard error alone.
    fn command(&self, what: &str, program: impl Into<OsString>) -> Program {
        let program = program.into();
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            if is_outer_build(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.repository).env("BERTH_CACHE", &self.cache).stdin(Stdio::null()).stdout(io::stderr());
        Program { what: what.to_owned(), name: program.to_string_lossy().into_owned(), command }
    }
}

/// A program to run, and for what.
pub(super) struct Program {
    what: String,
    name: String,
    pub(super) command: Command,
}

impl Program {
    /// Runs to the end; what it wrote to standard output, if that is piped.
    pub(super) fn run(mut self) -> Result<Vec<u8>, BuildError> {
        let (what, program) = (self.what, self.name);
        let spawned = self.command.stderr(Stdio::inherit()).spawn();
        let output = spawned.and_then(std::process::Child::wait_with_output);
        match output {
            Err(source) => Err(BuildError::Spawn { what, program, source }),
            Ok(output) if output.status.success() => Ok(output.stdout),
            Ok(output) => Err(BuildError::Failed { what, program, status: output.status }),
        }
    }
}

/// What a fixture is called in errors.
fn guest(fixture: &Fixture) -> String {
    format!("guest {}", fixture.name)
}

/// Variables by which the cargo that runs the tests would change the guest's build. Where cargo keeps and finds packages stays.
fn is_outer_build(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    let cargo = name == "CARGO" || name.starts_with("CARGO_") && !kept.iter().any(|kept| name.starts_with(kept));
    cargo || matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUSTC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTUP_TOOLCHAIN")
}

/// What a guest is made of, relative to the repository.
fn inputs(fixture: &Fixture) -> Vec<PathBuf> {
    let common: &[&str] = match fixture.language {
        Language::Rust => &[
            "rust-toolchain.toml",
            "guests/Cargo.toml",
            "guests/Cargo.lock",
            "guests/.cargo",
            "guests/common",
            "guests/desk-wit",
            "guests/flow-wit",
            "guests/link-wit",
            // The C library of servers comes by it.
            "scripts/setup-guest-tools.sh",
        ],
        // WIT comes from the crates that the lockfile names.
        _ => &["rust-toolchain.toml", "guests/Cargo.lock", "guests/wit", "scripts/setup-guest-tools.sh"],
    };
    let own = Path::new("guests").join(fixture.language.folder().unwrap_or(fixture.name));
    common.iter().map(PathBuf::from).chain([own]).collect()
}

/// Names what was tried, and with what, in a system's error.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Io { action, path: path.to_owned(), source }
}

pub(super) fn make_dir(path: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(path).map_err(failed("making folder", path))
}

/// A line of progress on standard error, past the test harness, which would hold it back. If it can't be written, nobody waits for it.
pub(super) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "testkit: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_cargo_leaves_no_trace_but_its_home_and_registries() {
        for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "CARGO", "CARGO_PKG_NAME", "RUSTUP_TOOLCHAIN"] {
            assert!(is_outer_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_REGISTRIES_X_INDEX", "PATH", "HOME", "RUSTUP_HOME"] {
            assert!(!is_outer_build(name), "{name}");
        }
    }
}
