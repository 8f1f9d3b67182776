//! The back, of WASI 0.3: answers `/price/TEA` with a price, or 404. No domain leads to it, so only its workload can ask.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::http::service::export!(Back);

struct Back;

impl wasip3::exports::http::handler::Guest for Back {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        println!("asked for {path}");
        Ok(match price(path.strip_prefix("/price/").unwrap_or_default()) {
            Some(price) => text(200, price),
            None => text(404, "no such tea"),
        })
    }
}

fn price(tea: &str) -> Option<&'static str> {
    match tea {
        "assam" => Some("3.20"),
        "darjeeling" => Some("4.10"),
        "sencha" => Some("3.80"),
        _ => None,
    }
}

/// A response whose body is written after its head was returned: bodies of WASI 0.3 are streams.
fn text(status: u16, text: &'static str) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response.set_status_code(status).expect("it is a status");
    spawn_local(async move {
        writer.write_all(text.as_bytes().to_vec()).await;
    });
    response
}
