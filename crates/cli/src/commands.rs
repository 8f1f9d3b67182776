//! The commands: each a function of its arguments, the settings and standard output.

mod apply;
mod cache;
mod delete;
mod describe;
mod events;
mod get;
mod inspect;
mod logs;
mod stop;
mod top;
mod up;
mod values;
mod version;

use std::io::Write;

use berth_node::api::Client;
use berth_node::telemetry;

use crate::args::values::Secret;
use crate::args::{Cli, Command, TextOrJson};
use crate::config::{self, Common, UpFlags};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Runs a command; what fails is told on standard error.
pub(crate) fn run(cli: Cli) -> Exit {
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure.message);
            failure.exit
        }
    }
}

/// An error for a person: `error: ` and the message, further lines indented.
fn tell(message: &str) {
    if message.is_empty() {
        return;
    }
    let text = format!("error: {}\n", message.replace('\n', "\n  "));
    // Standard error is the last place to complain about standard error.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    if let Command::Completions(args) = &cli.command {
        return completions(args.shell);
    }
    let no_flags = UpFlags::default();
    let up = match &cli.command {
        Command::Up(up) => Some(&up.flags),
        // What `up` would take from environment and file.
        Command::Inspect(_) => Some(&no_flags),
        _ => None,
    };
    let config = config::load(&cli.global, up)?;
    telemetry::init(&config.common.log).map_err(|error| Failure::new(Exit::Usage, berth_node::chain(&error)))?;
    let mut out = Output::new(config.common.color);
    if let Command::Cache { command } = &cli.command {
        return cache::run(command, &config.common.caches, &mut out);
    }
    if let Command::Secret { command: Secret::Discard(args) } = &cli.command {
        return values::discard(args.output, &config.common.data_dir, &mut out);
    }
    match (cli.command, config.up) {
        (Command::Up(args), Some(up)) => up::run(&args, up, &config.common, &mut out),
        (Command::Inspect(args), Some(up)) => runtime()?.block_on(inspect::run(&args, up, &config.common, &mut out)),
        (command, _) => runtime()?.block_on(ask(command, &config.common, &mut out)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failure, format!("can't start: {error}")))
}

/// The commands that talk to a running berth.
async fn ask(command: Command, common: &Common, out: &mut Output) -> Result<Exit, Failure> {
    let client = Client::new(&common.data_dir)?;
    match command {
        Command::Apply(args) => apply::run(&args, &client, out).await,
        Command::Get(args) => get::run(&args, &client, out).await,
        Command::Describe(args) => describe::run(&args, &client, out).await,
        Command::Delete(args) => delete::run(&args, &client, out).await,
        Command::Config { command } => values::config(command, &client, out).await,
        Command::Secret { command } => values::secret(command, &client, out).await,
        Command::Logs(args) => logs::run(&args, &client, out).await,
        Command::Events(args) => events::run(&args, &client, out).await,
        Command::Top(args) => top::run(&args, &client, out).await,
        Command::Drain(args) => stop::drain(args.output, &client, out).await,
        Command::Stop(args) => stop::stop(args.output, &client, out).await,
        Command::Version(args) => version::run(args.output, &client, out).await,
        Command::Up(_) | Command::Inspect(_) | Command::Completions(_) | Command::Cache { .. } => {
            unreachable!("these don't talk to a running berth")
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "berth", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Ok)
}

fn is_json(format: TextOrJson) -> bool {
    format == TextOrJson::Json
}

/// Wrong words on the command line that clap can't know.
fn usage(message: String) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Something that isn't refused and that a person should know of: `warning: ` and the message, on standard error.
fn warn(message: &str) {
    note(&format!("warning: {}", message.replace('\n', "\n  ")));
}

/// A remark on standard error.
fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
