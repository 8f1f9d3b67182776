//! Arguments of `berth config` and `berth secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{GetFormat, Namespaced, TextOrJson};

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Set values; what refers to them is replaced, step by step
    #[command(
        after_help = "Examples:\n  berth config set shop LOG_LEVEL=debug CURRENCY=EUR\n  berth config set shop --from-file rates.json\n  \
                            berth config set shop --from-env-file shop.env --replace\n  sort names.txt | berth config set shop --from-file NAMES=-"
    )]
    Set(Set),
    /// Show the values of one, or one value alone
    #[command(after_help = "Examples:\n  berth config get shop\n  berth config get shop LOG_LEVEL\n  berth config get shop -o json")]
    Get(ConfigGet),
    /// List them
    #[command(after_help = "Examples:\n  berth config list\n  berth config list -A -o json")]
    List(List),
    /// Delete one, or some of its values
    #[command(after_help = "Examples:\n  berth config delete shop LOG_LEVEL\n  berth config delete shop")]
    Delete(DeleteValues),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Set values; what refers to them is replaced, step by step
    #[command(
        after_help = "Examples:\n  berth secret set db --from-file PASSWORD=-              # typed or piped, so that no shell keeps it\n  \
                            berth secret set db USER=shop --from-file tls.key\n  berth secret set db --from-env-file db.env --replace\n  \
                            berth secret set pull --type kubernetes.io/dockerconfigjson --from-file .dockerconfigjson=$HOME/.docker/config.json"
    )]
    Set(SetSecret),
    /// Show the keys of one, or a value that is asked for by its key
    #[command(after_help = "Examples:\n  berth secret get db\n  berth secret get db --reveal PASSWORD")]
    Get(SecretGet),
    /// List them, without values
    #[command(after_help = "Examples:\n  berth secret list\n  berth secret list -A -o json")]
    List(List),
    /// Delete one, or some of its values
    #[command(after_help = "Examples:\n  berth secret delete db PASSWORD\n  berth secret delete db")]
    Delete(DeleteValues),
    /// Remove those that can't be opened, because their key is lost; no berth may run on the data folder
    #[command(after_help = "Example:\n  berth secret discard")]
    Discard(super::Plain),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Values; a value begins after the first `=`
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) values: Vec<String>,
    /// A value from a file, under its name or KEY; `KEY=-` is standard input; may be repeated
    #[arg(long, value_name = "[KEY=]FILE")]
    pub(crate) from_file: Vec<String>,
    /// Values from a file of lines KEY=VALUE, `-` for standard input; empty lines and those that begin with `#` don't count; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) from_env_file: Vec<PathBuf>,
    /// Remove the values that aren't given
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Output: text or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct SetSecret {
    #[command(flatten)]
    pub(crate) set: Set,
    /// What it holds, in Kubernetes' words; a new one is `Opaque`
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) secret_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigGet {
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Show the value under this key alone, as it is
    #[arg(value_name = "KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Output: text, or a map of the values
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ValuesFormat,
}

#[derive(Debug, Args)]
pub(crate) struct SecretGet {
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Show the value under this key, as it is
    #[arg(long, value_name = "KEY")]
    pub(crate) reveal: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Output: text, or a map of the values, which are null where they aren't revealed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ValuesFormat,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Those of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: GetFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteValues {
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Delete the values under these keys alone
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Take it as done when it isn't there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

/// Output of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ValuesFormat {
    /// For a person
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}
