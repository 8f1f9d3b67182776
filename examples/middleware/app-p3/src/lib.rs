//! What stands behind the middleware: a handler of WASI 0.3 that knows nothing of it.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(App);

struct App;

impl wasip3::exports::http::handler::Guest for App {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let text = format!("{path} from a handler of WASI 0.3\n");
        let media_type = ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec());
        let headers = Fields::from_list(&[media_type]).expect("the header is well formed");
        let (mut writer, body) = wit_stream::new();
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(body), trailers);
        spawn_local(async move {
            // What is left over, a client that went away did not want.
            writer.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}
