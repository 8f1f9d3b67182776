//! A real OCI registry (the distribution project's) as a process on a free port of 127.0.0.1, with the faults that real ones have.
//!
//! `scripts/setup-registry.sh` builds it; the first test that needs it waits for that. What a test can't go on without panics with words.

mod proxy;
mod tokens;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::task::AbortOnDropHandle;

pub use self::proxy::{Fault, FaultProxy, Gate};
pub use self::tokens::{TokenServer, TokenSettings};

/// The user that registries and token servers of tests know, and the password.
pub const USER: &str = "berth";
/// The password of [`USER`].
pub const PASSWORD: &str = "hunter2";
/// [`USER`] and a bcrypt hash of [`PASSWORD`], as the registry's password file has them.
const HTPASSWD: &str = "berth:$2b$04$c5tHjC2hOgO2zz2DDVTpeOoeufJtakR.t6.Mwyrs.llBXA6sTaGK2\n";
/// How long a test waits for what must come: a registry that starts, a request, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a registry is like.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Whom it lets in.
    pub access: Access,
    /// PEM certificate chain and key, where it speaks TLS.
    pub tls: Option<(String, String)>,
}

/// Whom a registry lets in.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody.
    #[default]
    Anybody,
    /// [`USER`] with [`PASSWORD`].
    Password,
    /// Who has a token of this token server: its address, and the document of its key.
    Token(String, String),
}

/// A running registry; it ends when this is dropped, and its content goes with it.
pub struct Registry {
    addr: SocketAddr,
    folder: tempfile::TempDir,
    _process: Child,
    /// Reads what it logs, so that it never waits for that.
    _log: AbortOnDropHandle<()>,
}

impl Registry {
    /// Starts a registry.
    ///
    /// # Panics
    /// If it can't be built or doesn't start.
    pub async fn start(config: RegistryConfig) -> Registry {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(&config, folder.path());
        let path = write(folder.path(), "config.json", &settings.to_string());
        let mut process = Command::new(program().await)
            .arg("serve")
            .arg(path)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the registry's program runs");
        let mut log = BufReader::new(process.stderr.take().expect("its standard error is a pipe")).lines();
        let addr = tokio::time::timeout(PATIENCE, listening(&mut log)).await.expect("the registry is ready in time");
        let log = AbortOnDropHandle::new(tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} }));
        Registry { addr, folder, _process: process, _log: log }
    }

    /// A registry for everybody, in plain HTTP.
    ///
    /// # Panics
    /// As [`Registry::start`].
    pub async fn plain() -> Registry {
        Registry::start(RegistryConfig::default()).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name in references: address and port.
    pub fn name(&self) -> String {
        self.addr.to_string()
    }

    /// The file in which it keeps a blob, to damage it. `hex` are the digits of the SHA-256 digest.
    pub fn blob_path(&self, hex: &str) -> PathBuf {
        self.folder.path().join("content/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

/// The registry's configuration; JSON is YAML, too.
fn settings(config: &RegistryConfig, folder: &Path) -> Value {
    let mut settings = json!({
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": folder.join("content")}, "delete": {"enabled": true}},
        "http": {"addr": "127.0.0.1:0"},
    });
    match &config.access {
        Access::Anybody => {}
        Access::Password => {
            settings["auth"] = json!({"htpasswd": {"realm": "test", "path": write(folder, "htpasswd", HTPASSWD)}});
        }
        Access::Token(realm, keys) => {
            let keys = write(folder, "keys.json", keys);
            let (service, issuer) = (tokens::SERVICE, tokens::ISSUER);
            settings["auth"] = json!({"token": {"realm": realm, "service": service, "issuer": issuer, "jwks": keys}});
        }
    }
    if let Some((certificate, key)) = &config.tls {
        let (certificate, key) = (write(folder, "cert.pem", certificate), write(folder, "key.pem", key));
        settings["http"]["tls"] = json!({"certificate": certificate, "key": key});
    }
    settings
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the temporary folder can be written");
    path
}

/// Builds the registry if need be; the path of its program.
async fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/setup-registry.sh");
    let output = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await.expect("the set-up script runs");
    assert!(output.status.success(), "scripts/setup-registry.sh failed; what it said is on standard error");
    String::from_utf8(output.stdout).expect("a path").trim_end().into()
}

/// The address that the registry says it listens on.
async fn listening(log: &mut Lines<BufReader<ChildStderr>>) -> SocketAddr {
    let mut said = String::new();
    while let Some(line) = log.next_line().await.expect("its log can be read") {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':'))).unwrap_or(rest.len());
            return rest[..end].parse().expect("an address");
        }
        said.push_str(&line);
        said.push('\n');
    }
    panic!("the registry ended:\n{said}");
}
