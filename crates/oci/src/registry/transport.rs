//! The HTTP client for registries: whom it trusts, what it follows, and what its errors mean.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use reqwest::redirect::Policy;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::error::PullFailure;
use super::settings::RegistrySettings;

/// How clients of registries call themselves.
const USER_AGENT: &str = concat!("berth/", env!("CARGO_PKG_VERSION"));

/// Why registries can't be reached as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum RegistrySettingsError {
    /// The file of authorities can't be read.
    #[error("--registry-ca-path: {} can't be read", path.display())]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of authorities holds none.
    #[error("--registry-ca-path: {} holds no PEM certificate (BEGIN CERTIFICATE) that can be used: {problem}", path.display())]
    CaUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The client can't be made.
    #[error("the HTTP client for registries can't be made: {problem}")]
    Client {
        /// Why.
        problem: String,
    },
}

/// The authorities that the system trusts, read once for the process: there are some hundred files of them, and reading and checking
/// these takes milliseconds. Who asks first blocks for so long.
pub fn system_authorities() -> &'static RootCertStore {
    static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    &SYSTEM
}

/// What requests go through. Its clients are made for the first of them: a start that pulls nothing needs no authorities.
#[derive(Clone, Debug)]
pub struct Transport {
    settings: Arc<RegistrySettings>,
    /// Those of the settings' file.
    authorities: RootCertStore,
    clients: Arc<OnceLock<Clients>>,
}

/// The clients.
#[derive(Debug)]
pub struct Clients {
    /// For registries: follows redirects within bounds.
    pub registries: reqwest::Client,
    /// For token servers: what they are sent is secret, so they can't send it on.
    pub tokens: reqwest::Client,
}

impl Transport {
    /// Reads the authorities' file. Blocks for as long as that takes.
    pub fn new(settings: &RegistrySettings) -> Result<Self, RegistrySettingsError> {
        let authorities = settings.ca_file.as_deref().map_or_else(|| Ok(RootCertStore::empty()), authorities)?;
        // What could be wrong with the settings is known now.
        Clients::new(settings, authorities.clone())?;
        Ok(Self { settings: Arc::new(settings.clone()), authorities, clients: Arc::default() })
    }

    /// The clients, which trust the system's authorities and those of the file. Blocks while they are made.
    pub fn clients(&self) -> &Clients {
        self.clients.get_or_init(|| {
            let mut roots = system_authorities().clone();
            roots.roots.extend_from_slice(&self.authorities.roots);
            Clients::new(&self.settings, roots).expect("they could be made with fewer authorities")
        })
    }
}

impl Clients {
    fn new(settings: &RegistrySettings, roots: RootCertStore) -> Result<Clients, RegistrySettingsError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = |redirects| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .connect_timeout(settings.limits.connect)
                .redirect(redirects);
            let builder = if settings.environment_proxies { builder } else { builder.no_proxy() };
            builder.build().map_err(|error| RegistrySettingsError::Client { problem: deepest(&error) })
        };
        Ok(Clients { registries: client(bounded(settings.limits.redirects))?, tokens: client(Policy::none())? })
    }
}

/// The authorities of a file.
fn authorities(path: &Path) -> Result<RootCertStore, RegistrySettingsError> {
    let unusable = |problem: String| RegistrySettingsError::CaUnusable { path: path.to_owned(), problem };
    let content = std::fs::read(path).map_err(|source| RegistrySettingsError::CaUnreadable { path: path.to_owned(), source })?;
    let certificates =
        CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>().map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("it has none".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(roots)
}

/// Redirects up to a bound, and none out of TLS: what a registry is sent to would see, or could change, what is pulled.
fn bounded(limit: usize) -> Policy {
    Policy::custom(move |attempt| {
        let was_tls = attempt.previous().iter().any(|url| url.scheme() == "https");
        if was_tls && attempt.url().scheme() != "https" {
            attempt.error(Refused::Downgrade)
        } else if attempt.previous().len() > limit {
            attempt.error(Refused::TooMany(limit))
        } else {
            attempt.follow()
        }
    })
}

/// A redirect that isn't followed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refused {
    #[error("a redirect from TLS to plain HTTP")]
    Downgrade,
    #[error("more than {0} redirects")]
    TooMany(usize),
}

/// A request that failed without an answer: why, and whether another try may help.
pub fn failure(registry: &str, error: reqwest::Error) -> (PullFailure, bool) {
    let registry = registry.to_owned();
    if let Some(refused) = cause::<Refused>(&error) {
        let failure = match *refused {
            Refused::Downgrade => PullFailure::Downgrade { registry },
            Refused::TooMany(limit) => PullFailure::Redirects { registry, limit },
        };
        return (failure, false);
    }
    let host = error.url().and_then(|url| url.host_str()).unwrap_or(&registry).to_owned();
    if let Some(problem) = cause::<rustls::Error>(&error) {
        let failure = match problem {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(PullFailure::UnknownCa { host }),
            rustls::Error::InvalidCertificate(problem) => Some(PullFailure::Tls { host, problem: problem.to_string() }),
            // What isn't TLS at all can't be read as a record of it.
            rustls::Error::InvalidMessage(_) => Some(PullFailure::PlainHttp { registry: registry.clone() }),
            _ => None,
        };
        if let Some(failure) = failure {
            return (failure, false);
        }
    }
    if error.is_builder() {
        return (PullFailure::Unexpected { registry, problem: deepest(&error) }, false);
    }
    (PullFailure::Unreachable { registry, problem: deepest(&error) }, true)
}

/// The cause of that type, however deep; I/O errors hide theirs.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        next = inner.or_else(|| error.source());
    }
    None
}

/// What the innermost cause says; the outer ones only say that a request failed, and name addresses that may carry signatures.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let mut text = deepest.to_string();
    if text.contains("://") {
        text.clear();
        text.push_str("the request failed");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let open = || authorities(&path).unwrap_err().to_string();
        assert_eq!(open(), format!("--registry-ca-path: {} can't be read", path.display()));
        std::fs::write(&path, "not PEM").unwrap();
        assert!(open().contains("holds no PEM certificate"), "{}", open());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(open().contains("holds no PEM certificate"), "{}", open());
    }

    #[test]
    fn causes_are_found_within_io_errors() {
        let error = io::Error::other(io::Error::other(Refused::TooMany(5)));
        assert!(matches!(cause::<Refused>(&error), Some(Refused::TooMany(5))));
        assert!(cause::<rustls::Error>(&error).is_none());
    }
}
