//! Routes whose bodies stream.

use std::time::Duration;

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use wasip3::{spawn_local, wit_future};

use crate::answer::{self, Body};

const CHUNK_BYTES: usize = 64 << 10;

/// What follows a body: trailers, or why there is no end.
pub type Trailers = FutureReader<Result<Option<Fields>, ErrorCode>>;

/// Takes a request's body, in good faith from the start that it will be read well.
pub fn take(request: Request) -> (StreamReader<u8>, Trailers) {
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    Request::consume_body(request, outcome)
}

/// Sends the request's body and trailers back while they come, under the content type they came with.
pub fn echo(request: Request) -> Response {
    let media_type = request.get_headers().get("content-type").into_iter().map(|value| ("content-type".to_owned(), value));
    let (response, sink) = answer::begin(200, media_type.collect());
    let (stream, trailers) = take(request);
    spawn_local(pump(stream, trailers, sink));
    response
}

/// Copies a body and its trailers to the end of both, or until either side breaks off.
pub async fn pump(mut stream: StreamReader<u8>, trailers: Trailers, mut sink: Body) {
    while let Some(chunk) = next(&mut stream, CHUNK_BYTES).await {
        if !sink.write(chunk).await {
            return;
        }
    }
    drop(stream);
    if let Ok(trailers) = trailers.await {
        sink.finish(trailers).await;
    }
}

/// The next bytes of a stream, or `None` at its end.
pub async fn next(stream: &mut StreamReader<u8>, chunk_bytes: usize) -> Option<Vec<u8>> {
    let (result, chunk) = stream.read(Vec::with_capacity(chunk_bytes)).await;
    match result {
        StreamResult::Complete(_) => Some(chunk),
        StreamResult::Dropped | StreamResult::Cancelled => (!chunk.is_empty()).then_some(chunk),
    }
}

/// Reads the body with a pause after each chunk, then says how many bytes there were.
pub async fn slow_read(request: Request, chunk_bytes: usize, pause: Duration) -> Response {
    let (mut stream, trailers) = take(request);
    let mut read = 0;
    while let Some(chunk) = next(&mut stream, chunk_bytes).await {
        read += chunk.len();
        crate::sleep(pause).await;
    }
    drop(stream);
    match trailers.await {
        Ok(_) => answer::text(200, &format!("{read}\n")),
        Err(error) => answer::text(400, &format!("after {read} bytes: {error:?}\n")),
    }
}

/// Answers at once, reads the body on, and says in the log how many bytes there were, or after how many it broke off.
pub fn swallow(request: Request) -> Response {
    let (mut stream, trailers) = take(request);
    spawn_local(async move {
        let mut read = 0;
        while let Some(chunk) = next(&mut stream, CHUNK_BYTES).await {
            read += chunk.len();
        }
        drop(stream);
        match trailers.await {
            Ok(_) => println!("swallowed {read} bytes"),
            Err(error) => println!("choked after {read} bytes: {error:?}"),
        }
    });
    answer::text(200, "swallowing\n")
}

/// Sends `chunks` of `size` bytes with a pause after each, until the client leaves.
pub fn stream(chunks: u64, size: usize, pause: Duration) -> Response {
    let (response, mut body) = answer::begin(200, vec![("content-type".to_owned(), b"application/octet-stream".to_vec())]);
    spawn_local(async move {
        for _ in 0..chunks {
            if !body.write(vec![b'x'; size]).await {
                return;
            }
            if !pause.is_zero() {
                crate::sleep(pause).await;
            }
        }
        body.finish(None).await;
    });
    response
}
