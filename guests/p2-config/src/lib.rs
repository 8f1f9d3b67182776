//! An HTTP guest that answers with what it is configured with: its environment, and what `wasi:config/store` says.

use guest_common::{Target, json};
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ path: "wit", world: "shop", generate_all });
wasip2::http::proxy::export!(Shop);

use wasi::config0_2_0_draft::store as draft;
use wasi::config0_2_0_rc_1::store;

struct Shop;

impl wasip2::exports::http::incoming_handler::Guest for Shop {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::parse(&request.path_with_query().unwrap_or_default());
        let all = |pairs: Vec<(String, String)>| json::strings(pairs);
        let text = match (target.path(), target.text("key")) {
            ("/config", None) => all(store::get_all().expect("values are there")),
            ("/config", Some(key)) => format!("{:?}", store::get(key).expect("values are there")),
            ("/config-draft", None) => all(draft::get_all().expect("values are there")),
            ("/config-draft", Some(key)) => format!("{:?}", draft::get(key).expect("values are there")),
            _ => json::strings(std::env::vars()),
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        // A client that went away needs no end of the body.
        if stream.blocking_write_and_flush(text.as_bytes()).is_ok() {
            drop(stream);
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
