//! TLS: both protocols by ALPN, renewal of the certificate, handshakes that go wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_http::{ServerLimits, TlsConfig};
use http::Version;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, Site, rest, within};

/// A certificate for `a.example`, in the files of a server.
struct Certificate {
    der: CertificateDer<'static>,
    cert: String,
    key: String,
}

impl Certificate {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate");
        Self { der: made.cert.der().clone(), cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, dir: &Path) -> TlsConfig {
        let config = TlsConfig { reload_every: Duration::from_millis(20), ..TlsConfig::new(dir.join("cert.pem"), dir.join("key.pem")) };
        std::fs::write(&config.cert_path, &self.cert).expect("written");
        std::fs::write(&config.key_path, &self.key).expect("written");
        config
    }

    /// Connects as a client that trusts this certificate alone.
    async fn connect(&self, site: &Site, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("a.example").expect("a name");
        within(TlsConnector::from(Arc::new(config)).connect(name, site.connect().await)).await
    }
}

fn site(certificate: &Certificate, limits: ServerLimits) -> (Site, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (Site::start(1, limits, Some(certificate.write(dir.path()))), dir)
}

#[tokio::test]
async fn alpn_chooses_between_http2_and_http1() {
    let certificate = Certificate::make();
    let (site, _dir) = site(&certificate, ServerLimits::default());
    for (alpn, version) in [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)] {
        let stream = certificate.connect(&site, alpn).await.expect("connected");
        let mut client = if version == Version::HTTP_2 { Client::http2(stream).await } else { Client::http1(stream).await };
        let answer = client.get("/hello").await;
        assert_eq!((answer.version(), answer.body().as_str()), (version, "hello"));
        assert_eq!(answer.headers()["x-tls"], "true");
    }
    assert_eq!(site.running.figures().tls_failures, 0);
}

#[tokio::test]
async fn a_new_certificate_is_served_while_old_connections_go_on() {
    let (old, new) = (Certificate::make(), Certificate::make());
    let (site, dir) = site(&old, ServerLimits::default());
    let mut client = Client::http1(old.connect(&site, &[]).await.expect("connected")).await;
    client.get("/hello").await;

    std::fs::write(dir.path().join("cert.pem"), "half a certi").expect("written");
    for _ in 0..5 {
        old.connect(&site, &[]).await.expect("the old certificate stays while the new one is unusable");
    }
    new.write(dir.path());
    within(async { while new.connect(&site, &[]).await.is_err() {} }).await;
    old.connect(&site, &[]).await.expect_err("it isn't served any more");
    assert_eq!(client.get("/hello").await.body(), "hello");
}

#[tokio::test]
async fn a_slow_handshake_delays_nobody_and_ends_l53() {
    let certificate = Certificate::make();
    let (site, _dir) = site(&certificate, ServerLimits { tls_handshake_timeout: Duration::from_millis(500), ..ServerLimits::default() });
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(site.send(b"\x16\x03\x01").await);
    }
    let stream = certificate.connect(&site, &["h2"]).await.expect("connected");
    assert_eq!(Client::http2(stream).await.get("/hello").await.body(), "hello");
    for stream in &mut slow {
        assert_eq!(rest(stream).await, "");
    }
    site.figures(|figures| figures.tls_failures == 10 && figures.open == 0).await;
}

#[tokio::test]
async fn cleartext_on_a_tls_port_is_a_counted_failure() {
    let (site, _dir) = site(&Certificate::make(), ServerLimits::default());
    let mut stream = site.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    rest(&mut stream).await;
    site.figures(|figures| figures.tls_failures == 1 && figures.open == 0).await;
}

#[tokio::test]
async fn a_slow_head_is_answered_408_through_tls_too_l53() {
    let certificate = Certificate::make();
    let (site, _dir) = site(&certificate, ServerLimits { header_read_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    let mut stream = certificate.connect(&site, &[]).await.expect("connected");
    stream.write_all(b"GET /hello HTTP/1.1\r\n").await.expect("sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_drain_serves_who_has_just_connected_l34() {
    let certificate = Certificate::make();
    let (site, _dir) = site(&certificate, ServerLimits { last_call: Duration::from_secs(20), ..ServerLimits::default() });
    let mut stream = certificate.connect(&site, &[]).await.expect("connected");
    let (drained, answer) = tokio::join!(site.running.drain(Duration::from_secs(30)), async {
        while TcpStream::connect(site.running.local_addr()).await.is_ok() {}
        stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        rest(&mut stream).await
    });
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(drained.cut, 0);
}
