//! Registries that want to know who pulls.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_model::image::{ImageRef, RegistryRef};
use berth_model::resource::PullPolicy::{Always, IfNotPresent};
use berth_model::workload::PullCredentials;
use berth_oci::{Credentials, CredentialsUsed, DockerConfig, PullError, PullFailure, RegistrySettings, Source as _};
use berth_testkit::registry::{Access, Fault, FaultProxy, Gate, PASSWORD, Registry, RegistryConfig, TokenServer, TokenSettings, USER};
use tokio::process::Command;

use crate::pushed::{Pusher, WASM, image, settings, source};

/// Set in the process that a test starts of itself.
const HELPED: &str = "BERTH_TEST_HELPED";

fn user(password: &str) -> Option<Credentials> {
    Some(Credentials::of(USER.to_owned(), password.to_owned()))
}

/// A registry with an image for the test's user, behind a proxy.
async fn private(access: Access) -> (Registry, FaultProxy, RegistryRef) {
    let registry = Registry::start(RegistryConfig { access, tls: None }).await;
    let proxy = FaultProxy::start(registry.addr()).await;
    Pusher::user().push(&format!("{}/a/b:1", registry.name()), &[(WASM, b"private")]).await;
    let hello = image(&format!("{}/a/b:1", proxy.name()));
    (registry, proxy, hello)
}

fn refused(error: &Arc<PullError>, used: CredentialsUsed, way_out: &str) {
    let named = matches!(&error.reason, PullFailure::Unauthorized { credentials, .. } if *credentials == used);
    assert!(named && error.to_string().contains(way_out), "{error}");
    assert!(!error.to_string().contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD), "{error:?}");
}

#[tokio::test]
async fn a_password_opens_a_registry_and_errors_say_how_to_give_one() {
    let (_registry, proxy, hello) = private(Access::Password).await;
    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let error = registries.pull(&hello, IfNotPresent, None).await.unwrap_err();
    refused(&error, CredentialsUsed::None, &format!("docker login {}", proxy.name()));
    let before = proxy.requests("/v2/");
    let error = registries.pull(&hello, IfNotPresent, user("hunter3")).await.unwrap_err();
    refused(&error, CredentialsUsed::PullSecret, "imagePullSecret");
    // One request without and one with the wrong password: no guessing.
    assert_eq!(proxy.requests("/v2/") - before, 2);
    let given = PullCredentials { username: USER.to_owned(), password: PASSWORD.to_owned() };
    let fetched = registries.fetch(&ImageRef::Registry(hello), IfNotPresent, Some(&given)).await.unwrap();
    assert_eq!(fetched.bytes, "private");
}

