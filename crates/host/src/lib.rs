//! Runs workloads on Wasmtime and answers HTTP requests in component instances.
