//! The columns of each kind: what `kubectl get` shows of it, and with `wide` what else helps.

use berth_node::model::condition::{self, Condition, ConditionStatus};
use berth_node::model::resource::{Kind, Resource, WorkloadSpec};
use jiff::Timestamp;

use super::{Tone, age, size};

/// A column: its header, whether only `wide` shows it, and its cell.
pub(crate) struct Column {
    pub(crate) header: &'static str,
    wide: bool,
    cell: fn(&Resource, Timestamp) -> String,
}

impl Column {
    /// The cell of an object, with its tone.
    pub(crate) fn cell(&self, resource: &Resource, now: Timestamp) -> (String, Option<Tone>) {
        let text = (self.cell)(resource, now);
        let tone = match (self.header, text.as_str()) {
            ("READY", "True") | ("STATUS", "Ready") => Some(Tone::Good),
            ("READY", "False") => Some(Tone::Bad),
            ("READY", "Unknown") | ("STATUS", _) => Some(Tone::Warn),
            _ => None,
        };
        (text, tone)
    }
}

const fn always(header: &'static str, cell: fn(&Resource, Timestamp) -> String) -> Column {
    Column { header, wide: false, cell }
}

const fn wide(header: &'static str, cell: fn(&Resource, Timestamp) -> String) -> Column {
    Column { header, wide: true, cell }
}

const NAME: Column = always("NAME", |r, _| r.metadata().name.clone());
const AGE: Column = always("AGE", |r, now| age(r.metadata().creation_timestamp, now));
const READY: Column = always("READY", |r, _| ready(r));
const STATUS: Column = always("STATUS", |r, _| status(r));
const IMAGES: Column = wide("IMAGES", |r, _| spec_of(r).map_or_else(String::new, images));
const DOMAINS: Column = wide("DOMAINS", |r, _| spec_of(r).map_or_else(String::new, domains));

const DEPLOYMENT: &[Column] =
    &[NAME, always("READY", |r, _| ready_of(r)), STATUS, AGE, wide("REPLICASET", |r, _| current_set(r)), IMAGES, DOMAINS];
const REPLICA_SET: &[Column] = &[
    NAME,
    always("DESIRED", |r, _| counts(r).map_or_else(String::new, |c| c[0].to_string())),
    always("CURRENT", |r, _| counts(r).map_or_else(String::new, |c| c[1].to_string())),
    always("READY", |r, _| counts(r).map_or_else(String::new, |c| c[2].to_string())),
    AGE,
    IMAGES,
];
const WORKLOAD: &[Column] = &[NAME, always("HOSTID", |r, _| host_id(r)), READY, STATUS, AGE, IMAGES, DOMAINS];
const HOST: &[Column] = &[
    NAME,
    always("HOSTID", |r, _| host_id(r)),
    always("HOSTGROUP", |r, _| r.metadata().labels.get("hostgroup").cloned().unwrap_or_default()),
    always("ENVIRONMENT", |r, _| host(r).map_or_else(String::new, |h| h.spec.environment.clone())),
    READY,
    AGE,
    wide("ADDRESS", |r, _| host(r).map_or_else(String::new, |h| format!("{}:{}", h.spec.hostname, h.spec.http_port))),
    wide("WORKLOADS", |r, _| host(r).map_or_else(String::new, |h| h.status.workload_count.to_string())),
    wide("COMPONENTS", |r, _| host(r).map_or_else(String::new, |h| h.status.component_count.to_string())),
    wide("CPU%", |r, _| host(r).map_or_else(String::new, |h| h.status.system_cpu_usage.clone())),
    wide("MEMORY-FREE", |r, _| host(r).map_or_else(String::new, |h| size(h.status.system_memory_free.max(0) as u64))),
    wide("VERSION", |r, _| host(r).map_or_else(String::new, |h| h.status.version.clone())),
];
const ARTIFACT: &[Column] = &[NAME, always("URL", |r, _| artifact_url(r)), READY, AGE];
const CONFIG_MAP: &[Column] = &[NAME, always("DATA", |r, _| data_count(r)), AGE];
const SECRET: &[Column] = &[NAME, always("TYPE", |r, _| secret_type(r)), always("DATA", |r, _| data_count(r)), AGE];

/// The columns of a kind.
pub(crate) fn columns(kind: Kind, with_wide: bool) -> impl Iterator<Item = &'static Column> {
    let all = match kind {
        Kind::WorkloadDeployment => DEPLOYMENT,
        Kind::WorkloadReplicaSet => REPLICA_SET,
        Kind::Workload => WORKLOAD,
        Kind::Host => HOST,
        Kind::Artifact => ARTIFACT,
        Kind::ConfigMap => CONFIG_MAP,
        Kind::Secret => SECRET,
    };
    all.iter().filter(move |column| with_wide || !column.wide)
}

/// An object's name with its kind, as kubectl writes it: `workload.runtime.wasmcloud.dev/shop`.
pub(crate) fn object_name(kind: Kind, name: &str) -> String {
    let word = kind.as_str().to_ascii_lowercase();
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{word}.{group}/{name}"),
        None => format!("{word}/{name}"),
    }
}

fn conditions(resource: &Resource) -> &[Condition] {
    match resource {
        Resource::Host(o) => &o.status.conditions,
        Resource::Workload(o) => &o.status.conditions,
        Resource::ReplicaSet(o) => &o.status.conditions,
        Resource::Deployment(o) => &o.status.conditions,
        Resource::Artifact(o) => &o.status.conditions,
        Resource::ConfigMap(_) | Resource::Secret(_) => &[],
    }
}

