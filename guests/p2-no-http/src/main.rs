//! A command: exports wasi:cli/run and no HTTP handler, so no workload can serve with it.

fn main() {
    println!("Hello from a command!");
}
