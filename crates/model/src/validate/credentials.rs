//! Registry credentials from an image pull Secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::resource::{Secret, SecretData, SecretValue};
use crate::workload::PullCredentials;

/// The credentials for `registry` in a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/basic-auth`. The
/// error says what the Secret lacks, without quoting any of it.
pub(super) fn from_secret(secret: &SecretData, registry: &str) -> Result<PullCredentials, String> {
    if let Some(value) = secret.get(Secret::DOCKER_CONFIG_KEY) {
        return from_docker_config(&read(value)?, registry);
    }
    let text = |key: &str| secret.get(key).and_then(SecretValue::text);
    match (text("username"), text("password")) {
        (Some(username), Some(password)) => Ok(PullCredentials { username: username.to_owned(), password: password.to_owned() }),
        _ => Err("it has neither `.dockerconfigjson` nor `username` and `password`".to_owned()),
    }
}

/// What a Secret of this type lacks of what the type promises.
pub(super) fn lack(secret: &Secret) -> Option<String> {
    if secret.kind != Secret::DOCKER_CONFIG {
        return None;
    }
    match secret.data.get(Secret::DOCKER_CONFIG_KEY) {
        Some(value) => read(value).err(),
        None => Some(format!("has no `{}`, which a Secret of type {} needs", Secret::DOCKER_CONFIG_KEY, Secret::DOCKER_CONFIG)),
    }
}

fn read(value: &SecretValue) -> Result<DockerConfig, String> {
    let bytes = value.bytes().unwrap_or_default();
    serde_json::from_slice(bytes).map_err(|_| format!("its `{}` is not a Docker configuration", Secret::DOCKER_CONFIG_KEY))
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    username: Option<String>,
    password: Option<String>,
    /// Base64 of `username:password`.
    auth: Option<String>,
}

fn from_docker_config(config: &DockerConfig, registry: &str) -> Result<PullCredentials, String> {
    let auth = config.auths.iter().find(|(key, _)| registry_of(key) == registry).map(|(_, auth)| auth);
    let auth = auth.ok_or_else(|| format!("its `.dockerconfigjson` has no entry for registry `{registry}`"))?;
    if let (Some(username), Some(password)) = (&auth.username, &auth.password) {
        return Ok(PullCredentials { username: username.clone(), password: password.clone() });
    }
    let decoded = auth.auth.as_ref().and_then(|auth| STANDARD.decode(auth.trim()).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (username, password) = pair.ok_or_else(|| format!("its entry for registry `{registry}` has no usable user and password"))?;
    Ok(PullCredentials { username: username.to_owned(), password: password.to_owned() })
}

/// The registry that a key of `auths` is about: `docker login` writes some of them as URLs, Docker Hub's with a path.
fn registry_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key);
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(json: &str) -> SecretData {
        [(".dockerconfigjson".to_owned(), json.into())].into()
    }

    #[test]
    fn a_docker_configuration_gives_the_entry_of_the_registry() {
        // "dTpwOnE=" is base64 of "u:p:q".
        let secret =
            docker(r#"{"auths": {"ghcr.io": {"username": "a", "password": "b"}, "https://index.docker.io/v1/": {"auth": "dTpwOnE="}}}"#);
        let found = from_secret(&secret, "ghcr.io").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("a", "b"));
        let found = from_secret(&secret, "docker.io").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p:q"));
        assert!(from_secret(&secret, "quay.io").unwrap_err().contains("no entry for registry `quay.io`"));
    }

    #[test]
    fn a_basic_auth_secret_serves_any_registry() {
        let secret = SecretData::from([("username".to_owned(), "a".into()), ("password".to_owned(), "b".into())]);
        assert_eq!(from_secret(&secret, "ghcr.io").unwrap().username, "a");
    }

    #[test]
    fn errors_name_the_lack_and_quote_no_secret() {
        for secret in [SecretData::new(), docker("hunter2"), docker(r#"{"auths": {"ghcr.io": {"auth": "hunter2"}}}"#)] {
            let error = from_secret(&secret, "ghcr.io").unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