/// The Ready condition's status for the object's present spec; `Unknown` while nobody has looked at it.
pub(crate) fn ready(resource: &Resource) -> String {
    let found = condition::find(conditions(resource), "Ready").filter(|c| is_current(resource, c));
    found.map_or(ConditionStatus::Unknown, |c| c.status).to_string()
}

fn is_current(resource: &Resource, condition: &Condition) -> bool {
    // Hosts have no spec, hence no generation to observe.
    condition.observed_generation >= resource.metadata().generation || resource.kind() == Kind::Host
}

/// One word for how an object is: `Ready`, or why it isn't.
pub(crate) fn status(resource: &Resource) -> String {
    if resource.metadata().deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let conditions = conditions(resource);
    match condition::find(conditions, "Ready") {
        Some(c) if c.status == ConditionStatus::True && is_current(resource, c) => "Ready".to_owned(),
        Some(c) if is_current(resource, c) && !c.reason.is_empty() => c.reason.clone(),
        _ => conditions
            .iter()
            .find(|c| c.status == ConditionStatus::False && !c.reason.is_empty())
            .map_or("Pending".into(), |c| c.reason.clone()),
    }
}

fn ready_of(resource: &Resource) -> String {
    counts(resource).map_or_else(|| "0/?".to_owned(), |[expected, _, ready]| format!("{ready}/{expected}"))
}

/// Expected, current, ready.
fn counts(resource: &Resource) -> Option<[i32; 3]> {
    let counts = match resource {
        Resource::Deployment(o) => o.status.replicas,
        Resource::ReplicaSet(o) => o.status.replicas,
        _ => None,
    };
    counts.map(|c| [c.expected, c.current, c.ready])
}

fn current_set(resource: &Resource) -> String {
    match resource {
        Resource::Deployment(o) => o.status.current_replica_set.as_ref().map_or_else(String::new, |set| set.name.clone()),
        _ => String::new(),
    }
}

fn host(resource: &Resource) -> Option<&berth_node::model::resource::Host> {
    match resource {
        Resource::Host(host) => Some(host),
        _ => None,
    }
}

fn host_id(resource: &Resource) -> String {
    match resource {
        Resource::Host(o) => o.spec.host_id.clone(),
        Resource::Workload(o) => o.status.host_id.clone().unwrap_or_else(|| "<none>".to_owned()),
        _ => String::new(),
    }
}

fn artifact_url(resource: &Resource) -> String {
    match resource {
        Resource::Artifact(o) => o.status.artifact_url.clone(),
        _ => String::new(),
    }
}

fn data_count(resource: &Resource) -> String {
    match resource {
        Resource::ConfigMap(o) => o.data.len().to_string(),
        Resource::Secret(o) => o.data.len().to_string(),
        _ => String::new(),
    }
}

fn secret_type(resource: &Resource) -> String {
    match resource {
        Resource::Secret(o) => o.kind.clone(),
        _ => String::new(),
    }
}

fn spec_of(resource: &Resource) -> Option<&WorkloadSpec> {
    match resource {
        Resource::Workload(o) => Some(&o.spec),
        Resource::ReplicaSet(o) => Some(&o.spec.template.spec),
        Resource::Deployment(o) => Some(&o.spec.template.spec),
        _ => None,
    }
}

fn images(spec: &WorkloadSpec) -> String {
    let images = spec.components.iter().map(|c| c.image.as_str()).chain(spec.service.iter().map(|s| s.image.as_str()));
    images.collect::<Vec<_>>().join(",")
}

fn domains(spec: &WorkloadSpec) -> String {
    let http = spec.host_interfaces.iter().filter(|i| i.namespace == "wasi" && i.package == "http");
    let named: Vec<&str> = http.filter_map(|i| i.config.get("host")).map(String::as_str).collect();
    if named.is_empty() { "*".to_owned() } else { named.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_node::model::resource::{Workload, WorkloadStatus};

    fn workload(generation: i64, conditions: Vec<(&str, ConditionStatus, &str, i64)>) -> Resource {
        let conditions = conditions.into_iter().map(|(kind, status, reason, observed_generation)| Condition {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: String::new(),
            last_transition_time: None,
            observed_generation,
        });
        let mut workload =
            Workload { status: WorkloadStatus { conditions: conditions.collect(), ..Default::default() }, ..Default::default() };
        workload.metadata.generation = generation;
        Resource::Workload(workload)
    }

    #[test]
    fn a_condition_about_an_older_spec_says_nothing_about_this_one() {
        let object = workload(2, vec![("Ready", ConditionStatus::True, "Running", 1)]);
        assert_eq!((ready(&object).as_str(), status(&object).as_str()), ("Unknown", "Pending"));
        let object = workload(1, vec![("Ready", ConditionStatus::True, "Running", 1)]);
        assert_eq!((ready(&object).as_str(), status(&object).as_str()), ("True", "Ready"));
    }

    #[test]
    fn what_is_not_ready_says_why_in_a_word() {
        let object =
            workload(1, vec![("Config", ConditionStatus::False, "ConfigMapNotFound", 1), ("Ready", ConditionStatus::False, "", 1)]);
        assert_eq!((ready(&object).as_str(), status(&object).as_str()), ("False", "ConfigMapNotFound"));
    }

    #[test]
    fn names_carry_their_kind_and_group() {
        assert_eq!(object_name(Kind::Workload, "a"), "workload.runtime.wasmcloud.dev/a");
        assert_eq!(object_name(Kind::ConfigMap, "a"), "configmap/a");
    }

    #[test]
    fn every_kind_has_a_name_and_an_age() {
        for kind in Kind::ALL {
            let headers: Vec<_> = columns(kind, false).map(|c| c.header).collect();
            assert_eq!((headers.first(), headers.last()), (Some(&"NAME"), Some(&"AGE")), "{kind}");
        }
    }
}
