//! Does what `DO` says; README.md lists it.

use wasip3::cli::{stdin, stdout};

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
            _ => {}
        }
        Ok(())
    }
}

/// Writes to standard output by WASI 0.3.
async fn print(text: String) {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let written = stdout::write_via_stream(reader);
    writer.write_all(text.into_bytes()).await;
    drop(writer);
    let _ = written.await;
}
