//! The front: answers HTTP, and asks the service for each request. The front is new for each request, the service is not.

use wstd::http::{Body, Error, Request, Response};
use wstd::io::{AsyncRead, AsyncWrite};
use wstd::net::TcpStream;

/// Where the service listens, on the loopback that the workload has for itself. No grant is needed.
const GUESTBOOK: &str = "127.0.0.1:7000";

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let name = match request.uri().path().trim_matches('/') {
        "" => "Nobody",
        name => name,
    };
    let text = match visit(name).await? {
        1 => format!("Welcome, {name}!\n"),
        count => format!("Welcome back, {name}! This is visit {count}.\n"),
    };
    Ok(Response::builder().header("content-type", "text/plain; charset=utf-8").body(text.into())?)
}

/// Tells the guestbook who came; how often that was.
async fn visit(name: &str) -> Result<u32, Error> {
    let mut stream = TcpStream::connect(GUESTBOOK).await?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buf = [0; 64];
    while !answer.ends_with(b"\n") {
        let count = stream.read(&mut buf).await?;
        if count == 0 {
            return Err(Error::msg("the guestbook hung up"));
        }
        answer.extend_from_slice(&buf[..count]);
    }
    Ok(std::str::from_utf8(&answer)?.trim().parse()?)
}
