//! TLS: the server's certificate, read from files and replaced while connections go on.
//!
//! The files are compared by content, not by time stamps, so that a swapped symbolic link (how Kubernetes updates a Secret's files)
//! counts as well. A new pair that can't be used changes nothing: the one in use stays and the log says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// HTTP/2 as ALPN names it.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why a certificate and its key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file isn't there or may not be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file isn't PEM.
    #[error("{} isn't PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate (BEGIN CERTIFICATE)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("{} holds no private key (BEGIN PRIVATE KEY)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The two don't fit together, or are of a kind that isn't supported.
    #[error("the certificate in {} and the key in {} can't be used together", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// What the two files held.
#[derive(PartialEq, Eq)]
struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self { cert: read(&config.cert_path)?, key: read(&config.key_path)? })
    }

    fn parse(&self, config: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (cert, key) = (&config.cert_path, &config.key_path);
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::Pem { path: cert.clone(), source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: cert.clone() });
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::NoKey { path: key.clone() },
            source => TlsError::Pem { path: key.clone(), source },
        })?;
        CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Unusable {
            cert: cert.clone(),
            key: key.clone(),
            source,
        })
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// A server's TLS side.
pub(crate) struct Tls {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// What the files held when last looked at, usable or not, so that one bad pair is reported once.
    seen: Pair,
    seen_usable: bool,
    /// Whether the last look found something wrong, and said so.
    failing: bool,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads the certificate for the first time. Blocks for as long as two small files take.
    pub(crate) fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let seen = Pair::read(&config)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(seen.parse(&config, &provider)?)));
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(Self { config, provider, current, seen, seen_usable: true, failing: false, acceptor: TlsAcceptor::from(Arc::new(server)) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Looks at the files every `reload_every`, for ever.
    pub(crate) async fn keep_current(mut self) {
        let mut ticks = tokio::time::interval(self.config.reload_every.max(std::time::Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let config = self.config.clone();
            match tokio::task::spawn_blocking(move || Pair::read(&config)).await {
                Ok(read) => self.renew(read),
                // The runtime is on its way down.
                Err(_) => return,
            }
        }
    }

    /// Takes what the files hold now: the pair in use is swapped if it is another one and usable.
    fn renew(&mut self, read: Result<Pair, TlsError>) {
        let parsed = match read {
            Ok(pair) if pair == self.seen => {
                self.failing = !self.seen_usable;
                return;
            }
            Ok(pair) => {
                let parsed = pair.parse(&self.config, &self.provider);
                self.seen = pair;
                self.seen_usable = parsed.is_ok();
                // Another bad pair than the last is worth another line.
                self.failing = false;
                parsed
            }
            Err(error) => Err(error),
        };
        match parsed {
            Ok(key) => {
                self.current.0.store(Arc::new(key));
                self.failing = false;
                tracing::info!(cert = %self.config.cert_path.display(), "serving a new certificate");
            }
            Err(error) if !self.failing => {
                self.failing = true;
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the new certificate can't be used; the old one stays in use");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, cert: &str, key: &str) -> TlsConfig {
        let config = TlsConfig::new(dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&config.cert_path, cert).expect("written");
        std::fs::write(&config.key_path, key).expect("written");
        config
    }

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn error(cert: &str, key: &str) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        Tls::load(write(dir.path(), cert, key)).err().expect("unusable").to_string()
    }

    #[test]
    fn each_unusable_file_is_named_with_what_it_lacks() {
        let (cert, key) = pair("a.example");
        let (_, other_key) = pair("b.example");
        assert!(error("", &key).ends_with("cert.pem holds no certificate (BEGIN CERTIFICATE)"));
        assert!(error(&cert, "").ends_with("key.pem holds no private key (BEGIN PRIVATE KEY)"));
        assert!(error(&cert, &other_key).ends_with("can't be used together"));
        assert!(error("-----BEGIN CERTIFICATE-----\n!!!!", &key).ends_with("cert.pem isn't PEM"));
        let missing = Tls::load(TlsConfig::new("/nonexistent/cert.pem", "/nonexistent/key.pem")).err().expect("missing");
        assert_eq!(missing.to_string(), "can't read /nonexistent/cert.pem");
    }

    #[test]
    fn a_bad_new_pair_keeps_the_old_certificate_and_the_next_good_one_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let ((cert, key), (new_cert, new_key)) = (pair("old.example"), pair("new.example"));
        let config = write(dir.path(), &cert, &key);
        let mut tls = Tls::load(config.clone()).expect("usable");
        let leaf = |tls: &Tls| tls.current.0.load().cert[0].clone();
        let old = leaf(&tls);

        // Half of a rotation: the certificate is new, the key still the old one.
        write(dir.path(), &new_cert, &key);
        tls.renew(Pair::read(&config));
        assert_eq!(leaf(&tls), old);
        assert!(tls.failing);
        tls.renew(Err(TlsError::NoKey { path: config.key_path.clone() }));
        assert_eq!(leaf(&tls), old);

        write(dir.path(), &new_cert, &new_key);
        tls.renew(Pair::read(&config));
        assert_ne!(leaf(&tls), old);
        assert!(!tls.failing);
    }

    #[test]
    fn going_back_to_the_pair_in_use_after_a_bad_one_is_no_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = pair("a.example");
        let config = write(dir.path(), &cert, &key);
        let mut tls = Tls::load(config.clone()).expect("usable");
        tls.renew(Ok(Pair { cert: Vec::new(), key: Vec::new() }));
        assert!(tls.failing);
        tls.renew(Pair::read(&config));
        assert!(!tls.failing);
    }
}
