//! A program that waits for its end, and meanwhile does what the components of its workload ask.

wit_bindgen::generate!({ path: "../desk-wit", world: "service" });
export!(Service);
wasip3::cli::command::export!(Service);

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use exports::test::desk::{desk, hall};
use wasip3::cli::{stdin, stdout};
use wasip3::clocks::monotonic_clock;

struct Service;

/// As long-lived as the instance.
static CALLS: AtomicU32 = AtomicU32::new(0);
static INSIDE: AtomicU32 = AtomicU32::new(0);
static WAITED: AtomicU32 = AtomicU32::new(0);

impl wasip3::exports::cli::run::Guest for Service {
    async fn run() -> Result<(), ()> {
        print("opens\n").await;
        let (input, ended) = stdin::read_via_stream();
        input.collect().await;
        let _ = ended.await;
        print("closes\n").await;
        Ok(())
    }
}

impl desk::Guest for Service {
    fn pass(parcel: desk::Parcel) -> desk::Parcel {
        parcel
    }

    fn increment(by: u32) -> u32 {
        CALLS.fetch_add(by, Relaxed) + by
    }

    fn sum(bytes: Vec<u8>) -> u32 {
        bytes.iter().map(|byte| u32::from(*byte)).fold(0, u32::wrapping_add)
    }

    fn fill(length: u32) -> Vec<u8> {
        vec![1; length as usize]
    }

    fn environment() -> Vec<(String, String)> {
        wasip3::cli::environment::get_environment()
    }

    fn spin(ms: u64) {
        let begin = monotonic_clock::now();
        while monotonic_clock::now() - begin < ms * 1_000_000 {
            std::hint::black_box(0);
        }
    }

    fn fail() {
        core::arch::wasm32::unreachable()
    }
}

impl hall::Guest for Service {
    async fn meet(callers: u32) -> u32 {
        INSIDE.fetch_add(1, Relaxed);
        while INSIDE.load(Relaxed) < callers {
            monotonic_clock::wait_for(1_000_000).await;
        }
        INSIDE.load(Relaxed)
    }

    async fn wait(ms: u64) -> u32 {
        print("waits\n").await;
        monotonic_clock::wait_for(ms * 1_000_000).await;
        print("waited\n").await;
        WAITED.fetch_add(1, Relaxed)
    }
}

async fn print(text: &str) {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let written = stdout::write_via_stream(reader);
    writer.write_all(text.as_bytes().to_vec()).await;
    drop(writer);
    let _ = written.await;
}
