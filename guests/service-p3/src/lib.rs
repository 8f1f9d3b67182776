//! Does what `DO` says; README.md lists it.

use wasip3::cli::{stdin, stdout};
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::{spawn_local, wit_future, wit_stream};

wasip3::cli::command::export!(Service);

struct Service;

impl wasip3::exports::cli::run::Guest for Service {
    async fn run() -> Result<(), ()> {
        let what = std::env::var("DO").unwrap_or_default();
        print(format!("begins: {what}\n")).await;
        match what.as_str() {
            "wait" => {
                let (input, ended) = stdin::read_via_stream();
                let bytes = input.collect().await;
                print(format!("told to end: {} bytes, {:?}\n", bytes.len(), ended.await)).await;
            }
            "ignore" => loop {
                wasip3::clocks::monotonic_clock::wait_for(3_600_000_000_000).await;
            },
            "spin" => loop {
                std::hint::black_box(0);
            },
            "exit" => std::process::exit(1),
            "error" => return Err(()),
            "trap" => core::arch::wasm32::unreachable(),
            "upload" => upload(&std::env::var("TO").unwrap_or_default()).await,
            _ => {}
        }
        Ok(())
    }
}

/// Sends a body that has no end, and traps when the answer has begun; with `READ`, when that is whole.
async fn upload(to: &str) {
    let megabytes: usize = std::env::var("MB").ok().and_then(|value| value.parse().ok()).unwrap_or(0);
    let held = std::hint::black_box(vec![1_u8; megabytes << 20]);
    let (authority, path) = to.split_once('/').unwrap_or((to, ""));
    let (mut writer, content) = wit_stream::new();
    let (last, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), Some(content), trailers, None);
    request.set_method(&Method::Post).expect("it is one");
    request.set_scheme(Some(&Scheme::Http)).expect("it is one");
    request.set_authority(Some(authority)).expect("it is a host's");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("it is a path");
    spawn_local(async move {
        while writer.write_all(vec![b'u'; 16 << 10]).await.is_empty() {}
        drop(last);
    });
    let response = match client::send(request).await {
        Ok(response) => response,
        Err(code) => return print(format!("not answered: {code:?}\n")).await,
    };
    print(format!("answered: {}\n", response.get_status_code())).await;
    if std::env::var_os("READ").is_some() {
        let (_outcome, outcome) = wit_future::new(|| Ok(()));
        let (stream, _trailers) = Response::consume_body(response, outcome);
        print(String::from_utf8(stream.collect().await).unwrap_or_default()).await;
    }
    drop(held);
    core::arch::wasm32::unreachable()
}

/// Writes to standard output by WASI 0.3.
async fn print(text: String) {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let written = stdout::write_via_stream(reader);
    writer.write_all(text.into_bytes()).await;
    drop(writer);
    let _ = written.await;
}
