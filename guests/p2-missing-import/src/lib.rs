//! An HTTP guest that imports `acme:widgets/store`, which no host provides: it can't start.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ path: "wit", world: "shop" });
wasip2::http::proxy::export!(Shop);

struct Shop;

impl wasip2::exports::http::incoming_handler::Guest for Shop {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let widgets = acme::widgets::store::widgets().to_string().into_bytes();
        let headers = Fields::from_list(&[("x-widgets".to_owned(), widgets)]).expect("a number is a valid value");
        ResponseOutparam::set(out, Ok(OutgoingResponse::new(headers)));
    }
}
