//! Requests of one pull to one registry: authentication, what answers mean, and trying again.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Response;
use serde::Deserialize;
use tracing::debug;
use url::Url;

use super::backoff;
use super::challenge::{self, Challenge};
use super::error::{CredentialsUsed, PullFailure};
use super::progress::{Line, PullStage};
use super::settings::RegistrySettings;
use super::transport::{Transport, failure};
use crate::docker::{Credentials, DockerConfig};
use crate::metrics::Metrics;

/// The longest error document, and the longest answer of a token server, that are read, in bytes.
const SAID_LIMIT_BYTES: usize = 16 << 10;
const TOKEN_LIMIT_BYTES: usize = 256 << 10;
/// How much of what a registry said is shown, in characters.
const SAID_SHOWN: usize = 200;

/// One try that failed.
pub enum Failed {
    /// Another try would end the same way.
    ForGood(PullFailure),
    /// Another try may succeed, after that long if the registry said so.
    ForNow(PullFailure, Option<Duration>),
}

impl From<PullFailure> for Failed {
    fn from(failure: PullFailure) -> Self {
        Failed::ForGood(failure)
    }
}

/// How often one request has been tried.
#[derive(Default)]
pub struct Tries(u32);

/// Requests for one repository.
pub struct Session<'a> {
    pub settings: &'a RegistrySettings,
    pub transport: &'a Transport,
    pub metrics: &'a Metrics,
    pub line: &'a Line,
    /// The registry, as references write it.
    pub registry: &'a str,
    pub repository: &'a str,
    /// What the image brings.
    pub given: Option<&'a Credentials>,
    /// What the registry wants to see with each request; nothing until it asks.
    authorization: Option<HeaderValue>,
    used: CredentialsUsed,
}

impl<'a> Session<'a> {
    pub fn new(
        settings: &'a RegistrySettings,
        transport: &'a Transport,
        metrics: &'a Metrics,
        line: &'a Line,
        (registry, repository): (&'a str, &'a str),
        given: Option<&'a Credentials>,
    ) -> Self {
        let used = CredentialsUsed::None;
        Self { settings, transport, metrics, line, registry, repository, given, authorization: None, used }
    }

    fn is_insecure(&self) -> bool {
        self.settings.insecure.iter().any(|named| named.eq_ignore_ascii_case(self.registry))
    }

    fn name(&self) -> String {
        self.registry.to_owned()
    }

    /// The address of a manifest or blob: `tail` is `manifests/REFERENCE` or `blobs/DIGEST`.
    pub fn address(&self, tail: &str) -> String {
        let scheme = if self.is_insecure() { "http" } else { "https" };
        // Docker Hub's name isn't that of its registry.
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { self.registry };
        format!("{scheme}://{host}/v2/{}/{tail}", self.repository)
    }

    /// One try of a request: a response of status 200, or why there is none. Authenticates when the registry asks for it, once.
    pub async fn request(&mut self, method: Method, address: &str, accept: &'static str) -> Result<Response, Failed> {
        let mut response = self.send(&method, address, accept).await?;
        // Whom the registry redirects to isn't shown its credentials.
        let is_registry = Url::parse(address).is_ok_and(|asked| asked.origin() == response.url().origin());
        if response.status() == StatusCode::UNAUTHORIZED && is_registry {
            // Also when a token was sent: it may have expired meanwhile.
            self.authenticate(&response).await?;
            response = self.send(&method, address, accept).await?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(self.refusal(response).await),
        }
    }

    async fn send(&self, method: &Method, address: &str, accept: &'static str) -> Result<Response, Failed> {
        let mut request = self.transport.clients().registries.request(method.clone(), address).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        self.await_response(request).await
    }

