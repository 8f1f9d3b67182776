//! The fixture guests: components built from source on first use, kept by content.
//!
//! A guest lies under `<cache>/guests/<hash>/<name>.wasm`, where the hash covers its sources, lockfile, build script and toolchain
//! file, and the cache is `BERTH_CACHE` or `~/.cache/berth`. A build takes seconds for Rust, up to minutes for a language whose tools
//! must be installed first; it says so on standard error. Test processes that need the same guest wait for one build. Examples are kept
//! alike, under `<cache>/examples`.
//!
//! Knows how guests are built, not what a test does with them.

mod build;
mod example;
mod hash;

use std::fmt;
use std::path::PathBuf;

pub use build::{BuildError, Builder};

/// What a guest is written in, hence how it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A package of the workspace `guests/`, built by cargo for `wasm32-wasip2`.
    Rust,
    /// `guests/js/build.sh`.
    JavaScript,
    /// `guests/py/build.sh`.
    Python,
    /// `guests/go/build.sh`.
    Go,
    /// `guests/c/build.sh`.
    C,
}

impl Language {
    /// The folder under `guests/` of a language with a build script; Rust's folders are named for the guests.
    #[must_use]
    pub fn folder(self) -> Option<&'static str> {
        match self {
            Self::Rust => None,
            Self::JavaScript => Some("js"),
            Self::Python => Some("py"),
            Self::Go => Some("go"),
            Self::C => Some("c"),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C",
        })
    }
}

/// One guest that tests can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixture {
    /// The name it is asked for by, and the value of its `x-guest` header if it serves HTTP.
    pub name: &'static str,
    /// What it is written in.
    pub language: Language,
    /// Whether it is a program that accepts connections, which needs a newer C library than its toolchain's.
    pub accepts: bool,
}

const fn fixture(name: &'static str, language: Language) -> Fixture {
    Fixture { name, language, accepts: false }
}

/// A server in Rust, as for any system.
const fn server(name: &'static str) -> Fixture {
    Fixture { name, language: Language::Rust, accepts: true }
}

/// Every guest. `cargo xtask tidy` fails if a test uses none of some name; guests/README.md says what each is for.
pub const FIXTURES: &[Fixture] = &[
    server("echo"),
    fixture("echo-p3", Language::Rust),
    fixture("p2", Language::Rust),
    fixture("p2-config", Language::Rust),
    fixture("p2-hello", Language::Rust),
    fixture("p2-missing-import", Language::Rust),
    fixture("p2-no-http", Language::Rust),
    fixture("p3", Language::Rust),
    fixture("p3-hello", Language::Rust),
    fixture("link-back", Language::Rust),
    fixture("link-back-p3", Language::Rust),
    fixture("link-front", Language::Rust),
    fixture("link-front-p3", Language::Rust),
    fixture("link-middle", Language::Rust),
    server("service-axum"),
    server("service-mio"),
    fixture("desk-front", Language::Rust),
    fixture("desk-front-p3", Language::Rust),
    fixture("desk-service", Language::Rust),
    fixture("desk-service-p2", Language::Rust),
    fixture("service-p2", Language::Rust),
    fixture("service-p3", Language::Rust),
    fixture("p3-middleware", Language::Rust),
    fixture("js", Language::JavaScript),
    fixture("js-p3", Language::JavaScript),
    fixture("py", Language::Python),
    fixture("py-p3", Language::Python),
    fixture("go", Language::Go),
    fixture("c", Language::C),
];

/// The path of a built guest, built first if need be.
///
/// # Panics
/// If there is no such guest or it can't be built: a test can't go on without it.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    match Builder::from_env().and_then(|builder| builder.path(name)) {
        Ok(path) => path,
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// The bytes of a built guest, built first if need be.
///
/// # Panics
/// As [`path`], and if the built file can't be read.
#[must_use]
pub fn bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => panic!("reading guest {}: {error}", path.display()),
    }
}

/// Builds every guest and example that isn't built yet: first the guests, in the order of [`FIXTURES`].
///
/// # Errors
/// The first that can't be built.
pub fn build_all() -> Result<Vec<PathBuf>, BuildError> {
    let builder = Builder::from_env()?;
    let guests = FIXTURES.iter().map(|fixture| builder.path(fixture.name));
    let examples = builder.examples()?;
    guests.chain(examples.iter().map(|name| builder.example(name))).collect()
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
