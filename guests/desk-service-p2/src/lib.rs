//! A program of WASI 0.2 that exports functions too.

wit_bindgen::generate!({ path: "../desk-wit", world: "service-p2" });
export!(Service);
wasip2::cli::command::export!(Service);

use exports::test::desk::desk::{Guest, Parcel};

struct Service;

impl wasip2::exports::cli::run::Guest for Service {
    fn run() -> Result<(), ()> {
        let mut nothing = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut nothing).map(drop).map_err(drop)
    }
}

impl Guest for Service {
    fn pass(parcel: Parcel) -> Parcel {
        parcel
    }

    fn increment(by: u32) -> u32 {
        by
    }

    fn sum(_: Vec<u8>) -> u32 {
        0
    }

    fn fill(length: u32) -> Vec<u8> {
        vec![1; length as usize]
    }

    fn environment() -> Vec<(String, String)> {
        std::env::vars().collect()
    }

    fn spin(_: u64) {}

    fn fail() {
        core::arch::wasm32::unreachable()
    }
}
