//! Routes that call another component of the workload, with the client of WASI 0.3.

use std::time::Duration;

use guest_common::Target;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::answer;
use crate::body;

const CHUNK_BYTES: usize = 64 << 10;

/// Passes the request on to `to`, under `path`, and its response back: bodies and trailers while they come. An error is 502 and its code.
pub async fn via(request: Request, target: &Target) -> Response {
    let headers = request.get_headers().clone();
    let method = request.get_method();
    let (stream, trailers) = body::take(request);
    let (mut writer, content) = wit_stream::new();
    let (last, sent_trailers) = wit_future::new(|| Err(ErrorCode::HttpRequestTrailerSectionSize(None)));
    let request = request_to(target, headers, method, content, sent_trailers);
    spawn_local(async move {
        let mut stream = stream;
        while let Some(chunk) = body::next(&mut stream, CHUNK_BYTES).await {
            if !writer.write_all(chunk).await.is_empty() {
                return;
            }
        }
        drop((stream, writer));
        let trailers = trailers.await;
        let _ = last.write(trailers).await;
    });
    match wasip3::http::client::send(request).await {
        Ok(response) => back(response),
        Err(code) => answer::text(502, &format!("{code:?}\n")),
    }
}

/// Answers with another's response.
fn back(response: Response) -> Response {
    let headers = response.get_headers().copy_all().into_iter().filter(|(name, _)| name != "content-length");
    let (answer, sink) = answer::begin(response.get_status_code(), headers.collect());
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (stream, trailers) = Response::consume_body(response, outcome);
    spawn_local(body::pump(stream, trailers, sink));
    answer
}

/// Gets `path` of `to` and says how many bytes came, and how they ended.
pub async fn read(target: &Target) -> Response {
    let response = match wasip3::http::client::send(get(target)).await {
        Ok(response) => response,
        Err(code) => return answer::text(502, &format!("{code:?}\n")),
    };
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, outcome);
    let mut read = 0;
    while let Some(chunk) = body::next(&mut stream, CHUNK_BYTES).await {
        read += chunk.len();
    }
    drop(stream);
    match trailers.await {
        Ok(_) => answer::text(200, &format!("{read} bytes\n")),
        Err(code) => answer::text(200, &format!("{read} bytes, then {code:?}\n")),
    }
}

/// Sends `mb` MiB to `path` of `to` while it reads what comes back; says how many bytes came, and how the upload was received.
pub async fn upload(target: &Target) -> Response {
    let mb = target.number("mb", 1);
    let (mut writer, content) = wit_stream::new();
    let (last, trailers) = wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(Fields::new(), Some(content), trailers, None);
    lead(&request, target, &Method::Post);
    spawn_local(async move {
        for _ in 0..mb * 16 {
            if !writer.write_all(vec![b'u'; CHUNK_BYTES]).await.is_empty() {
                break;
            }
        }
        drop((writer, last));
    });
    let answered = match wasip3::http::client::send(request).await {
        Ok(response) => {
            let (_outcome, outcome) = wit_future::new(|| Ok(()));
            let (mut stream, trailers) = Response::consume_body(response, outcome);
            let mut read = 0;
            while let Some(chunk) = body::next(&mut stream, CHUNK_BYTES).await {
                read += chunk.len();
            }
            drop(stream);
            format!("{read} bytes {:?}", trailers.await.map(|_| ()))
        }
        Err(code) => format!("{code:?}"),
    };
    answer::text(200, &format!("{answered}, sent {:?}\n", sent.await))
}

/// Gets `path` of `to` so many times at once; says how many were answered, and what became of the others.
pub async fn fan(target: &Target) -> Response {
    let calls = (0..target.number("n", 2)).map(|_| wasip3::http::client::send(get(target)));
    let mut said: Vec<String> = Vec::new();
    for answered in join_all(calls).await {
        said.push(match answered {
            Ok(response) => response.get_status_code().to_string(),
            Err(code) => format!("{code:?}"),
        });
    }
    said.sort();
    answer::text(200, &format!("{}\n", said.join(",")))
}

/// Answers, works on for `ms`, and says so in the log.
pub fn late(pause: Duration) -> Response {
    spawn_local(async move {
        crate::sleep(pause).await;
        println!("worked on");
    });
    answer::text(200, "answered\n")
}

/// A body that ends with an error code.
pub fn broken() -> Response {
    let (response, body) = answer::begin(200, Vec::new());
    spawn_local(async move {
        let mut body = body;
        body.write(b"midway".to_vec()).await;
        body.fail(ErrorCode::InternalError(Some("midway".to_owned()))).await;
    });
    response
}

fn get(target: &Target) -> Request {
    let (_last, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    lead(&request, target, &Method::Get);
    request
}

fn request_to(
    target: &Target,
    headers: Fields,
    method: Method,
    content: wasip3::wit_bindgen::StreamReader<u8>,
    trailers: body::Trailers,
) -> Request {
    let (request, _sent) = Request::new(headers, Some(content), trailers, None);
    lead(&request, target, &method);
    request
}

/// Where it goes: `http://<to>.workload.internal<path>`.
fn lead(request: &Request, target: &Target, method: &Method) {
    request.set_method(method).expect("it is one");
    request.set_scheme(Some(&Scheme::Http)).expect("it is one");
    let authority = format!("{}.workload.internal", target.text("to").unwrap_or_default());
    request.set_authority(Some(&authority)).expect("the name is a host's");
    request.set_path_with_query(Some(target.text("path").unwrap_or("/"))).expect("it is a path");
}

/// All results, in order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, result) in &mut waiting {
            if result.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => *result = Some(done),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, result)| result).collect()
}
