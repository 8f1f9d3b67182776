//! Why an image couldn't be pulled, and what to do about it.

use std::time::Duration;

use berth_model::digest::Digest;
use berth_model::image::RegistryRef;

use crate::cache::CacheError;
use crate::docker::DockerError;

/// An image couldn't be had from its registry or the cache.
#[derive(Debug, thiserror::Error)]
#[error("pulling {image}: {reason}")]
pub struct PullError {
    /// The image.
    pub image: RegistryRef,
    /// Why. Its text is part of this error's.
    pub reason: PullFailure,
}

/// Why a pull failed. The texts leave out the image, which [`PullError`] names.
#[derive(Debug, thiserror::Error)]
pub enum PullFailure {
    /// The registry has no such image.
    #[error("registry {registry} has no such image{}", because(said))]
    NotFound {
        /// The registry.
        registry: String,
        /// What it said.
        said: String,
    },
    /// The registry has the manifest and not the component that it names.
    #[error("registry {registry} has the image's manifest but not its component {digest}: push it again")]
    BlobNotFound {
        /// The registry.
        registry: String,
        /// The component.
        digest: Digest,
    },
    /// The registry knows who asks and refuses (403).
    #[error("registry {registry} denies access{}: the image may not exist, or {}", because(said), may_need(*credentials, registry))]
    Denied {
        /// The registry.
        registry: String,
        /// Which credentials were used.
        credentials: CredentialsUsed,
        /// What it said.
        said: String,
    },
    /// The registry wants credentials, or others (401).
    #[error("registry {registry} {}", unauthorized(*credentials, registry))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// Which credentials were used.
        credentials: CredentialsUsed,
    },
    /// The credentials couldn't be had.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The registry's certificate is signed by nobody who is trusted.
    #[error(
        "the certificate of {host} isn't signed by an authority that this machine trusts: name the authority's certificate with \
         --registry-ca-path FILE"
    )]
    UnknownCa {
        /// Who showed it.
        host: String,
    },
    /// TLS with the registry fails.
    #[error("TLS with {host} failed: {problem}")]
    Tls {
        /// Who with.
        host: String,
        /// Why.
        problem: String,
    },
    /// The registry doesn't speak TLS.
    #[error("registry {registry} doesn't speak TLS: if plain HTTP is meant, allow it with --insecure-registry {registry}")]
    PlainHttp {
        /// The registry.
        registry: String,
    },
    /// The registry speaks TLS though it is named as one that doesn't.
    #[error("registry {registry} speaks TLS: leave out --insecure-registry {registry}")]
    NotPlainHttp {
        /// The registry.
        registry: String,
    },
    /// The registry's token server is to be asked in plain HTTP.
    #[error("registry {registry} sends its clients to {realm} for a token, which has no TLS: credentials don't go there")]
    InsecureTokenServer {
        /// The registry.
        registry: String,
        /// The token server's address.
        realm: String,
    },
    /// The token server gives no token.
    #[error("{host}, where registry {registry} sends its clients for a token, {problem}")]
    Token {
        /// The registry.
        registry: String,
        /// The token server.
        host: String,
        /// What went wrong.
        problem: String,
    },
    /// No connection, or it broke off, each time it was tried.
    #[error("registry {registry} can't be reached: {problem}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What the last try ended with.
        problem: String,
    },
    /// The registry fails each time it is asked (5xx).
    #[error("registry {registry} fails: {status}{}", because(said))]
    Failing {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The registry has had too many requests (429).
    #[error("registry {registry} limits how often it is asked{}{}", because(said), later(*retry_after))]
    RateLimited {
        /// The registry.
        registry: String,
        /// What it said.
        said: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The registry was silent for too long.
    #[error("registry {registry} was silent for {} s", seconds.as_secs_f32())]
    Stalled {
        /// The registry.
        registry: String,
        /// How long.
        seconds: Duration,
    },
    /// The whole pull took too long.
    #[error("it took longer than {} s", seconds.as_secs_f32())]
    TooSlow {
        /// The bound.
        seconds: Duration,
    },
    /// The content ended early, each time it was tried.
    #[error("the {what} was cut off: {actual_bytes} of {expected_bytes} bytes came from registry {registry}")]
    Truncated {
        /// Manifest or component.
        what: &'static str,
        /// The registry.
        registry: String,
        /// What its descriptor says.
        expected_bytes: u64,
        /// What came.
        actual_bytes: u64,
    },
    /// More came than was announced.
    #[error("registry {registry} sends more than the {expected_bytes} bytes that the manifest says the component has")]
    Overlong {
        /// The registry.
        registry: String,
        /// What its descriptor says.
        expected_bytes: u64,
    },
    /// The content isn't what its name says.
    #[error("the {what} that registry {registry} sends is not {expected}: it has digest {actual}")]
    WrongDigest {
        /// Manifest or component.
        what: &'static str,
        /// The registry.
        registry: String,
        /// The digest asked for or announced.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More than this host reads.
    #[error("its {what} has {} bytes; at most {limit_bytes} are read", actual_bytes.map_or_else(|| "too many".to_owned(), |bytes| bytes.to_string()))]
    TooLarge {
        /// Manifest or component.
        what: &'static str,
        /// Its size, where it is known.
        actual_bytes: Option<u64>,
        /// The bound.
        limit_bytes: u64,
    },
    /// The manifest isn't one.
    #[error("its manifest is malformed: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// It is an image of something else.
    #[error(
        "it is {}, not a WebAssembly component: a component's image has exactly one layer, of type application/wasm, and this one's are {}",
        found.unwrap_or("something else"), crate::error::list(layers)
    )]
    NotAComponent {
        /// What it is, if that is well known.
        found: Option<&'static str>,
        /// The media types of its layers.
        layers: Vec<String>,
    },
    /// It is an index of images for other platforms.
    #[error("it is an image for {}, none of which is WebAssembly", crate::error::list(platforms))]
    OtherPlatforms {
        /// The platforms.
        platforms: Vec<String>,
    },
    /// It is an index of several images for WebAssembly.
    #[error("it has several images for WebAssembly: choose one by its digest, {}", crate::error::list(digests))]
    SeveralComponents {
        /// Their digests.
        digests: Vec<String>,
    },
    /// More redirects than are followed.
    #[error("registry {registry} redirects more than {limit} times")]
    Redirects {
        /// The registry.
        registry: String,
        /// The bound.
        limit: usize,
    },
    /// A redirect out of TLS.
    #[error("registry {registry} redirects from TLS to plain HTTP")]
    Downgrade {
        /// The registry.
        registry: String,
    },
    /// An answer that no registry should give.
    #[error("registry {registry} gave an unexpected answer: {problem}")]
    Unexpected {
        /// The registry.
        registry: String,
        /// The answer.
        problem: String,
    },
    /// Nothing in the cache, and the registry may not be asked.
    #[error("it is not in this host's image cache, and imagePullPolicy Never keeps it from being pulled: pull it once with IfNotPresent")]
    NotCached,
    /// Pull policy `Always`, and the registry can't be asked.
    #[error("{reason}; a copy is cached, and imagePullPolicy IfNotPresent uses it without asking the registry")]
    NotRevalidated {
        /// Why it couldn't.
        reason: Box<PullFailure>,
    },
    /// The cache can't be used, and nothing but the cache may be.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The process is shutting down.
    #[error("interrupted by shutdown")]
    Interrupted,
}

