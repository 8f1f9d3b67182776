//! Routes that call another component of the workload, with the outgoing-handler of WASI 0.2.

use std::time::Duration;

use guest_common::Target;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    ResponseOutparam, Scheme, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::answer::{self, Answer};
use crate::body;

const CHUNK_BYTES: u64 = 64 << 10;

/// Passes the request on to `to`, under `path`, and its response back: bodies and trailers while they come. An error is 502 and its code.
pub fn via(request: &IncomingRequest, out: ResponseOutparam, target: &Target) {
    let incoming = request.consume().expect("the body is taken once");
    let outgoing = request_to(target, &request.method(), request.headers().entries());
    let mut upload = Upload::begin(incoming, outgoing.body().expect("the body is taken once"));
    let response = match outgoing_handler::handle(outgoing, None) {
        Ok(response) => response,
        Err(code) => return answer::text(out, 502, &format!("{code:?}\n")),
    };
    match upload.until(&response) {
        Ok(response) => back(response, out, &mut upload),
        Err(code) => answer::text(out, 502, &format!("{code:?}\n")),
    }
}

/// Answers with another's response, and goes on with the upload beside that.
fn back(response: IncomingResponse, out: ResponseOutparam, upload: &mut Upload) {
    let headers = response.headers().entries().into_iter().filter(|(name, _)| name != "content-length" && name != "x-guest");
    let mut answer = Answer::begin(out, response.status(), headers.collect());
    let body = response.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    loop {
        match stream.read(CHUNK_BYTES) {
            Ok(chunk) if chunk.is_empty() => {
                if !upload.step() {
                    upload.wait(stream.subscribe());
                }
            }
            Ok(chunk) => {
                if answer.write(&chunk).is_err() {
                    return;
                }
                upload.step();
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return,
        }
    }
    drop(stream);
    answer.finish(body::trailers(body));
}

/// A request's body on its way to another component.
struct Upload {
    from: Option<(InputStream, IncomingBody)>,
    to: Option<(OutputStream, OutgoingBody)>,
    chunk: Vec<u8>,
}

impl Upload {
    fn begin(from: IncomingBody, to: OutgoingBody) -> Upload {
        let (input, output) = (from.stream().expect("taken once"), to.write().expect("taken once"));
        Upload { from: Some((input, from)), to: Some((output, to)), chunk: Vec::new() }
    }

    /// Goes on as far as it can without waiting. Says whether it did.
    fn step(&mut self) -> bool {
        let Some((input, _)) = &self.from else { return false };
        if self.chunk.is_empty() {
            match input.read(CHUNK_BYTES) {
                Ok(chunk) => self.chunk = chunk,
                Err(StreamError::Closed) => {
                    self.finish();
                    return true;
                }
                Err(StreamError::LastOperationFailed(_)) => {
                    self.give_up();
                    return true;
                }
            }
        }
        let Some((output, _)) = &self.to else { return false };
        match output.check_write() {
            Ok(room) => {
                let size = self.chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                let rest = self.chunk.split_off(size);
                let chunk = std::mem::replace(&mut self.chunk, rest);
                if chunk.is_empty() {
                    return false;
                }
                if output.write(&chunk).is_err() {
                    self.give_up();
                }
                true
            }
            Err(_) => {
                self.give_up();
                true
            }
        }
    }

    fn finish(&mut self) {
        let (Some((input, from)), Some((output, to))) = (self.from.take(), self.to.take()) else { return };
        drop((input, output));
        // Whoever reads it sees it if it broke off.
        let _ = OutgoingBody::finish(to, body::trailers(from));
    }

    fn give_up(&mut self) {
        // The streams go before the bodies that they belong to.
        if let Some((input, from)) = self.from.take() {
            drop(input);
            drop(from);
        }
        if let Some((output, to)) = self.to.take() {
            drop(output);
            drop(to);
        }
    }

    /// Waits until it can go on, or `other` is ready.
    fn wait(&self, other: Pollable) {
        let mut all = vec![other];
        if let (Some((input, _)), Some((output, _))) = (&self.from, &self.to) {
            all.push(if self.chunk.is_empty() { input.subscribe() } else { output.subscribe() });
        }
        poll(&all.iter().collect::<Vec<_>>());
    }

    /// Goes on until there is a response.
    fn until(&mut self, response: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
        loop {
            if let Some(response) = response.get() {
                return response.expect("it is asked once");
            }
            if !self.step() {
                self.wait(response.subscribe());
            }
        }
    }
}

/// Gets `path` of `to` and says how many bytes came, and how they ended.
pub fn read(out: ResponseOutparam, target: &Target) {
    match wait(outgoing_handler::handle(request_to(target, &Method::Get, Vec::new()), None)) {
        Ok(response) => answer::text(out, 200, &format!("{}\n", read_all(response))),
        Err(code) => answer::text(out, 502, &format!("{code:?}\n")),
    }
}

fn read_all(response: IncomingResponse) -> String {
    let body = response.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut read = 0;
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) => read += chunk.len(),
            Err(StreamError::Closed) => return format!("{read} bytes"),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = http_error_code(&error).map_or_else(|| error.to_debug_string(), |code| format!("{code:?}"));
                return format!("{read} bytes, then {code}");
            }
        }
    }
}