#[tokio::test]
async fn dockers_configuration_opens_a_registry_too() {
    let (_registry, proxy, hello) = private(Access::Password).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let settings = RegistrySettings { docker_config: Some(path.clone()), ..settings(&[&proxy.name()]) };
    let registries = source(folder.path(), settings);
    let error = registries.pull(&hello, Always, None).await.unwrap_err();
    refused(&error, CredentialsUsed::None, "docker login");
    fs::write(&path, "{").unwrap();
    let error = registries.pull(&hello, Always, None).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::Docker(_)) && error.to_string().contains("config.json"), "{error}");
    let config = |password: &str| {
        let entry = format!(r#"{{"username": "{USER}", "password": "{password}"}}"#);
        format!(r#"{{"auths": {{"http://{}/v2/": {entry}}}}}"#, proxy.name())
    };
    fs::write(&path, config("hunter3")).unwrap();
    let error = registries.pull(&hello, Always, None).await.unwrap_err();
    refused(&error, CredentialsUsed::Docker, "docker login");
    // `docker login` counts from the next pull on.
    fs::write(&path, config(PASSWORD)).unwrap();
    assert_eq!(registries.pull(&hello, Always, None).await.unwrap().bytes, "private");
    // The same document as a Secret carries it.
    let secret = DockerConfig::parse(config(PASSWORD).as_bytes()).unwrap();
    let found = secret.credentials(&proxy.name(), Duration::from_secs(5)).await.unwrap();
    assert_eq!(found, user(PASSWORD));
}

#[tokio::test]
async fn tokens_are_got_for_everybody_and_for_who_has_credentials() {
    let server = TokenServer::start(TokenSettings { anybody: true, identity: None }).await;
    let (_registry, proxy, hello) = private(server.access()).await;
    for credentials in [None, user(PASSWORD)] {
        let folder = tempfile::tempdir().unwrap();
        let pulled = source(folder.path(), settings(&[&proxy.name()])).pull(&hello, IfNotPresent, credentials).await;
        assert_eq!(pulled.unwrap().bytes, "private");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = source(folder.path(), settings(&[&proxy.name()])).pull(&hello, IfNotPresent, user("hunter3")).await.unwrap_err();
    refused(&error, CredentialsUsed::PullSecret, "imagePullSecret");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_never_shown_to_the_registry() {
    let server = TokenServer::start(TokenSettings { anybody: false, identity: Some("the-identity".to_owned()) }).await;
    let (_registry, proxy, hello) = private(server.access()).await;
    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let wrong = Some(Credentials::of("<token>".to_owned(), "another".to_owned()));
    let error = registries.pull(&hello, IfNotPresent, wrong).await.unwrap_err();
    refused(&error, CredentialsUsed::PullSecret, "imagePullSecret");
    let right = Some(Credentials::of("<token>".to_owned(), "the-identity".to_owned()));
    assert_eq!(registries.pull(&hello, IfNotPresent, right).await.unwrap().bytes, "private");
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_of_a_pull_is_renewed_once() {
    let server = TokenServer::start(TokenSettings::default()).await;
    let (_registry, proxy, hello) = private(server.access()).await;
    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let pushed = server.given();
    proxy.next("/blobs/", Fault::Unauthorized);
    assert_eq!(registries.pull(&hello, IfNotPresent, user(PASSWORD)).await.unwrap().bytes, "private");
    assert_eq!(server.given() - pushed, 2);

    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let (given, asked) = (server.given(), proxy.requests("/blobs/"));
    proxy.always("/blobs/", Fault::Unauthorized);
    let error = registries.pull(&hello, IfNotPresent, user(PASSWORD)).await.unwrap_err();
    refused(&error, CredentialsUsed::PullSecret, "imagePullSecret");
    assert_eq!((server.given() - given, proxy.requests("/blobs/") - asked), (2, 2));
}

#[tokio::test]
async fn who_has_other_credentials_does_not_share_a_pull() {
    let (_registry, proxy, hello) = private(Access::Password).await;
    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let gate = Gate::closed();
    proxy.next("/blobs/", Fault::HoldAfter(0, gate.clone()));
    let (pulled, refusal) = tokio::join!(registries.pull(&hello, Always, user(PASSWORD)), async {
        proxy.requested("/blobs/", 1).await;
        let refusal = registries.pull(&hello, Always, None).await;
        gate.open();
        refusal
    });
    assert_eq!(pulled.unwrap().bytes, "private");
    refused(&refusal.unwrap_err(), CredentialsUsed::None, "docker login");
}

#[tokio::test]
async fn credentials_do_not_go_to_a_token_server_without_tls() {
    let server = TokenServer::start(TokenSettings::default()).await;
    let (registry, _proxy, _) = private(server.access()).await;
    // A registry with TLS that sends its clients to a token server without.
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let tls = Some((certified.cert.pem(), certified.signing_key.serialize_pem()));
    let secure = Registry::start(RegistryConfig { access: server.access(), tls }).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, certified.cert.pem()).unwrap();
    let registries = source(folder.path(), RegistrySettings { ca_file: Some(ca_file), ..settings(&[&registry.name()]) });
    let given = server.given();
    let error = registries.pull(&image(&format!("{}/a/b:1", secure.name())), IfNotPresent, user(PASSWORD)).await.unwrap_err();
    assert!(matches!(error.reason, PullFailure::InsecureTokenServer { .. }), "{error}");
    assert_eq!(server.given(), given);
}

#[tokio::test]
async fn credentials_do_not_go_where_a_registry_redirects_to() {
    let (elsewhere, _proxy, _) = private(Access::Password).await;
    let registry = Registry::plain().await;
    let proxy = FaultProxy::start(registry.addr()).await;
    Pusher::plain().push(&format!("{}/a/b:1", registry.name()), &[(WASM, b"public")]).await;
    proxy.always("/blobs/", Fault::RedirectTo(format!("http://{}/v2/a/b/manifests/1", elsewhere.name())));
    let folder = tempfile::tempdir().unwrap();
    let registries = source(folder.path(), settings(&[&proxy.name()]));
    let error = registries.pull(&image(&format!("{}/a/b:1", proxy.name())), IfNotPresent, user(PASSWORD)).await.unwrap_err();
    refused(&error, CredentialsUsed::None, "docker login");
}

/// Writes a credential helper in shell.
fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where programs are looked for is the process's own affair, so this runs in a process of its own: see below.
async fn with_helpers() {
    let ask = async |config: &str, registry: &str| {
        let config = DockerConfig::parse(config.as_bytes()).unwrap();
        config.credentials(registry, Duration::from_secs(1)).await.map_err(|error| error.to_string())
    };
    let basic = |username: &str, password: &str| Ok(Some(Credentials::of(username.to_owned(), password.to_owned())));
    let all = r#"{"credsStore": "echo", "credHelpers": {"own.example": "fixed"}, "auths": {"old.example": {"auth": "dTpw"}}}"#;
    assert_eq!(ask(all, "quay.io").await, basic("quay.io", "secret"));
    assert_eq!(ask(all, "docker.io").await, basic("https://index.docker.io/v1/", "secret"));
    assert_eq!(ask(all, "own.example").await, basic("own", "fixed"));
    assert_eq!(ask(all, "old.example").await, basic("u", "p"));
    let one = |name: &str| format!(r#"{{"credHelpers": {{"a.example": "{name}"}}}}"#);
    assert_eq!(ask(&one("fixed"), "b.example").await, Ok(None));
    let error = ask(&one("fails"), "a.example").await.unwrap_err();
    assert_eq!(error, "docker-credential-fails, which Docker's configuration names for a.example, failed: the keychain is locked");
    assert!(ask(&one("hangs"), "a.example").await.unwrap_err().contains("didn't answer within 1 s"));
    assert!(ask(&one("missing"), "a.example").await.unwrap_err().contains("can't be run"));
    // What nobody reads any more ends the program, and its endless answer is shown in part.
    let error = ask(&one("floods"), "a.example").await.unwrap_err();
    assert!(error.contains("failed: yyy") && error.len() < 400, "{error}");
    assert!(ask(&one("talks"), "a.example").await.unwrap_err().contains("isn't JSON"));
}

#[tokio::test]
async fn credential_helpers_are_asked_with_a_deadline() {
    if std::env::var_os(HELPED).is_some() {
        return with_helpers().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let answer = r#"echo "{\"ServerURL\":\"x\",\"Username\":\"$server\",\"Secret\":\"secret\"}""#;
    let old = r#"[ "$server" != old.example ] || { echo "credentials not found in native keychain"; exit 1; }"#;
    helper(folder.path(), "echo", &format!("[ \"$1\" = get ] || exit 9\nread server\n{old}\n{answer}"));
    helper(folder.path(), "fixed", r#"echo '{"Username":"own","Secret":"fixed"}'"#);
    helper(folder.path(), "fails", "echo the keychain is locked; exit 1");
    helper(folder.path(), "hangs", "exec sleep 600");
    helper(folder.path(), "floods", "exec yes");
    helper(folder.path(), "talks", "echo welcome");
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["registry_access::credential_helpers_are_asked_with_a_deadline", "--exact", "--nocapture"])
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env(HELPED, "1")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
