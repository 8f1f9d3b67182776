//! The command line's form. Settings, which may also stand in the environment or a file, come from [`crate::config::SETTINGS`].

pub(crate) mod values;

use std::path::PathBuf;

use berth_node::model::resource::Kind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{GlobalFlags, UpFlags};
use crate::exit::Exit;

/// Runs WebAssembly components as cloud workloads.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    about = "Runs WebAssembly components as cloud workloads",
    long_about = "Runs WebAssembly components as cloud workloads.\n\n`berth up hello.wasm` runs one on this machine; while it runs, the other \
                  commands talk to it over a socket in its data folder.",
    after_long_help = after_help(),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 120
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_help() -> String {
    let mut text = String::from(
        "Settings: a flag wins over the environment (BERTH_ and the flag's name: BERTH_HTTP_ADDR), that over the configuration file (the flag's \
         name without dashes before it: http-addr = \"127.0.0.1:8000\"), that over the default.\n\nExit codes:",
    );
    for (exit, meaning) in Exit::ALL {
        text.push_str(&format!("\n  {:<4} {meaning}", exit as u8));
    }
    text
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run components on this machine: operator, host and store in one process
    #[command(
        after_help = "Examples:\n  berth up hello.wasm\n  berth up ./shop --http-addr 127.0.0.1:9000\n  berth up ghcr.io/me/hello:1.0\n  berth up -f shop.yaml -f more/\n  \
                            berth up                     # again what was applied before"
    )]
    Up(Up),
    /// Apply manifests to the running berth
    #[command(after_help = "Examples:\n  berth apply -f shop.yaml\n  berth apply -f shop.yaml --wait\n  cat shop.yaml | berth apply -f -")]
    Apply(Apply),
    /// Show objects
    #[command(
        after_help = "Examples:\n  berth get workloads\n  berth get deployment shop -o yaml\n  berth get all -A\n  berth get ww --watch"
    )]
    Get(Get),
    /// Show everything about one object: fields, conditions, what it owns, events
    #[command(after_help = "Examples:\n  berth describe deployment shop\n  berth describe host berth -n default")]
    Describe(Describe),
    /// Show what a workload comes to: who provides what to whom, what each component may do, what is denied
    #[command(
        after_help = "Examples:\n  berth inspect hello.wasm\n  berth inspect ./shop                 # a folder, also where an object has that name\n  \
                            berth inspect shop.yaml -o json\n  berth inspect shop                   # what is applied, where no such file is\n  \
                            berth inspect deployment/shop        # what is applied in any case"
    )]
    Inspect(Inspect),
    /// Delete objects and what they own
    #[command(
        after_help = "Examples:\n  berth delete deployment shop\n  berth delete deployment/shop configmap/shop-settings\n  berth delete -f shop.yaml"
    )]
    Delete(Delete),
    /// Set, show and delete ConfigMaps: values that workloads are configured with
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Config {
        #[command(subcommand)]
        command: values::Config,
    },
    /// Set, show and delete Secrets: values that are sealed on disk and shown only when asked for
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Secret {
        #[command(subcommand)]
        command: values::Secret,
    },
    /// Show what components print, and what the host says about them
    #[command(
        after_help = "Examples:\n  berth logs shop\n  berth logs -f --tail 20 deployment/shop\n  berth logs shop -o json | jq -r .text"
    )]
    Logs(Logs),
    /// Show what happened
    #[command(after_help = "Examples:\n  berth events\n  berth events -f\n  berth events -n shop -o json")]
    Events(Events),
    /// Show requests, latency and memory of what runs
    #[command(after_help = "Examples:\n  berth top\n  berth top -o json")]
    Top(Top),
    /// Show, empty or check the caches of images and compiled code
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "Examples:\n  berth cache ls\n  berth cache prune --unused-for 168h\n  berth cache prune --to 1Gi\n  berth cache verify"
    )]
    Cache {
        #[command(subcommand)]
        command: Cache,
    },
    /// Close the port and finish the requests under way; the process stays
    #[command(after_help = "Example:\n  berth drain && berth stop")]
    Drain(Plain),
    /// Drain, and end the running berth
    #[command(after_help = "Example:\n  berth stop")]
    Stop(Plain),
    /// Print a shell's completions
    #[command(after_help = "Examples:\n  berth completions bash > ~/.local/share/bash-completion/completions/berth\n  \
                            berth completions zsh > ~/.zfunc/_berth\n  berth completions fish > ~/.config/fish/completions/berth.fish")]
    Completions(Completions),
    /// Print the version of this command, and of the running berth
    #[command(after_help = "Examples:\n  berth version\n  berth version -o json")]
    Version(Version),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Components, manifests, OCI layout folders, folders with one of these, or images in a registry (REGISTRY/REPOSITORY:TAG); nothing:
    /// what was applied before
    #[arg(value_name = "PATH|IMAGE")]
    pub(crate) paths: Vec<PathBuf>,
    /// Manifests: a file, a folder, or `-` for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: UpFlags,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Manifests: a file, a folder, or `-` for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Wait until everything applied is ready
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration, requires = "wait")]
    pub(crate) timeout: std::time::Duration,
    /// Output: text or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct Namespaced {
    /// Namespace
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Kind: deployment (wd), replicaset (wrs), workload (ww), host, artifact, configmap (cm), secret, or all; or KIND/NAME
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,
    /// Name of one object
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Objects of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: GetFormat,
    /// Go on and show changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Kind, or KIND/NAME
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,
    /// Name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A component, a manifest, an OCI layout folder, a folder with one of these, or an image in a registry, as `berth up` takes them, read
    /// without a running berth; else the name of a deployment, a replica set or a workload of the running one, also KIND/NAME, or KIND
    /// NAME. A path that is there goes before a name; `./` makes it a path, KIND/NAME an object. Exits with 1 if the workload can't run
    #[arg(value_name = "PATH|NAME")]
    pub(crate) subject: String,
    /// Name, where a kind stands before it
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Output: text, or an object whose `workloads` are all that was inspected
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: values::ValuesFormat,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// KIND NAME..., or KIND/NAME...
    #[arg(value_name = "OBJECT", required_unless_present = "files", conflicts_with = "files")]
    pub(crate) objects: Vec<String>,
    /// Manifests whose objects to delete: a file, a folder, or `-` for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Take it as done when an object isn't there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of a deployment, a replica set or a workload; also KIND/NAME, or KIND NAME
    #[arg(value_name = "OBJECT")]
    pub(crate) object: String,
    /// Name, where OBJECT is a kind
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) namespaced: Namespaced,
    /// Go on and show lines as they are written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Lines from before; of each workload the last 1000 are kept
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) tail: usize,
    /// Output: text or JSON lines
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Namespace; all when absent
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Go on and show events as they come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Output: text or JSON lines
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Namespace; all when absent
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Output: text or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// List what is cached, the most recently used first
    #[command(after_help = "Examples:\n  berth cache ls\n  berth cache ls -o json | jq '.[].digest'")]
    Ls(Plain),
    /// Remove what isn't needed; what runs goes on running
    #[command(after_help = "Examples:\n  berth cache prune --unused-for 168h\n  berth cache prune --to 1Gi\n  berth cache prune --all")]
    Prune(Prune),
    /// Check every file, and remove those that are damaged or not authentic
    #[command(after_help = "Example:\n  berth cache verify")]
    Verify(Plain),
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
pub(crate) struct Prune {
    /// Remove everything
    #[arg(long, group = "what")]
    pub(crate) all: bool,
    /// Remove what wasn't used for so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, group = "what")]
    pub(crate) unused_for: Option<std::time::Duration>,
    /// Remove what was used longest ago, until each of the two caches takes so many bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, group = "what")]
    pub(crate) to: Option<u64>,
    /// Output: text or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Output: text or JSON lines
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Output: text or JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOrJson,
}