impl PullFailure {
    /// Whether the registry couldn't be asked, as opposed to having answered.
    pub fn is_unreachable(&self) -> bool {
        use PullFailure::{Failing, RateLimited, Stalled, TooSlow, Unreachable};
        matches!(self, Unreachable { .. } | Failing { .. } | RateLimited { .. } | Stalled { .. } | TooSlow { .. })
    }
}

/// Which credentials a registry was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsUsed {
    /// None: there were none.
    None,
    /// Those that the image's workload names.
    PullSecret,
    /// Those in Docker's configuration.
    Docker,
}

fn because(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

fn unauthorized(credentials: CredentialsUsed, registry: &str) -> String {
    match credentials {
        CredentialsUsed::None => {
            format!("wants credentials, or has no such image: run `docker login {registry}`, or name a Secret in imagePullSecret")
        }
        CredentialsUsed::PullSecret => "refuses the credentials in imagePullSecret: check its user and password".to_owned(),
        CredentialsUsed::Docker => format!("refuses the credentials in Docker's configuration: run `docker login {registry}` again"),
    }
}

fn may_need(credentials: CredentialsUsed, registry: &str) -> String {
    match credentials {
        CredentialsUsed::None => format!(
            "it isn't public: run `docker login {registry}`, or name a Secret in imagePullSecret; it asked for no credentials, so if that \
             changes nothing, it is the registry, or a proxy before it, that lets nobody in from here"
        ),
        CredentialsUsed::PullSecret => "the user in imagePullSecret may not pull it".to_owned(),
        CredentialsUsed::Docker => "the user in Docker's configuration may not pull it".to_owned(),
    }
}

fn later(retry_after: Option<Duration>) -> String {
    retry_after.map(|wanted| format!("; it asks to wait {} s", wanted.as_secs())).unwrap_or_default()
}
