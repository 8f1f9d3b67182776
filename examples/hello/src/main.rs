//! Greets whoever asks, by WASI 0.2: `/` answers `Hello, world!`, `/Ada` answers `Hello, Ada!`.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let name = match request.uri().path().trim_matches('/') {
        "" => "world",
        name => name,
    };
    println!("greeting {name}");
    let response = Response::builder().header("content-type", "text/plain; charset=utf-8");
    Ok(response.body(format!("Hello, {name}!\n").into())?)
}
