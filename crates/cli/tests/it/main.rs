//! The `berth` command as a person and a script see it: exit code, standard output, standard error.

#![allow(clippy::unwrap_used)]

mod bounds;
mod cache;
mod errors;
mod examples;
mod help;
mod inspect;
mod killed;
mod life;
mod metrics;
mod output;
mod process;
mod settings;
mod silent;
mod ticks;
mod tls;
mod values;
mod volumes;
mod warnings;
