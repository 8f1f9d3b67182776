//! Does what `DO` says; README.md lists it.

use std::io::Read;
use std::time::Duration;

fn main() {
    let what = std::env::var("DO").unwrap_or_default();
    println!("begins: {what}");
    match what.as_str() {
        "wait" => {
            let mut nothing = Vec::new();
            let read = std::io::stdin().read_to_end(&mut nothing);
            println!("told to end: {read:?}");
        }
        "ignore" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "spin" => loop {
            std::hint::black_box(0);
        },
        "exit" => {
            std::thread::sleep(Duration::from_millis(number("MS")));
            eprintln!("gives up");
            std::process::exit(1);
        }
        "trap" => {
            let zero = std::hint::black_box(0_u32);
            println!("{}", divide(1, zero));
        }
        "leak" => loop {
            std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
        },
        "write" => {
            let path = std::env::var("TO").unwrap_or_default();
            println!("wrote: {:?}", std::fs::write(path, "by the service"));
            std::thread::sleep(Duration::from_secs(3600));
        }
        "environment" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        _ => {}
    }
}

/// Traps for zero by the instruction itself, in a frame that the backtrace names.
#[inline(never)]
fn divide(one: u32, zero: u32) -> u32 {
    if zero == 0 { core::arch::wasm32::unreachable() } else { one / zero }
}

fn number(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(0)
}
