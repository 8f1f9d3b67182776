//! The `berth` command: arguments, environment and configuration file to checked settings, settings to work, work to output.
//!
//! Standard output carries what was asked for, and with `-o json` JSON alone; everything else goes to standard error (L61). Decisions are
//! [`config`]'s, work is `berth-node`'s; what is here is how a person says and sees it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod commands;
pub mod config;
mod exit;
mod output;
pub mod reference;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use exit::{Exit, Failure};

/// The whole command line, for help, completions and the reference in docs/.
pub fn command() -> clap::Command {
    args::Cli::command()
}

/// Runs the process's command line.
pub fn main() -> ExitCode {
    let color = config::color_before_parsing(std::env::args());
    let parsed = command().color(color).try_get_matches().and_then(|matches| args::Cli::from_arg_matches(&matches));
    let exit = match parsed {
        Ok(cli) => commands::run(cli),
        Err(error) => {
            // Help and version are answers, not errors; a reader that is gone needs none.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.code()
}
