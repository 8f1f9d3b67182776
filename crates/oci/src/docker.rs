//! Docker's credential store: `~/.docker/config.json`, the programs it names (`docker-credential-NAME`), and the same document as image
//! pull Secrets carry it.
//!
//! Formats: Docker's reference of `docker login` ("credential stores", "credential helpers") and the protocol of the project
//! docker-credential-helpers: the registry on standard input of `docker-credential-NAME get`, JSON on its standard output.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Docker Hub, as Docker's configuration and its programs call it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// Docker's sign that the secret is an identity token, which is exchanged for access tokens.
const IDENTITY_TOKEN: &str = "<token>";
/// The longest configuration that is read, and the longest answer of a program, in bytes.
const CONFIG_LIMIT_BYTES: u64 = 1 << 20;
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// How to open a registry. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// User and password.
    Basic {
        /// User name.
        username: String,
        /// Password or access key.
        password: String,
    },
    /// A token that the registry's token server exchanges for access tokens.
    Identity(String),
    /// A token that the registry itself takes.
    Registry(String),
}

impl Credentials {
    /// User and password, or the token that Docker's sign for one announces.
    #[must_use]
    pub fn of(username: String, password: String) -> Self {
        if username == IDENTITY_TOKEN { Credentials::Identity(password) } else { Credentials::Basic { username, password } }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Why there are no credentials though a configuration says where they are.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The configuration can't be read.
    #[error("reading Docker's configuration {}: {source}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration is no JSON of the form that Docker writes. What is in it isn't shown.
    #[error("Docker's configuration{} is malformed at line {line}", of(path.as_deref()))]
    Malformed {
        /// Its file, if it was one.
        path: Option<PathBuf>,
        /// Where.
        line: usize,
    },
    /// The entry of the registry can't be used.
    #[error("the entry for {registry} in Docker's configuration has no usable user and password: run `docker login {registry}` again")]
    Entry {
        /// The registry.
        registry: String,
    },
    /// The name of a program isn't one.
    #[error("Docker's configuration names {helper:?} as credential helper for {registry}, which is no program's name")]
    Name {
        /// The name.
        helper: String,
        /// The registry.
        registry: String,
    },
    /// The program that has the credentials doesn't give them.
    #[error("docker-credential-{helper}, which Docker's configuration names for {registry}, {problem}")]
    Helper {
        /// The program's name, without what all of them start with.
        helper: String,
        /// The registry.
        registry: String,
        /// What went wrong.
        problem: String,
    },
}

fn of(path: Option<&Path>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

/// What Docker's configuration says about registries. Its `Debug` shows nothing.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    /// Base64 of `username:password`.
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What a program answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DockerConfig(..)")
    }
}

impl DockerConfig {
    /// Reads the document: a `config.json`, or the `.dockerconfigjson` of an image pull Secret.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(content: &[u8]) -> Result<Self, DockerError> {
        serde_json::from_slice(content).map_err(|error| DockerError::Malformed { path: None, line: error.line() })
    }

    /// Reads a file; one that isn't there says nothing.
    ///
    /// # Errors
    /// If it can't be read or is malformed.
    pub async fn read(path: &Path) -> Result<Self, DockerError> {
        let failed = |source| DockerError::Read { path: path.to_owned(), source };
        let file = match tokio::fs::File::open(path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut content = Vec::new();
        file.take(CONFIG_LIMIT_BYTES).read_to_end(&mut content).await.map_err(failed)?;
        serde_json::from_slice(&content).map_err(|error| DockerError::Malformed { path: Some(path.to_owned()), line: error.line() })
    }

    /// The credentials for a registry (host and port; `docker.io` is Docker Hub), if there are any: from the program named for it, the
    /// one for all, or the file itself. A program that doesn't answer within `deadline` is killed.
    ///
    /// # Errors
    /// If the configuration's entry for the registry can't be used, or its program fails.
    pub async fn credentials(&self, registry: &str, deadline: Duration) -> Result<Option<Credentials>, DockerError> {
        let own = self.cred_helpers.iter().find(|(key, _)| registry_of(key) == registry).map(|(_, helper)| helper);
        if let Some(helper) = own.or(self.creds_store.as_ref()).filter(|helper| !helper.is_empty()) {
            let found = ask(helper, registry, deadline).await?;
            // A program of one registry has the last word; the one for all may lack what the file has from before it was set.
            if found.is_some() || own.is_some() {
                return Ok(found);
            }
        }
        self.stored(registry)
    }

    /// The credentials for a registry that the document itself holds.
    ///
    /// # Errors
    /// If its entry can't be used.
    pub fn stored(&self, registry: &str) -> Result<Option<Credentials>, DockerError> {
        let Some((_, auth)) = self.auths.iter().find(|(key, _)| registry_of(key) == registry) else { return Ok(None) };
        auth.credentials().map_err(|()| DockerError::Entry { registry: registry.to_owned() })
    }
}

impl Auth {
    fn credentials(&self) -> Result<Option<Credentials>, ()> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::Registry(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let (Some(username), Some(password)) = (given(&self.username), given(&self.password)) {
            return Ok(Some(Credentials::of(username, password)));
        }
        // Docker leaves an empty entry behind for what its store has.
        let Some(auth) = given(&self.auth) else { return Ok(None) };
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(())?;
        let (username, password) = decoded.split_once(':').ok_or(())?;
        Ok(Some(Credentials::of(username.to_owned(), password.trim_end_matches('\0').to_owned())))
    }
}

