//! What stands behind the middleware: a handler of WASI 0.2 that knows nothing of it.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let text = format!("{} from a handler of WASI 0.2\n", request.uri().path());
    Ok(Response::builder().header("content-type", "text/plain; charset=utf-8").body(text.into())?)
}
