//! HTTP middleware of WASI 0.3: marks what passes, in front of the handler that it imports.
//!
//! What the handler is, and of which version, it can't know. An error comes back as 502 with the error's code; with `?as-is`, requests,
//! responses and errors pass untouched. The second of two traps at `/trap`, and returns an error at `/error`.

wit_bindgen::generate!({
    path: "wit",
    world: "middleware",
    with: {
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
    },
});
wasip3::http::service::export!(Middleware);

use wasi::http::handler;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

/// The header that marks what passed.
const MARK: &str = "x-passed";

struct Middleware;

impl wasip3::exports::http::handler::Guest for Middleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        if path.contains("as-is") {
            return handler::handle(request).await;
        }
        if request.get_headers().has(MARK) {
            match path.as_str() {
                "/trap" => core::arch::wasm32::unreachable(),
                "/error" => return Err(ErrorCode::InternalError(Some("as asked".to_owned()))),
                _ => {}
            }
        }
        match handler::handle(marked_request(request)).await {
            Ok(response) => Ok(marked_response(response)),
            Err(code) => Ok(failed(&format!("{code:?}\n"))),
        }
    }
}

/// The request with one more header; its body and trailers as they come.
fn marked_request(request: Request) -> Request {
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let (scheme, authority) = (request.get_scheme(), request.get_authority());
    let headers = marked(&request.get_headers());
    let (_read, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, outcome);
    let (request, _sent) = Request::new(headers, Some(body), trailers, None);
    request.set_method(&method).expect("it came so");
    request.set_path_with_query(path.as_deref()).expect("it came so");
    request.set_scheme(scheme.as_ref()).expect("it came so");
    request.set_authority(authority.as_deref()).expect("it came so");
    request
}

/// The same for a response.
fn marked_response(response: Response) -> Response {
    let (status, headers) = (response.get_status_code(), marked(&response.get_headers()));
    let (_read, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, outcome);
    let (response, _sent) = Response::new(headers, Some(body), trailers);
    response.set_status_code(status).expect("it came so");
    response
}

fn marked(headers: &Fields) -> Fields {
    let marked = headers.clone();
    marked.append(MARK, b"p3-middleware").expect("a header more has room");
    marked
}

fn failed(text: &str) -> Response {
    let (mut stream, body) = wit_stream::new();
    let (_trailers, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response.set_status_code(502).expect("it is a status");
    let text = text.as_bytes().to_vec();
    spawn_local(async move {
        // What is left over, a client that went away did not want.
        stream.write_all(text).await;
    });
    response
}
