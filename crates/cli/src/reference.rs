//! The reference of the command line as Markdown, made from the command line itself, so that it can't drift (L63).

use std::fmt::Write;

use clap::{Arg, Command};

use crate::config::{SETTINGS, Scope, Shape};
use crate::exit::Exit;

/// The whole of docs/cli.md.
pub fn markdown() -> String {
    let mut command = crate::command().term_width(100);
    command.build();
    let mut text = String::from(
        "# The `berth` command\n\n<!-- Made from the command line's own definition: `BLESS=1 cargo test -p berth-cli` writes it again. -->\n\n",
    );
    paragraph(
        &mut text,
        "`berth up` runs components on this machine. While it runs, the other commands talk to it over a socket in its data folder, \
                          which only its user can open.",
    );
    text.push_str("| command | what it does |\n|---|---|\n");
    for sub in subcommands(&command) {
        let _ = writeln!(text, "| [`berth {0}`](#berth-{0}) | {1} |", sub.get_name(), about(sub));
    }
    settings(&mut text);
    exit_codes(&mut text);
    for sub in subcommands(&command) {
        section(&mut text, "##", &format!("berth {}", sub.get_name()), sub);
    }
    text
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn paragraph(text: &mut String, words: &str) {
    text.push_str(words);
    text.push_str("\n\n");
}

fn settings(text: &mut String) {
    text.push_str("\n## Settings\n\n");
    paragraph(
        text,
        "Each can be given as a flag, as an environment variable, or as a key of the configuration file (TOML; `--config FILE`, `BERTH_CONFIG`, or \
         `$XDG_CONFIG_HOME/berth/config.toml`). A flag wins over the environment, that over the file, that over the default. An unknown key is an \
         error, and so is an unknown variable that begins with `BERTH_`, unless Kubernetes wrote it about a Service. `BERTH_LOG` takes a log filter in the notation of `tracing`, such as `berth_host=debug,warn`; `NO_COLOR` turns colors off.",
    );
    paragraph(text, "```toml\nhttp-addr = \"127.0.0.1:9000\"\nmemory = \"64Mi\"\nslots = 500\nno-wasi-p3 = true\n```");
    for (scope, title) in [(Scope::Global, "Of every command"), (Scope::Up, "Of `berth up`")] {
        let _ = writeln!(text, "### {title}\n\n| flag | variable | default | what it does |\n|---|---|---|---|");
        for setting in SETTINGS.iter().filter(|setting| setting.scope == scope) {
            let flag = match setting.shape {
                Shape::Value(word) => format!("--{} {word}", setting.name),
                Shape::Paths => format!("--{} PATH", setting.name),
                Shape::Switch => format!("--{}", setting.name),
                Shape::Count(short) => format!("-{short}, --{}", setting.name),
            };
            let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
            let _ = writeln!(text, "| `{flag}` | `{}` | {default} | {} |", setting.variable(), cell(setting.help));
        }
        text.push('\n');
    }
}

/// Text that a table's cell can hold.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn exit_codes(text: &mut String) {
    text.push_str("## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "| {} | {meaning} |", exit as u8);
    }
    text.push('\n');
}

/// A command with its title, and its own commands below it.
fn section(text: &mut String, level: &str, name: &str, command: &Command) {
    let _ = writeln!(text, "{level} {name}\n");
    paragraph(text, &format!("{}.", about(command)));
    let usage = command.clone().render_usage().to_string();
    paragraph(text, &format!("```text\n{}\n```", usage.trim()));
    let own = |arg: &&Arg| !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let own = |arg: &&Arg| own(arg) && !SETTINGS.iter().any(|setting| setting.name == arg.get_id().as_str());
    let arguments: Vec<&Arg> = command.get_arguments().filter(own).collect();
    for arg in &arguments {
        let _ = writeln!(text, "- `{}`: {}", form(arg), described(arg));
    }
    if !arguments.is_empty() {
        text.push('\n');
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let lines: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
        paragraph(text, &format!("```sh\n{}\n```", lines.join("\n")));
    }
    for sub in subcommands(command) {
        section(text, &format!("{level}#"), &format!("{name} {}", sub.get_name()), sub);
    }
}

fn form(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values())
        .map(|names| names.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
    let flags = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => return value.unwrap_or_default(),
    };
    value.map_or_else(|| flags.clone(), |value| format!("{flags} {value}"))
}

fn described(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().filter(|v| !v.is_hide_set()).map(|v| format!("`{}`", v.get_name())).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        let _ = write!(text, "; one of {}", values.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, "; default {}", defaults.join(", "));
    }
    text
}
