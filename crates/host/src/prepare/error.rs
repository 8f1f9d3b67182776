//! Why a workload can't be prepared: in words that name the component and the way out, and in one word for conditions and events.

use berth_link::{ComposeError, LinkError, ReadError, Unit};
use berth_model::workload;
use berth_oci::FetchError;

use super::provided::provided_packages;
use crate::compile::CompileError;
use crate::intake::NotAComponent;
use crate::volumes::VolumeError;

/// Why a workload can't be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("component {component}: {source}")]
    Fetch { component: String, source: FetchError },
    #[error("component {component} ({image}): {source}")]
    Intake { component: String, image: String, source: NotAComponent },
    #[error(
        "component {component} needs WASI 0.3 ({import}), which this host does not run: start it without --no-wasi-p3, or build the component for WASI 0.2"
    )]
    P3Off { component: String, import: String },
    #[error("component {component} isn't compiled yet: {message}")]
    CompileQueueFull { component: String, message: String },
    #[error("component {component}: compiling failed: {message}")]
    Compile { component: String, message: String },
    #[error(
        "component {component} imports {}, and this host provides {}: add a component that exports it to the workload, or build this one without",
        imports.join(", "), provided_packages()
    )]
    MissingImport { component: String, imports: Vec<String> },
    #[error(
        "component {component} has a table of {elements} elements, and this host's largest is {largest}: start it with --table-elements {elements}, or more"
    )]
    TableTooLarge { component: String, elements: u64, largest: u32 },
    #[error("component {component} can't be linked: {message}")]
    Link { component: String, message: String },
    #[error("component {component}: {source}")]
    Unreadable { component: String, source: ReadError },
    #[error(transparent)]
    Linking(Box<LinkError>),
    /// `with` names whom, or says that it is all of them.
    #[error("component {component} can't be composed with {with}: {source}")]
    Compose { component: String, with: String, source: ComposeError },
    #[error(
        "no component exports HTTP: {} wasi:http/incoming-handler (0.2) or wasi:http/handler (0.3); {}", .expected, exported(.found)
    )]
    NoHttpExport { expected: &'static str, found: Vec<(String, Vec<String>)> },
    #[error("several components export HTTP ({}): name the one that answers with config.component of the wasi:http host interface", .0.join(", "))]
    SeveralEntries(Vec<String>),
    #[error("the wasi:http host interface names component {0:?} in config.component, and the workload has no HTTP component of that name")]
    NoSuchEntry(String),
    #[error(
        "the service exports no wasi:cli/run but {}: give a program, such as a Rust binary built for the target wasm32-wasip2, or list it under components",
        if .0.is_empty() { "nothing".into() } else { .0.join(", ") }
    )]
    NoRunExport(Vec<String>),
    #[error("this host runs {0} services already, which is as many as it may (services)")]
    ServiceLimit(u32),
    #[error("volume {volume}: {source}")]
    Volume { volume: String, source: VolumeError },
}

impl PrepareError {
    pub(crate) fn of_compile(error: CompileError, spec: &workload::Component) -> PrepareError {
        let component = spec.name.clone();
        match error {
            CompileError::NotAComponent(source) => PrepareError::Intake { component, image: spec.image.to_string(), source },
            CompileError::P3Off(import) => PrepareError::P3Off { component, import },
            CompileError::MissingImport(imports) => PrepareError::MissingImport { component, imports },
            CompileError::TableTooLarge { elements, largest } => PrepareError::TableTooLarge { component, elements, largest },
            CompileError::QueueFull(_) => PrepareError::CompileQueueFull { component, message: error.to_string() },
            CompileError::Compose(source) => PrepareError::Compose { component, with: "those that it is linked to".to_owned(), source },
            CompileError::Failed(message) => PrepareError::Compile { component, message },
        }
    }

    /// What went wrong with `unit`: told of the component that it is about, or of the root. `spec` has the components of the plan. The error
    /// may be one that another workload met, whose plan has other numbers; the seats are the same.
    pub(crate) fn of_unit<'a>(error: CompileError, unit: &Unit, spec: &dyn Fn(usize) -> &'a workload::Component) -> PrepareError {
        let member = |seat: usize| unit.members.get(seat).map(|part| spec(*part));
        let (about, exporter) = match &error {
            CompileError::Compose(ComposeError::Link { importer, exporter, .. }) => (member(*importer), member(*exporter)),
            CompileError::Compose(source) => (source.seat().and_then(member), None),
            _ => (None, None),
        };
        let mut told = PrepareError::of_compile(error, about.unwrap_or_else(|| spec(unit.root)));
        if let (PrepareError::Compose { with, .. }, Some(exporter)) = (&mut told, exporter) {
            with.clone_from(&exporter.name);
        }
        told
    }

    /// Why, in one CamelCase word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            PrepareError::Fetch { .. } => "ImagePullFailed",
            PrepareError::Intake { .. } => "InvalidComponent",
            PrepareError::P3Off { .. } => "WasiP3Disabled",
            PrepareError::CompileQueueFull { .. } => "CompileQueueFull",
            PrepareError::Compile { .. } => "CompileFailed",
            PrepareError::MissingImport { .. } => "MissingImport",
            PrepareError::TableTooLarge { .. } => "TableLimit",
            PrepareError::Link { .. } | PrepareError::Compose { .. } => "LinkFailed",
            PrepareError::Unreadable { .. } => "InvalidComponent",
            PrepareError::Linking(error) => error.reason(),
            PrepareError::NoHttpExport { .. } => "NoHttpExport",
            PrepareError::SeveralEntries(_) | PrepareError::NoSuchEntry(_) => "AmbiguousEntry",
            PrepareError::NoRunExport(_) => "NoRunExport",
            PrepareError::ServiceLimit(_) => "ServiceLimit",
            PrepareError::Volume { source, .. } => source.reason(),
        }
    }
}

fn exported(found: &[(String, Vec<String>)]) -> String {
    let list: Vec<String> = found
        .iter()
        .map(|(name, exports)| {
            format!("component {name} exports {}", if exports.is_empty() { "nothing".into() } else { exports.join(", ") })
        })
        .collect();
    list.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::image::ImageRef;
    use berth_model::resource::PullPolicy;
    use berth_model::workload::{Component, Resources, Reuse};

    #[test]
    fn what_keeps_components_from_being_composed_is_told_of_the_one_that_it_is_about() {
        let named = |name: &str| Component {
            name: name.to_owned(),
            image: ImageRef::parse("file:///a.wasm").unwrap(),
            pull_policy: PullPolicy::IfNotPresent,
            pull_credentials: None,
            reuse: Reuse::default(),
            resources: Resources::default(),
            links: Vec::new(),
        };
        let all = ["lib", "front"].map(named);
        let told = |error: ComposeError| {
            PrepareError::of_unit(error.into(), &Unit { root: 1, members: vec![1, 0] }, &|part| &all[part]).to_string()
        };
        let undivided = ComposeError::Undivided { seat: 1, message: "it passes a:b/c on".to_owned() };
        assert!(told(undivided).starts_with("component lib can't be composed with those that it is linked to: it can't have sockets"));
        let link = ComposeError::Link { importer: 0, import: "a:b/c".to_owned(), exporter: 1, message: "it differs".to_owned() };
        assert!(told(link).starts_with("component front can't be composed with lib: its import `a:b/c` doesn't fit"));
        for of_all in [ComposeError::TooLarge { bytes: 1 }, ComposeError::NoBytes { seat: 2 }] {
            assert!(told(of_all).starts_with("component front can't be composed"), "the root stands for all, and for what isn't there");
        }
    }
}
