//! `berth up` with TLS: the flags, the certificate that is served, and its renewal.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use berth_testkit::guests::path;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::process::{Home, PATIENCE, Up};

/// A certificate for shop.localhost.
struct Certificate {
    der: CertificateDer<'static>,
    cert: String,
    key: String,
}

impl Certificate {
    fn make() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["shop.localhost".to_owned()]).unwrap();
        Certificate { der: made.cert.der().clone(), cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, home: &Home) {
        // The key first: a pair that doesn't fit changes nothing, so the order doesn't matter to the server.
        home.write("key.pem", &self.key);
        home.write("cert.pem", &self.cert);
    }

    /// A connection of a client that trusts this certificate alone, as `curl --cacert` has it.
    fn connect(&self, up: &Up) -> std::io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("shop.localhost").unwrap();
        let stream = TcpStream::connect(up.addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Tls(tls))
    }
}

struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// One request on this connection, which stays open.
    fn get(&mut self, path: &str) -> String {
        write!(self.0, "GET {path} HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").unwrap();
        let mut text = Vec::new();
        let mut part = [0; 4096];
        // The guest's answers are chunked or have a length; both end here with the text's last line.
        loop {
            let read = self.0.read(&mut part).unwrap();
            assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&part[..read]);
            if let Some(body) = text.windows(4).position(|w| w == b"\r\n\r\n").map(|at| &text[at + 4..])
                && (body.ends_with(b"0\r\n\r\n") || (!body.is_empty() && !text.windows(8).any(|w| w == b"chunked\r")))
            {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}

fn tls_up(home: &Home) -> Up {
    home.up(&[path("p2").to_str().unwrap(), "--tls-cert-path", "cert.pem", "--tls-key-path", "key.pem"])
}

#[test]
fn a_certificate_is_served_and_renewed_while_connections_go_on() {
    let home = Home::new();
    let (old, new) = (Certificate::make(), Certificate::make());
    old.write(&home);
    let mut up = tls_up(&home);
    let line = up.wait_for("curl ");
    assert!(line.contains("https://"), "{line}");
    let mut connection = old.connect(&up).unwrap();
    assert!(connection.get("/").contains("Hello from WASI 0.2!"));
    new.connect(&up).err().expect("it isn't the one that is served");
    // Cleartext gets no answer, and hurts nobody.
    assert!(crate::process::get(up.addr, "shop.localhost", "/").is_err());

    new.write(&home);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The old connection goes on, and each of its requests takes a moment.
        assert!(connection.get("/sleep?ms=250").starts_with("HTTP/1.1 200"));
        if let Ok(mut renewed) = new.connect(&up) {
            assert!(renewed.get("/").contains("Hello from WASI 0.2!"));
            break;
        }
        assert!(Instant::now() < deadline, "the new certificate isn't served: {}", up.said());
    }
    old.connect(&up).err().expect("the old one isn't served any more");
    assert!(connection.get("/").contains("Hello from WASI 0.2!"));
}

#[test]
fn certificates_that_can_not_be_served_are_refused_with_their_file() {
    let home = Home::new();
    let run = || home.run(&["up", "--http-addr", "127.0.0.1:0", "--tls-cert-path", "cert.pem", "--tls-key-path", "key.pem"]);
    let err = run().failed(1);
    assert!(err.contains("cert.pem") && err.contains("No such file"), "{err}");
    Certificate::make().write(&home);
    home.write("cert.pem", Certificate::make().cert);
    let err = run().failed(1);
    assert!(err.contains("cert.pem") && err.contains("key.pem") && err.contains("can't be used together"), "{err}");
    home.write("cert.pem", "hello");
    let err = run().failed(1);
    assert!(err.contains("cert.pem holds no certificate"), "{err}");
    let err = home.run(&["up", "--tls-cert-path", "cert.pem"]).failed(2);
    assert!(err.contains("tls-key-path"), "{err}");
}
