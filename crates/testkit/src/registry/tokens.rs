//! A token server, as registries send their clients to: it signs what the registry then verifies.
//!
//! The distribution project's "Token Authentication Specification" and its OAuth2 form; JWT with ES256 (RFC 7518).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::{PASSWORD, USER};

/// What the registry is called, and who signs.
pub(super) const SERVICE: &str = "registry.test";
pub(super) const ISSUER: &str = "tokens.test";
const KEY_ID: &str = "test";
/// How long a token is good, seconds.
const LIFE_SECONDS: u64 = 300;

/// Whom a token server gives tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenSettings {
    /// Whether everybody may pull.
    pub anybody: bool,
    /// The identity token that is exchanged, if any.
    pub identity: Option<String>,
}

struct Shared {
    settings: TokenSettings,
    key: EcdsaKeyPair,
    given: AtomicUsize,
}

/// A running token server. [`USER`] gets a token for whatever is asked for.
pub struct TokenServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl TokenServer {
    /// Starts a token server on a free port of 127.0.0.1, in plain HTTP.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(settings: TokenSettings) -> TokenServer {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        let shared = Arc::new(Shared { settings, key, given: AtomicUsize::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let serving = Arc::clone(&shared);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }));
        TokenServer { addr, shared, _task: task }
    }

    /// Whom it lets into a registry: for the registry's configuration.
    pub fn access(&self) -> super::Access {
        let point = self.shared.key.public_key().as_ref();
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": KEY_ID, "alg": "ES256", "use": "sig", "x": x, "y": y}]});
        super::Access::Token(format!("http://{}/token", self.addr), keys.to_string())
    }

    /// How many tokens it gave.
    pub fn given(&self) -> usize {
        self.shared.given.load(Ordering::Relaxed)
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let form = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let query = if head.method == Method::POST { form } else { head.uri.query().unwrap_or_default().to_owned() };
    let pair = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let allowed = match head.headers.get(AUTHORIZATION) {
        Some(authorization) => authorization.as_bytes() == pair.as_bytes(),
        None if head.method == Method::POST => shared.settings.identity.as_ref().is_some_and(|identity| query.contains(identity)),
        None => shared.settings.anybody,
    };
    let mut response = Response::new(Full::default());
    if !allowed {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    shared.given.fetch_add(1, Ordering::Relaxed);
    let token = token(&shared.key, &parameter(&query, "scope").unwrap_or_default());
    // Both names are in use: one for each form of asking.
    let name = if head.method == Method::POST { "access_token" } else { "token" };
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    *response.body_mut() = Full::new(json!({name: token, "expires_in": LIFE_SECONDS}).to_string().into());
    Ok(response)
}

/// A parameter of a query or form, with `%` escapes resolved.
fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|digits| hex::decode(digits).ok());
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.extend(escaped.unwrap_or_else(|| vec![*first]));
    }
    String::from_utf8(bytes).ok()
}

/// A token that grants the scope, `repository:NAME:ACTION,ACTION`.
fn token(key: &EcdsaKeyPair, scope: &str) -> String {
    let mut parts = scope.splitn(3, ':');
    let (kind, name, actions) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let access = json!([{"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
    let claims = json!({
        "iss": ISSUER, "sub": USER, "aud": SERVICE, "jti": now.to_string(), "iat": now, "nbf": now, "exp": now + LIFE_SECONDS,
        "access": access,
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
