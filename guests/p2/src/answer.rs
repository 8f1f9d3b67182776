//! Responses of WASI 0.2: a head, then a body written in pieces.

use std::io::{self, Write as _};

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::OutputStream;

/// A response whose head is sent. The stream goes before the body that it belongs to.
pub struct Answer {
    stream: OutputStream,
    body: OutgoingBody,
}

impl Answer {
    /// Sends the head: the status, `x-guest` and these headers. A status or header that can't be sent is the caller's fault.
    pub fn begin(out: ResponseOutparam, status: u16, mut headers: Vec<(String, Vec<u8>)>) -> Self {
        headers.push(("x-guest".to_owned(), b"p2".to_vec()));
        let response = OutgoingResponse::new(Fields::from_list(&headers).expect("headers are well formed"));
        response.set_status_code(status).expect("the status is between 100 and 999");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        Self { stream, body }
    }

    /// Writes and flushes; an error means that the client is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        io::Write::flush(&mut self.stream)
    }

    /// Ends the body.
    pub fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        // Too late to tell anybody of an error.
        let _ = OutgoingBody::finish(self.body, trailers);
    }
}

/// A whole response with this body.
fn whole(out: ResponseOutparam, status: u16, media_type: &str, body: &str) {
    let mut answer = Answer::begin(out, status, vec![("content-type".to_owned(), media_type.as_bytes().to_vec())]);
    // A client that went away needs no end of the body.
    if answer.write(body.as_bytes()).is_ok() {
        answer.finish(None);
    }
}

/// A whole response of plain text.
pub fn text(out: ResponseOutparam, status: u16, body: &str) {
    whole(out, status, "text/plain; charset=utf-8", body);
}

/// A whole response of JSON.
pub fn json(out: ResponseOutparam, body: &str) {
    whole(out, 200, "application/json", body);
}

/// What an outgoing call gave: 200 and what it says, or 502 and the error.
pub fn outcome(out: ResponseOutparam, outcome: Result<String, String>) {
    match outcome {
        Ok(said) => text(out, 200, &format!("{said}\n")),
        Err(error) => text(out, 502, &format!("{error}\n")),
    }
}