/// Output of most commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// Output of `get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetFormat {
    /// The columns that matter
    Table,
    /// All columns
    Wide,
    /// KIND/NAME, one a line
    Name,
    /// The objects, as JSON
    Json,
    /// The objects, as YAML
    Yaml,
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    berth_node::model::quantity::parse_duration(text).map_err(|e| e.to_string())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    berth_node::model::quantity::parse_bytes(text).map_err(|e| e.to_string())
}

/// Kinds and a name from `KIND [NAME]` or `KIND/NAME`; several kinds for `all`.
pub(crate) fn kinds(word: &str, name: Option<&str>) -> Result<(Vec<Kind>, Option<String>), String> {
    let (word, name) = match (word.split_once('/'), name) {
        (Some((_, slashed)), Some(name)) => return Err(format!("two names are given, {slashed} and {name}: name objects one by one")),
        (Some((word, slashed)), None) => (word, Some(slashed.to_owned())),
        (None, name) => (word, name.map(str::to_owned)),
    };
    if word == "all" {
        return match name {
            None => Ok((Kind::ALL.to_vec(), None)),
            Some(name) => Err(format!("`all` takes no name: say which kind {name} is")),
        };
    }
    let word = word.strip_suffix(".runtime.wasmcloud.dev").unwrap_or(word);
    match Kind::from_word(word) {
        Some(kind) => Ok((vec![kind], name)),
        None => Err(format!("there is no kind `{word}`: {}, or all", kind_words())),
    }
}

fn kind_words() -> String {
    Kind::ALL.map(|kind| kind.as_str().to_ascii_lowercase()).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        crate::command().debug_assert();
    }

    #[test]
    fn a_kind_and_name_are_read_in_every_form() {
        let one = (vec![Kind::WorkloadDeployment], Some("shop".to_owned()));
        assert_eq!(kinds("wd", Some("shop")).unwrap(), one);
        assert_eq!(kinds("deployment/shop", None).unwrap(), one);
        assert_eq!(kinds("workloaddeployment.runtime.wasmcloud.dev/shop", None).unwrap(), one);
        assert_eq!(kinds("all", None).unwrap().0.len(), Kind::ALL.len());
        assert!(kinds("deploy/shop", Some("x")).unwrap_err().contains("two names"));
        assert!(kinds("pod", None).unwrap_err().contains("workloaddeployment"));
    }
}
