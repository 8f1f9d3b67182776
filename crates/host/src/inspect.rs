//! What a workload comes to before anything of it runs: who provides what to whom, what each component may do, what is denied.
//!
//! [`inspect`] fetches and reads components and looks at the folders of volumes as preparing does, compiles nothing and makes nothing. The value
//! that it gives is made by a pure function of what was read, the plan and the host's rules ([`build`]). It holds no value of an environment variable or of `wasi:config`: they may
//! come from Secrets.

mod build;
mod denied;
mod granted;
mod read;

use berth_model::workload::Workload;
use berth_oci::Source;
use serde::{Deserialize, Serialize};

use crate::config::HostConfig;
use crate::volumes;

pub use granted::{Granted, GrantedLimits, GrantedVolume, Variable};

/// A workload, seen before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    /// What keeps it from running; empty: nothing that can be known before it is compiled.
    pub problems: Vec<Problem>,
    /// How HTTP reaches it, if it is to answer any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Door>,
    /// Its components in the manifest's order, then its service.
    pub components: Vec<InspectedComponent>,
    /// Imports that siblings satisfy; none while a problem keeps it from being planned.
    pub links: Vec<InspectedLink>,
    /// What runs as one, by root; empty as well then.
    pub units: Vec<InspectedUnit>,
}

/// Something that keeps a workload from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// In one CamelCase word, as a condition's reason.
    pub reason: String,
    /// What it is, of which component, and the way out.
    pub message: String,
}

/// How HTTP reaches a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Door {
    /// The domains; empty: all that no other workload claims.
    pub domains: Vec<String>,
    /// The component that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// One component, or the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedComponent {
    /// Its name; the service's is `service`.
    pub name: String,
    /// `component` or `service`.
    pub role: String,
    /// Where its bytes come from.
    pub image: String,
    /// Their digest; none if they couldn't be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How many they are.
    pub bytes: u64,
    /// Versions of WASI that it imports or exports: `0.2`, `0.3`.
    pub wasi: Vec<String>,
    /// The export by which it answers HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_http: Option<String>,
    /// The export by which it runs as a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports, and from whom.
    pub imports: Vec<InspectedImport>,
    /// Names under which it may call components of its workload over HTTP.
    pub calls: Vec<String>,
    /// What it was given.
    pub granted: Granted,
    /// What it can ask for and doesn't get.
    pub denied: Vec<Denied>,
}

/// An import and who provides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedImport {
    /// Its name.
    pub name: String,
    /// Who provides it.
    pub from: Provider,
    /// The component's name, of one that provides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Whether it is bound to this component's own grants; if not, components that run as one share it.
    pub own: bool,
}

/// Who provides an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The host.
    Host,
    /// Another component of the workload.
    Component,
    /// It holds types alone, which need nobody.
    Types,
    /// Nobody: a problem says so.
    Nobody,
    /// Not known while a problem keeps the workload from being planned.
    Undecided,
}

/// An import that a sibling satisfies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedLink {
    /// Who imports.
    pub importer: String,
    /// What.
    pub import: String,
    /// Who exports it.
    pub exporter: String,
    /// Under which name.
    pub export: String,
    /// How calls get there: `fused`, `bridged` or `copied`.
    pub way: String,
    /// Why so.
    pub why: String,
}

/// Components that are compiled and instantiated as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedUnit {
    /// The one whose exports are the whole's.
    pub root: String,
    /// Those that are fused with it.
    pub with: Vec<String>,
}

/// Something that a component imports a way to, and was given nothing of; or that its manifest gives, and the host's owner doesn't.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// What: `outgoing HTTP`.
    pub what: String,
    /// What that comes to.
    pub why: String,
    /// What would allow it, in the manifest or of the host's owner.
    pub grant: String,
}

/// What `workload` comes to on a host of `config`, with images from `source`. Reads on threads where it may block, and takes some
/// milliseconds per component, and the time to pull what isn't there.
pub async fn inspect(workload: Workload, source: &dyn Source, config: &HostConfig) -> Inspected {
    let (rules, allowed) = (build::Rules::of(config), config.volumes.clone());
    let fetched = read::fetch(&workload, source).await;
    let read = tokio::task::spawn_blocking(move || {
        let seen = read::read(fetched);
        let plan = read::plan(&workload, &seen);
        let refused = volumes::check(&allowed, &workload.volumes);
        build::build(&workload, &seen, plan, refused, &rules)
    });
    read.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}
