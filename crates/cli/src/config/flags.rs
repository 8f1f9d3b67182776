//! Settings as flags, made from the table. Their values are checked later, together with those from elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::error::Error;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::table::{SETTINGS, Scope, Setting, Shape};

/// Settings given as flags: name to text.
pub(crate) type Given = BTreeMap<&'static str, String>;

/// Flags of every command.
#[derive(Clone, Debug, Default)]
pub struct GlobalFlags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    pub(crate) values: Given,
}

/// Flags of `up`.
#[derive(Clone, Debug, Default)]
pub struct UpFlags {
    pub(crate) values: Given,
}

fn of(scope: Scope) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.scope == scope)
}

fn argument(setting: &Setting) -> Arg {
    let arg = Arg::new(setting.name).long(setting.name).global(setting.scope == Scope::Global);
    let heading = if setting.scope == Scope::Global { "Global options" } else { "Settings" };
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    let arg = arg.help(format!("{}{default}", setting.help)).help_heading(heading);
    match setting.shape {
        Shape::Value(word) => arg.value_name(word).action(ArgAction::Set),
        Shape::Paths => arg.value_name("PATH").action(ArgAction::Append),
        Shape::Switch => arg.action(ArgAction::SetTrue),
        Shape::Count(short) => arg.short(short).action(ArgAction::Count),
    }
}

fn given(scope: Scope, matches: &ArgMatches) -> Given {
    let text = |setting: &Setting| match setting.shape {
        Shape::Value(_) => matches.get_one::<String>(setting.name).cloned(),
        Shape::Paths => matches.get_many::<String>(setting.name).map(|paths| paths.cloned().collect::<Vec<_>>().join(":")),
        Shape::Switch => matches.get_flag(setting.name).then(|| "true".to_owned()),
        Shape::Count(_) => Some(matches.get_count(setting.name)).filter(|n| *n > 0).map(|n| n.to_string()),
    };
    of(scope).filter_map(|setting| Some((setting.name, text(setting)?))).collect()
}

impl Args for GlobalFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .global(true)
            .help_heading("Global options")
            .help(
                "Configuration file (TOML) [default: $XDG_CONFIG_HOME/berth/config.toml, or ~/.config/berth/config.toml, if it is there]",
            );
        command.arg(config).args(of(Scope::Global).map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GlobalFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(GlobalFlags { config: matches.get_one::<PathBuf>("config").cloned(), values: given(Scope::Global, matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for UpFlags {
    fn augment_args(command: Command) -> Command {
        command.args(of(Scope::Up).map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for UpFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(UpFlags { values: given(Scope::Up, matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
