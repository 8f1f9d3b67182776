//! The one place that turns what users wrote into what runs.
//!
//! Two questions, asked with the same rules. [`resource`]: may this object be stored? Its references need not resolve yet.
//! [`workload`]: what is there to run? Every reference must resolve, and the result needs no further check. Both
//! report everything that is wrong at once, each fault with its field.

mod checker;
mod component;
mod config;
mod credentials;
mod http;
mod interfaces;
mod kinds;
mod limits;
mod links;
mod names;
mod remarks;
mod volumes;

use std::collections::BTreeMap;
use std::fmt;

use crate::path::Path;
use crate::resource::{ObjectMeta, Resource, SecretData, WorkloadSpec};
use crate::workload::{HttpEntry, Workload};
use checker::Checker;

pub use checker::MAX_REPLICAS;
pub use component::DEFAULT_MAX_RESTARTS;
pub use interfaces::MAX_INTERFACES;
pub use kinds::MAX_DATA;
pub use links::MAX_LINKS;
pub use names::{is_dns_label, is_dns_subdomain};
pub use remarks::remarks;

/// What references of a workload lead to.
pub trait Lookup {
    /// The data of the ConfigMap `name`.
    fn config_map(&self, namespace: &str, name: &str) -> Option<&BTreeMap<String, String>>;
    /// The data of the Secret `name`.
    fn secret(&self, namespace: &str, name: &str) -> Option<&SecretData>;
    /// The image that `artifact://NAME` stands for.
    fn artifact(&self, namespace: &str, name: &str) -> Option<String>;
    /// The Secret that the artifact names to pull its image with.
    fn artifact_pull_secret(&self, _namespace: &str, _name: &str) -> Option<&str> {
        None
    }
}

/// Checks a workload by every rule and resolves its references: what hosts run.
pub fn workload(meta: &ObjectMeta, spec: &WorkloadSpec, lookup: &dyn Lookup) -> Result<Workload, InvalidSpec> {
    let mut checker = Checker::new(&meta.namespace, Some(lookup));
    kinds::metadata(&mut checker, meta);
    let workload = kinds::workload(&mut checker, meta, spec, &Path::Root.field("spec"));
    checker.finish(workload)
}

/// Checks an object as far as that goes without other objects: names, numbers, structure, texts with a grammar.
pub fn resource(resource: &Resource) -> Result<(), InvalidSpec> {
    let meta = resource.metadata();
    let mut checker = Checker::new(&meta.namespace, None);
    kinds::metadata(&mut checker, meta);
    kinds::resource(&mut checker, resource);
    checker.finish(())
}

/// How HTTP requests reach a workload, as far as its spec says so without other objects. `None` when it serves no HTTP.
pub fn http_entry(meta: &ObjectMeta, spec: &WorkloadSpec) -> Result<Option<HttpEntry>, InvalidSpec> {
    let mut checker = Checker::new(&meta.namespace, None);
    let path = Path::Root.field("spec");
    let mut interfaces = interfaces::check(&mut checker, &spec.host_interfaces, &path);
    let entry = http::entry(&mut checker, spec, &mut interfaces, &path);
    checker.finish(entry)
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field: `spec.components[0].image`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// One thing that is valid and that a person should know of: what it says has no effect, or not the one that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The field: `spec.components[0].image`.
    pub field: String,
    /// What it comes to, and what to do.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything that is wrong with an object; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidSpec(pub Vec<Invalid>);

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, invalid) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            invalid.fmt(f)?;
        }
        Ok(())
    }
}
