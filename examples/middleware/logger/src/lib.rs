//! HTTP middleware: exports a handler and imports one. It logs each request, and tells the client how long the other handler took.
//!
//! What stands behind the import is decided where it is deployed: a component of WASI 0.3 or 0.2, written in any language.

wit_bindgen::generate!({
    world: "logger",
    with: {
        "wasi:http/types@0.3.0": wasip3::http::types,
        "wasi:http/handler@0.3.0": generate,
    },
});
wasip3::http::service::export!(Logger);

use std::time::Instant;

use wasi::http::handler;
use wasip3::http::types::{ErrorCode, Method, Request, Response};
use wasip3::wit_future;

struct Logger;

impl wasip3::exports::http::handler::Guest for Logger {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let asked = format!("{} {}", name(&request.get_method()), request.get_path_with_query().unwrap_or_default());
        let begun = Instant::now();
        // The request goes on as it came. Its body is a stream that nobody here waits for.
        let answer = handler::handle(request).await;
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        match answer {
            Ok(response) => {
                println!("{asked}: {} after {ms:.1} ms", response.get_status_code());
                Ok(with_header(response, "server-timing", &format!("handler;dur={ms:.1}")))
            }
            Err(code) => {
                println!("{asked}: {code:?} after {ms:.1} ms");
                Err(code)
            }
        }
    }
}

/// The response with one more header. Headers that were received can't be changed, so this is a new response around the same body.
fn with_header(response: Response, name: &str, value: &str) -> Response {
    let status = response.get_status_code();
    let headers = response.get_headers().clone();
    // Fails where the host has no room for one more; then the answer is worth more than the header.
    let _ = headers.append(name, value.as_bytes());
    let (_received, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, outcome);
    let (response, _sent) = Response::new(headers, Some(body), trailers);
    response.set_status_code(status).expect("it came with this status");
    response
}

fn name(method: &Method) -> String {
    match method {
        Method::Other(name) => name.clone(),
        known => format!("{known:?}").trim_start_matches("Method::").to_uppercase(),
    }
}
