//! The smallest WASI 0.3 HTTP guest: what speed is measured with.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Hello);

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = [("content-type", "text/plain"), ("x-guest", "p3-hello")];
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let (mut writer, body) = wit_stream::new();
        let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::from_list(&headers).expect("the headers are well formed"), Some(body), trailers);
        drop(trailers_writer);
        spawn_local(async move {
            // What is left over, a client that went away did not want.
            writer.write_all(b"Hello from WASI 0.3!\n".to_vec()).await;
        });
        Ok(response)
    }
}
