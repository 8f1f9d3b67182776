//! Responses of WASI 0.3: a head, and a body that a spawned task writes after the head is returned.

use wasip3::http::types::{ErrorCode, Fields, Response};
use wasip3::wit_bindgen::{FutureWriter, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

/// The writing end of a response's body. Dropped before `finish`, the client sees a body that broke off.
pub struct Body {
    stream: StreamWriter<u8>,
    trailers: FutureWriter<Result<Option<Fields>, ErrorCode>>,
}

impl Body {
    /// Writes all of it; false if the client is gone.
    pub async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.stream.write_all(bytes).await.is_empty()
    }

    /// Ends the body with an error.
    pub async fn fail(self, code: ErrorCode) {
        drop(self.stream);
        // Too late to tell anybody of an error.
        let _ = self.trailers.write(Err(code)).await;
    }

    /// Ends the body.
    pub async fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        // Too late to tell anybody of an error.
        let _ = self.trailers.write(Ok(trailers)).await;
    }
}

fn fields(mut headers: Vec<(String, Vec<u8>)>) -> Fields {
    headers.push(("x-guest".to_owned(), b"p3".to_vec()));
    Fields::from_list(&headers).expect("headers are well formed")
}

/// A response with this status, `x-guest` and these headers, and the end to write its body to.
pub fn begin(status: u16, headers: Vec<(String, Vec<u8>)>) -> (Response, Body) {
    let (stream, content) = wit_stream::new();
    let (trailers, last) = wit_future::new(|| Err(ErrorCode::HttpResponseIncomplete));
    let (response, _sent) = Response::new(fields(headers), Some(content), last);
    response.set_status_code(status).expect("the status is between 100 and 999");
    (response, Body { stream, trailers })
}

/// A response without a body.
pub fn empty(status: u16, headers: Vec<(String, Vec<u8>)>) -> Response {
    let (_trailers, last) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields(headers), None, last);
    response.set_status_code(status).expect("the status is between 100 and 999");
    response
}

fn whole(status: u16, media_type: &str, content: &str) -> Response {
    let (response, mut body) = begin(status, vec![("content-type".to_owned(), media_type.as_bytes().to_vec())]);
    let content = content.as_bytes().to_vec();
    spawn_local(async move {
        if body.write(content).await {
            body.finish(None).await;
        }
    });
    response
}

/// A whole response of plain text.
pub fn text(status: u16, body: &str) -> Response {
    whole(status, "text/plain; charset=utf-8", body)
}

/// A whole response of JSON.
pub fn json(body: &str) -> Response {
    whole(200, "application/json", body)
}

/// What an outgoing call gave: 200 and what it says, or 502 and the error.
pub fn outcome(outcome: Result<String, String>) -> Response {
    match outcome {
        Ok(said) => text(200, &format!("{said}\n")),
        Err(error) => text(502, &format!("{error}\n")),
    }
}
