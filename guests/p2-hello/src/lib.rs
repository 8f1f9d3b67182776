//! The smallest WASI 0.2 HTTP guest: what speed is measured with.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = [("content-type", "text/plain"), ("x-guest", "p2-hello")];
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let response = OutgoingResponse::new(Fields::from_list(&headers).expect("the headers are well formed"));
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        // A client that went away is no fault of this guest.
        let _ = stream.blocking_write_and_flush(b"Hello from WASI 0.2!\n");
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
