//! Greets whoever asks, by WASI 0.3: `/` answers `Hello, world!`, `/Ada` answers `Hello, Ada!`.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let name = match path.split('?').next().unwrap_or_default().trim_matches('/') {
            "" => "world",
            name => name,
        };
        println!("greeting {name}");
        Ok(text(format!("Hello, {name}!\n")))
    }
}

/// A response whose body is written after its head was returned: bodies of WASI 0.3 are streams.
fn text(body: String) -> Response {
    let media_type = ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec());
    let headers = Fields::from_list(&[media_type]).expect("the header is well formed");
    let (mut writer, content) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(content), trailers);
    spawn_local(async move {
        // What is left over, a client that went away did not want.
        writer.write_all(body.into_bytes()).await;
    });
    response
}