/// Sends `kb` KiB, or `mb` MiB, to `path` of `to`, all of it before it reads what comes back; says how many bytes came, and how many were
/// taken. With `after` it has the response before it begins to send.
pub fn upload(out: ResponseOutparam, target: &Target) {
    let request = request_to(target, &Method::Post, Vec::new());
    let body = request.body().expect("the body is taken once");
    let answered = outgoing_handler::handle(request, None);
    if target.number("after", 0) > 0
        && let Ok(answered) = &answered
    {
        answered.subscribe().block();
    }
    let stream = body.write().expect("the stream is taken once");
    let mut taken = 0;
    while taken < target.number("kb", target.number("mb", 1) * 1024) && stream.blocking_write_and_flush(&[b'u'; 1024]).is_ok() {
        taken += 1;
    }
    drop(stream);
    // The response says whether it was taken.
    let _ = OutgoingBody::finish(body, None);
    match wait(answered) {
        Ok(response) => answer::text(out, 200, &format!("{}, {taken} KiB taken\n", read_all(response))),
        Err(code) => answer::text(out, 200, &format!("{code:?}, {taken} KiB taken\n")),
    }
}

/// Gets `path` of `to` so many times at once; says how many were answered, and what became of the others.
pub fn fan(out: ResponseOutparam, target: &Target) {
    let begun: Vec<_> =
        (0..target.number("n", 2)).map(|_| outgoing_handler::handle(request_to(target, &Method::Get, Vec::new()), None)).collect();
    let answered = begun.into_iter().map(wait).collect::<Vec<_>>();
    let mut said: Vec<String> = answered
        .iter()
        .map(|answered| match answered {
            Ok(response) => response.status().to_string(),
            Err(code) => format!("{code:?}"),
        })
        .collect();
    said.sort();
    answer::text(out, 200, &format!("{}\n", said.join(",")));
}

/// Answers, works on for `pause`, and says so in the log.
pub fn late(out: ResponseOutparam, pause: Duration) {
    answer::text(out, 200, "answered\n");
    std::thread::sleep(pause);
    println!("worked on");
}

/// A body that is dropped before it is finished.
pub fn broken(out: ResponseOutparam) {
    let mut answer = Answer::begin(out, 200, Vec::new());
    let _ = answer.write(b"midway");
}

fn wait(response: Result<FutureIncomingResponse, ErrorCode>) -> Result<IncomingResponse, ErrorCode> {
    let response = response?;
    response.subscribe().block();
    response.get().expect("it is ready").expect("it is asked once")
}

/// A request to `http://<to>.workload.internal<path>`.
fn request_to(target: &Target, method: &Method, headers: Vec<(String, Vec<u8>)>) -> OutgoingRequest {
    let headers: Vec<_> = headers.into_iter().filter(|(name, _)| name != "host").collect();
    let request = OutgoingRequest::new(Fields::from_list(&headers).expect("they came so"));
    request.set_method(method).expect("it is one");
    request.set_scheme(Some(&Scheme::Http)).expect("it is one");
    let sibling = || format!("{}.workload.internal", target.text("to").unwrap_or_default());
    let authority = target.text("authority").map_or_else(sibling, str::to_owned);
    request.set_authority(Some(&authority)).expect("the name is a host's");
    request.set_path_with_query(Some(target.text("path").unwrap_or("/"))).expect("it is a path");
    request
}
