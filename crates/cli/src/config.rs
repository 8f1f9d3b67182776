//! Settings: one table of names, four places to give them, one set of checked values.
//!
//! Raw, then validated, then run: [`values`] gathers what flags, environment and file say, the strongest first; [`validated`] turns it
//! into what the node takes and reports all that is wrong at once (L60).

mod environment;
mod file;
mod flags;
mod table;
mod validated;
mod values;

use std::path::PathBuf;

use crate::exit::{Exit, Failure};

pub use flags::{GlobalFlags, UpFlags};
pub use table::{SETTINGS, Scope, Setting, Shape};
pub use validated::{Common, Up};
use values::Values;

/// What to run with.
#[derive(Debug)]
pub struct Config {
    /// For every command.
    pub common: Common,
    /// For `up`.
    pub up: Option<Up>,
}

/// Settings of a command; `up`'s when its flags are given.
///
/// # Errors
///
/// All that is wrong in flags, environment and file, in one message.
pub fn load(global: &GlobalFlags, up: Option<&UpFlags>) -> Result<Config, Failure> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = global.config.clone().or_else(|| environment("BERTH_CONFIG").map(PathBuf::from));
    let mut errors = environment::check(std::env::vars_os());
    let file = match file::read(named.as_deref(), file::default_path().as_deref()) {
        Ok(file) => file,
        Err(mut found) => {
            errors.append(&mut found);
            file::ConfigFile::default()
        }
    };
    let mut flags = global.values.clone();
    flags.extend(up.iter().flat_map(|up| up.values.clone()));
    let values = Values::gather(&flags, &environment, file);
    let common = validated::common(&values, &environment, &mut errors);
    let up = up.map(|_| validated::up(&values, &common, &mut errors));
    if errors.is_empty() {
        return Ok(Config { common, up });
    }
    Err(Failure::new(Exit::Usage, errors.join("\n")))
}

/// Whether help and usage errors are colored, before the arguments are known to be right.
pub(crate) fn color_before_parsing(arguments: impl Iterator<Item = String>) -> clap::ColorChoice {
    let arguments: Vec<String> = arguments.collect();
    let given = arguments.iter().enumerate().find_map(|(i, argument)| match argument.strip_prefix("--color") {
        Some("") => arguments.get(i + 1).cloned(),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    match given.or_else(|| std::env::var("BERTH_COLOR").ok()).as_deref() {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ if validated::no_color() => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
}