/// The registry that a key of the configuration is about: some are URLs, Docker Hub's with a path.
fn registry_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key);
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host }
}

/// Asks the program of that name; `None` if it has no credentials for the registry.
async fn ask(helper: &str, registry: &str, deadline: Duration) -> Result<Option<Credentials>, DockerError> {
    let is_name = !helper.is_empty() && helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_name {
        return Err(DockerError::Name { helper: helper.to_owned(), registry: registry.to_owned() });
    }
    let failed = |problem| DockerError::Helper { helper: helper.to_owned(), registry: registry.to_owned(), problem };
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
    match tokio::time::timeout(deadline, run(&format!("docker-credential-{helper}"), server)).await {
        Ok(Ok(found)) => found.map_err(failed),
        Ok(Err(error)) => Err(failed(format!("can't be run: {error}"))),
        Err(_late) => Err(failed(format!("didn't answer within {} s", deadline.as_secs_f32()))),
    }
}

/// Runs a program and reads its answer. It is killed when the future is dropped.
async fn run(program: &str, server: &str) -> io::Result<Result<Option<Credentials>, String>> {
    let mut child =
        Command::new(program).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let tell = async {
        let Some(mut stdin) = stdin else { return };
        // A program that doesn't want to know says why on its output.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    };
    let mut output = Vec::new();
    let listen = async {
        match stdout {
            Some(stdout) => stdout.take(ANSWER_LIMIT_BYTES).read_to_end(&mut output).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let ((), heard) = tokio::join!(tell, listen);
    heard?;
    let status = child.wait().await?;
    Ok(answer(status.success(), &output))
}

/// What a program's output means. A failing one says why on its output, which is no secret then.
fn answer(success: bool, output: &[u8]) -> Result<Option<Credentials>, String> {
    if !success {
        let said: String = String::from_utf8_lossy(output).trim().chars().filter(|c| !c.is_control()).take(200).collect();
        return if said.contains("credentials not found") { Ok(None) } else { Err(format!("failed: {said}")) };
    }
    let answer: Answer =
        serde_json::from_slice(output).map_err(|_| "gave an answer that isn't JSON with Username and Secret".to_owned())?;
    Ok(Some(Credentials::of(answer.username, answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    fn stored(json: &str, registry: &str) -> Option<Credentials> {
        DockerConfig::parse(json.as_bytes()).unwrap().stored(registry).unwrap()
    }

    #[test]
    fn entries_are_found_by_registry_however_docker_wrote_their_keys() {
        // "dTpwOnE=" is base64 of "u:p:q".
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"ghcr.io":{"username":"a","password":"b"},
            "http://127.0.0.1:5000":{"auth":"dTpwOnE="},"empty.example":{}},"HttpHeaders":{"User-Agent":"x"}}"#;
        assert_eq!(stored(config, "docker.io"), Some(basic("u", "p:q")));
        assert_eq!(stored(config, "ghcr.io"), Some(basic("a", "b")));
        assert_eq!(stored(config, "127.0.0.1:5000"), Some(basic("u", "p:q")));
        assert_eq!(stored(config, "empty.example"), None);
        assert_eq!(stored(config, "quay.io"), None);
    }

    #[test]
    fn tokens_are_told_from_passwords() {
        let config = r#"{"auths":{"a.example":{"identitytoken":"i","auth":"dTpw"},"b.example":{"registrytoken":"r"}}}"#;
        assert_eq!(stored(config, "a.example"), Some(Credentials::Identity("i".to_owned())));
        assert_eq!(stored(config, "b.example"), Some(Credentials::Registry("r".to_owned())));
        let answered = answer(true, br#"{"ServerURL":"x","Username":"<token>","Secret":"i"}"#);
        assert_eq!(answered, Ok(Some(Credentials::Identity("i".to_owned()))));
    }

    #[test]
    fn errors_and_debug_output_show_no_secret() {
        let config = DockerConfig::parse(br#"{"auths":{"a.example":{"auth":"hunter2"}}}"#).unwrap();
        let error = config.stored("a.example").unwrap_err();
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("docker login a.example"), "{error}");
        let error = DockerConfig::parse(b"{\"auths\": \"hunter2\"}").unwrap_err();
        assert!(!format!("{error} {error:?} {config:?} {:?}", basic("hunter2", "hunter2")).contains("hunter2"));
        assert_eq!(answer(true, b"hunter2").unwrap_err(), "gave an answer that isn't JSON with Username and Secret");
    }

    #[test]
    fn a_program_without_the_credentials_is_no_failure_and_one_that_fails_is() {
        assert_eq!(answer(false, b"credentials not found in native keychain\n"), Ok(None));
        assert_eq!(answer(false, b"the keychain is locked\x1b[0m\n"), Err("failed: the keychain is locked[0m".to_owned()));
    }

    #[tokio::test]
    async fn a_helper_that_is_no_name_is_not_run() {
        let config = DockerConfig::parse(br#"{"credHelpers":{"a.example":"../../bin/sh"}}"#).unwrap();
        let error = config.credentials("a.example", Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, DockerError::Name { .. }), "{error}");
    }
}
