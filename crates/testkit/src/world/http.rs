//! An HTTP client with no cleverness: one connection, one request, the answer whole.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::PATIENCE;

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text; what isn't UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty when it is missing or isn't text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub(super) async fn get(addr: SocketAddr, domain: &str, path: &str) -> Result<Answer, String> {
    let request = Request::get(path).header(header::HOST, domain).body(Full::default());
    request_whole(addr, request.map_err(|e| e.to_string())?).await
}

/// Sends one HTTP/1.1 request on a connection of its own and reads the whole answer.
///
/// # Errors
/// When the connection breaks before the answer is whole, or nothing comes within [`PATIENCE`].
pub async fn request(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    request_whole(addr, request).await
}

async fn request_whole(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let asked = async {
        let stream = TcpStream::connect(addr).await.map_err(|e| format!("connect: {e}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("handshake: {e}"))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its end shows as the end of the answer.
            let _ = connection.await;
        }));
        let response = sender.send_request(request).await.map_err(|e| format!("request: {e}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("body: {e}"))?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
}