    async fn await_response(&self, request: reqwest::RequestBuilder) -> Result<Response, Failed> {
        match tokio::time::timeout(self.settings.limits.stall, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_late) => Err(self.stalled()),
        }
    }

    /// The next piece of a body; `None` at its end.
    pub async fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, Failed> {
        match tokio::time::timeout(self.settings.limits.stall, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_late) => Err(self.stalled()),
        }
    }

    /// A whole body of at most that many bytes; `None` if it is longer.
    pub async fn body(&self, response: &mut Response, limit_bytes: usize) -> Result<Option<Vec<u8>>, Failed> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(response).await? {
            if body.len() + piece.len() > limit_bytes {
                return Ok(None);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(body))
    }

    fn stalled(&self) -> Failed {
        Failed::ForNow(PullFailure::Stalled { registry: self.name(), seconds: self.settings.limits.stall }, None)
    }

    fn broken(&self, error: reqwest::Error) -> Failed {
        match failure(self.registry, error) {
            (failure, true) => Failed::ForNow(failure, None),
            (failure, false) => Failed::ForGood(failure),
        }
    }

    /// What an answer other than 200 means.
    async fn refusal(&self, mut response: Response) -> Failed {
        let registry = self.name();
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|header| backoff::retry_after(header, SystemTime::now()));
        // Without the document the status has to do.
        let said = self.body(&mut response, SAID_LIMIT_BYTES).await.ok().flatten().unwrap_or_default();
        let plain = String::from_utf8_lossy(&said).contains("HTTP request to an HTTPS server");
        let said = said_by(&said);
        match status {
            StatusCode::UNAUTHORIZED => PullFailure::Unauthorized { registry, credentials: self.used }.into(),
            StatusCode::FORBIDDEN => PullFailure::Denied { registry, credentials: self.used, said }.into(),
            StatusCode::NOT_FOUND => PullFailure::NotFound { registry, said }.into(),
            StatusCode::BAD_REQUEST if plain && self.is_insecure() => PullFailure::NotPlainHttp { registry }.into(),
            StatusCode::TOO_MANY_REQUESTS => Failed::ForNow(PullFailure::RateLimited { registry, said, retry_after }, retry_after),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Failed::ForNow(PullFailure::Failing { registry, status: status.as_u16(), said }, retry_after)
            }
            status => {
                let problem = format!("{status}{}{said}", if said.is_empty() { "" } else { ": " });
                PullFailure::Unexpected { registry, problem }.into()
            }
        }
    }

    /// Waits before the next try, or ends the tries.
    pub async fn after(&self, tries: &mut Tries, failed: Failed) -> Result<(), PullFailure> {
        let (failure, retry_after) = match failed {
            Failed::ForGood(failure) => return Err(failure),
            Failed::ForNow(failure, retry_after) => (failure, retry_after),
        };
        tries.0 += 1;
        let Some(pause) = backoff::pause(&self.settings.limits, tries.0, retry_after, fastrand::f64()) else { return Err(failure) };
        debug!(registry = self.registry, repository = self.repository, %failure, ?pause, "a request to a registry is tried again");
        self.metrics.retries.increment();
        self.line.stage(PullStage::Retrying);
        tokio::time::sleep(pause).await;
        self.line.stage(PullStage::Resolving);
        Ok(())
    }

    /// Gets what the registry wants to see, from its challenge.
    async fn authenticate(&mut self, response: &Response) -> Result<(), Failed> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = Challenge::of(headers.iter().filter_map(|value| value.to_str().ok()));
        let credentials = self.credentials().await?;
        let authorization = match (challenge, credentials) {
            (_, Some(Credentials::Registry(token))) => bearer(&token),
            (Some(Challenge::Bearer { realm, service, scope }), credentials) => {
                let scope = scope.unwrap_or_else(|| challenge::pull_scope(self.repository));
                bearer(&self.token(&realm, service.as_deref(), &scope, credentials.as_ref()).await?)
            }
            (_, Some(Credentials::Basic { username, password })) => basic(&username, &password),
            (_, Some(Credentials::Identity(_)) | None) => None,
        };
        self.authorization = Some(authorization.ok_or_else(|| self.unauthorized())?);
        Ok(())
    }

    fn unauthorized(&self) -> Failed {
        PullFailure::Unauthorized { registry: self.name(), credentials: self.used }.into()
    }

    /// The credentials for the registry: the image's, else those in Docker's configuration.
    async fn credentials(&mut self) -> Result<Option<Credentials>, Failed> {
        if let Some(given) = self.given {
            self.used = CredentialsUsed::PullSecret;
            return Ok(Some(given.clone()));
        }
        let Some(path) = &self.settings.docker_config else { return Ok(None) };
        let config = DockerConfig::read(path).await.map_err(PullFailure::from)?;
        let found = config.credentials(self.registry, self.settings.limits.helper).await.map_err(PullFailure::from)?;
        self.used = if found.is_some() { CredentialsUsed::Docker } else { CredentialsUsed::None };
        Ok(found)
    }

    /// A token from the registry's token server.
    async fn token(&self, realm: &str, service: Option<&str>, scope: &str, credentials: Option<&Credentials>) -> Result<String, Failed> {
        let problem = |host: &str, problem: String| PullFailure::Token { registry: self.name(), host: host.to_owned(), problem };
        let url = Url::parse(realm).map_err(|error| problem(realm, format!("has no usable address: {error}")))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.is_insecure()) {
            return Err(PullFailure::InsecureTokenServer { registry: self.name(), realm: realm.to_owned() }.into());
        }
        let host = url.host_str().unwrap_or(realm).to_owned();
        let request = match credentials {
            Some(Credentials::Identity(identity)) => self
                .transport
                .clients()
                .tokens
                .post(url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(challenge::refresh_form(service, scope, identity)),
            Some(Credentials::Basic { username, password }) => {
                self.transport.clients().tokens.get(challenge::token_url(&url, service, scope)).basic_auth(username, Some(password))
            }
            Some(Credentials::Registry(_)) | None => self.transport.clients().tokens.get(challenge::token_url(&url, service, scope)),
        };
        let mut response = self.await_response(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(problem(&host, format!("refuses with {status}")).into());
            }
            status if status.is_redirection() => return Err(problem(&host, format!("redirects ({status})")).into()),
            _ => return Err(self.refusal(response).await),
        }
        let answer = self.body(&mut response, TOKEN_LIMIT_BYTES).await?;
        answer.as_deref().and_then(challenge::token).ok_or_else(|| problem(&host, "answers without a token".to_owned()).into())
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret(&format!("Basic {pair}"))
}

/// A header value that is never shown; `None` if it can't be one.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What an error document of a registry says, made fit to be shown: its first error, in one bounded line.
fn said_by(document: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(document) else { return String::new() };
    let Some(Said { code, message }) = errors.into_iter().next() else { return String::new() };
    let text = if message.is_empty() { code } else { message };
    text.chars().filter(|c| !c.is_control()).take(SAID_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_becomes_one_bounded_line() {
        assert_eq!(said_by(br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#), "manifest unknown");
        assert_eq!(said_by(br#"{"errors":[{"code":"DENIED"}]}"#), "DENIED");
        assert_eq!(said_by(b"<html>no</html>"), "");
        assert_eq!(said_by(br#"{"errors":[]}"#), "");
        let long = format!(r#"{{"errors":[{{"message":"a\n\u001b{}"}}]}}"#, "b".repeat(999));
        assert_eq!(said_by(long.as_bytes()), format!("a{}", "b".repeat(SAID_SHOWN - 1)));
    }

    #[test]
    fn header_values_that_carry_secrets_are_not_shown() {
        let value = bearer("hunter2").unwrap();
        assert!(!format!("{value:?}").contains("hunter2"));
        assert!(bearer("a\nb").is_none());
    }
}
