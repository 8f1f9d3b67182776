//! Routes whose bodies stream.

use std::time::Duration;

use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, ResponseOutparam};
use wasip2::io::streams::StreamError;

use crate::answer::{self, Answer};

const CHUNK_BYTES: u64 = 64 << 10;

/// Sends the request's body and trailers back while they come, under the content type they came with.
pub fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let media_type = request.headers().get("content-type").into_iter().map(|value| ("content-type".to_owned(), value));
    let mut answer = Answer::begin(out, 200, media_type.collect());
    let body = request.consume().expect("the body is taken once");
    if pump(&body, &mut answer, CHUNK_BYTES) {
        let trailers = trailers(body);
        answer.finish(trailers);
    }
}

/// Copies what comes until it ends; false if either end broke off.
pub fn pump(body: &IncomingBody, answer: &mut Answer, chunk_bytes: u64) -> bool {
    let stream = body.stream().expect("the stream is taken once");
    loop {
        match stream.blocking_read(chunk_bytes) {
            Ok(chunk) => {
                if answer.write(&chunk).is_err() {
                    return false;
                }
            }
            Err(StreamError::Closed) => return true,
            Err(StreamError::LastOperationFailed(_)) => return false,
        }
    }
}

/// Waits for the trailers of a body that was read to its end.
pub fn trailers(body: IncomingBody) -> Option<Fields> {
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    trailers.get().expect("it is ready").expect("it is asked once").ok().flatten()
}

/// Reads the body with a pause after each chunk, then says how many bytes there were.
pub fn slow_read(request: &IncomingRequest, out: ResponseOutparam, chunk_bytes: u64, pause: Duration) {
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut read = 0;
    loop {
        match stream.blocking_read(chunk_bytes) {
            Ok(chunk) => read += chunk.len(),
            Err(StreamError::Closed) => return answer::text(out, 200, &format!("{read}\n")),
            Err(StreamError::LastOperationFailed(error)) => {
                return answer::text(out, 400, &format!("after {read} bytes: {}\n", error.to_debug_string()));
            }
        }
        std::thread::sleep(pause);
    }
}

/// Sends `chunks` of `size` bytes with a pause after each, until the client leaves.
pub fn stream(out: ResponseOutparam, chunks: u64, size: usize, pause: Duration) {
    let mut answer = Answer::begin(out, 200, vec![("content-type".to_owned(), b"application/octet-stream".to_vec())]);
    let chunk = vec![b'x'; size];
    for _ in 0..chunks {
        if answer.write(&chunk).is_err() {
            return;
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    answer.finish(None);
}
