//! Workloads to and from the wire. What arrives is put into the form of a manifest's spec and goes through the manifest's own
//! validation, so that there is one set of rules.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use berth_model::id::WorkloadId;
use berth_model::resource::{
    ComponentSpec, ConfigLayer, Empty, HostInterfaceSpec, HostPathSpec, LimitsSpec, LocalResources, ObjectMeta, PullPolicy, SecretData,
    ServiceSpec, VolumeMountSpec, VolumeSpec, WorkloadSpec,
};
use berth_model::validate::{self, Invalid, InvalidSpec, Lookup};
use berth_model::workload::{Component, Mount, PullCredentials, Resources, Service, Volume, VolumeSource, Workload};

use super::ConvertError;
use super::heartbeat::{interface_to_wire, timestamp_from_wire, timestamp_to_wire};
use super::limits::{limits_to_spec, limits_to_wire, memory_bytes, memory_limit_mb};
use super::links::{links_to_spec, links_to_wire};
use crate::wanted::Wanted;
use crate::wire::{ext, pb};

pub(crate) fn workload_to_wire(workload: &Workload) -> pb::Workload {
    let mut host_interfaces: Vec<pb::WitInterface> = workload.interfaces.iter().map(interface_to_wire).collect();
    super::http::write_entry(workload, &mut host_interfaces);
    pb::Workload {
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        annotations: workload.annotations.clone(),
        service: workload.service.as_ref().map(service_to_wire),
        wit_world: Some(pb::WitWorld { components: workload.components.iter().map(component_to_wire).collect(), host_interfaces }),
        volumes: workload.volumes.iter().map(volume_to_wire).collect(),
    }
}

pub(crate) fn wanted_to_wire(wanted: &Wanted) -> ext::Wanted {
    let workload = &wanted.workload;
    let limits = |c: &Component| Some((c.name.clone(), limits_to_wire(&c.resources.limits)?));
    let links = |c: &Component| Some((c.name.clone(), links_to_wire(&c.links)?));
    ext::Wanted {
        workload_id: wanted.id.to_string(),
        workload: Some(workload_to_wire(workload)),
        owner: wanted.owner.clone(),
        created: Some(timestamp_to_wire(wanted.created)),
        component_limits: workload.components.iter().filter_map(limits).collect(),
        service_limits: workload.service.as_ref().and_then(|service| limits_to_wire(&service.resources.limits)),
        component_links: workload.components.iter().filter_map(links).collect(),
        service_links: workload.service.as_ref().and_then(|service| links_to_wire(&service.links)),
    }
}

/// `field` is where the workload stands in its message, for errors.
pub(crate) fn workload_from_wire(field: &str, wire: Option<pb::Workload>) -> Result<Workload, ConvertError> {
    check(field, wire, Additions::default())
}

/// What Berth says of a workload beside upstream's message, by component.
#[derive(Default)]
struct Additions {
    limits: BTreeMap<String, ext::Limits>,
    service_limits: Option<ext::Limits>,
    links: BTreeMap<String, ext::Links>,
    service_links: Option<ext::Links>,
}

pub(crate) fn wanted_from_wire(wire: ext::Wanted) -> Result<Wanted, ConvertError> {
    let id: WorkloadId = wire.workload_id.parse().map_err(|error| ConvertError::field("workloadId", format!("{error}")))?;
    let created = wire.created.as_ref().and_then(timestamp_from_wire);
    let created = created.ok_or_else(|| ConvertError::field("created", "it is missing or out of range"))?;
    if wire.owner.is_empty() {
        return Err(ConvertError::field("owner", "it is missing"));
    }
    let additions = Additions {
        limits: wire.component_limits,
        service_limits: wire.service_limits,
        links: wire.component_links,
        service_links: wire.service_links,
    };
    let workload = check("workload", wire.workload, additions)?;
    Ok(Wanted { id, workload, owner: wire.owner, created })
}

fn component_to_wire(component: &Component) -> pb::Component {
    pb::Component {
        image: component.image.to_string(),
        local_resources: Some(resources_to_wire(&component.resources)),
        pool_size: count_to_wire(component.reuse.pool_size),
        max_invocations: count_to_wire(component.reuse.max_invocations),
        image_pull_secret: credentials_to_wire(component.pull_credentials.as_ref()),
        name: component.name.clone(),
        image_pull_policy: policy_to_wire(component.pull_policy).into(),
        max_concurrency: count_to_wire(component.reuse.max_concurrency),
    }
}

fn service_to_wire(service: &Service) -> pb::Service {
    pb::Service {
        image: service.image.to_string(),
        local_resources: Some(resources_to_wire(&service.resources)),
        max_restarts: service.max_restarts,
        image_pull_secret: credentials_to_wire(service.pull_credentials.as_ref()),
        image_pull_policy: policy_to_wire(service.pull_policy).into(),
    }
}

fn resources_to_wire(resources: &Resources) -> pb::LocalResources {
    let mount = |mount: &Mount| pb::VolumeMount { name: mount.volume.clone(), mount_path: mount.path.clone(), read_only: mount.read_only };
    pb::LocalResources {
        memory_limit_mb: memory_limit_mb(resources.limits.memory_bytes),
        cpu_limit: 0,
        config: resources.config.clone(),
        environment: resources.environment.clone(),
        volume_mounts: resources.mounts.iter().map(mount).collect(),
        allowed_hosts: resources.grants.hosts.iter().map(ToString::to_string).collect(),
        allowed_ip_name_lookups: resources.grants.names.iter().map(ToString::to_string).collect(),
        allowed_host_loopback_ports: resources.grants.loopback_ports.iter().map(ToString::to_string).collect(),
    }
}

fn volume_to_wire(volume: &Volume) -> pb::Volume {
    let volume_type = match &volume.source {
        VolumeSource::Ephemeral => pb::volume::VolumeType::EmptyDir(pb::EmptyDirVolume {}),
        VolumeSource::HostPath(path) => pb::volume::VolumeType::HostPath(pb::HostPathVolume { local_path: path_text(path) }),
    };
    pb::Volume { name: volume.name.clone(), volume_type: Some(volume_type) }
}

/// Paths come from JSON or YAML text, so they are text.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn count_to_wire(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn credentials_to_wire(credentials: Option<&PullCredentials>) -> Option<pb::ImagePullSecret> {
    credentials.map(|c| pb::ImagePullSecret { username: c.username.clone(), password: c.password.clone() })
}

fn policy_to_wire(policy: PullPolicy) -> pb::ImagePullPolicy {
    match policy {
        PullPolicy::Always => pb::ImagePullPolicy::Always,
        PullPolicy::IfNotPresent => pb::ImagePullPolicy::IfNotPresent,
        PullPolicy::Never => pb::ImagePullPolicy::Never,
    }
}

fn policy_from_wire(policy: pb::ImagePullPolicy) -> Option<PullPolicy> {
    match policy {
        pb::ImagePullPolicy::Unspecified => None,
        pb::ImagePullPolicy::Always => Some(PullPolicy::Always),
        pb::ImagePullPolicy::IfNotPresent => Some(PullPolicy::IfNotPresent),
        pb::ImagePullPolicy::Never => Some(PullPolicy::Never),
    }
}

/// Checks what arrived by the manifest's rules.
fn check(field: &str, wire: Option<pb::Workload>, additions: Additions) -> Result<Workload, ConvertError> {
    let wire = wire.ok_or_else(|| ConvertError::field(field, "it is missing"))?;
    let credentials = Credentials::of(&wire);
    let (meta, spec) = to_spec(field, wire, additions)?;
    let mut workload = validate::workload(&meta, &spec, &Nothing).map_err(|error| rename(field, error))?;
    credentials.give(&mut workload);
    Ok(workload)
}

/// Pull credentials travel beside the spec: there they are a reference to a Secret.
struct Credentials {
    components: HashMap<String, PullCredentials>,
    service: Option<PullCredentials>,
}

impl Credentials {
    fn of(wire: &pb::Workload) -> Credentials {
        let read = |secret: &pb::ImagePullSecret| PullCredentials { username: secret.username.clone(), password: secret.password.clone() };
        let components = wire.wit_world.iter().flat_map(|world| &world.components);
        Credentials {
            components: components.filter_map(|c| Some((c.name.clone(), read(c.image_pull_secret.as_ref()?)))).collect(),
            service: wire.service.as_ref().and_then(|service| service.image_pull_secret.as_ref()).map(read),
        }
    }

    fn give(mut self, workload: &mut Workload) {
        for component in &mut workload.components {
            component.pull_credentials = self.components.remove(&component.name);
        }
        if let Some(service) = &mut workload.service {
            service.pull_credentials = self.service;
        }
    }
}

/// On the wire all references are resolved.
struct Nothing;

impl Lookup for Nothing {
    fn config_map(&self, _: &str, _: &str) -> Option<&BTreeMap<String, String>> {
        None
    }

    fn secret(&self, _: &str, _: &str) -> Option<&SecretData> {
        None
    }

    fn artifact(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// Names fields as the wire does.
fn rename(root: &str, error: InvalidSpec) -> ConvertError {
    let places = [
        ("spec.components", ".witWorld.components"),
        ("spec.hostInterfaces", ".witWorld.hostInterfaces"),
        ("spec.", "."),
        ("metadata.", "."),
    ];
    let rename = |invalid: Invalid| {
        let place = places.iter().find_map(|(from, to)| Some(format!("{root}{to}{}", invalid.field.strip_prefix(from)?)));
        Invalid { field: place.unwrap_or(invalid.field), message: invalid.message }
    };
    ConvertError(error.0.into_iter().map(rename).collect())
}

fn to_spec(field: &str, wire: pb::Workload, mut additions: Additions) -> Result<(ObjectMeta, WorkloadSpec), ConvertError> {
    let pb::WitWorld { components, host_interfaces } = wire.wit_world.unwrap_or_default();
    let components = components.into_iter().map(|component| {
        let limits = additions.limits.remove(&component.name);
        let links = additions.links.remove(&component.name);
        component_to_spec(component, limits.as_ref(), links)
    });
    let meta = ObjectMeta { name: wire.name, namespace: wire.namespace, annotations: wire.annotations, ..ObjectMeta::default() };
    let spec = WorkloadSpec {
        components: components.collect(),
        service: wire
            .service
            .map(|service| service_to_spec(field, service, additions.service_limits.as_ref(), additions.service_links))
            .transpose()?,
        host_interfaces: host_interfaces.into_iter().map(interface_to_spec).collect(),
        volumes: wire.volumes.into_iter().map(volume_to_spec).collect(),
        ..WorkloadSpec::default()
    };
    Ok((meta, spec))
}

fn component_to_spec(wire: pb::Component, limits: Option<&ext::Limits>, links: Option<ext::Links>) -> ComponentSpec {
    let policy = policy_from_wire(wire.image_pull_policy());
    let count = |count: i32| Some(count).filter(|count| *count != 0);
    ComponentSpec {
        name: wire.name,
        image: wire.image,
        image_pull_secret: None,
        image_pull_policy: policy,
        pool_size: count(wire.pool_size),
        max_invocations: count(wire.max_invocations),
        max_concurrency: count(wire.max_concurrency),
        local_resources: Some(resources_to_spec(wire.local_resources, limits)),
        links: links_to_spec(links),
    }
}

fn service_to_spec(
    field: &str,
    wire: pb::Service,
    limits: Option<&ext::Limits>,
    links: Option<ext::Links>,
) -> Result<ServiceSpec, ConvertError> {
    let policy = policy_from_wire(wire.image_pull_policy());
    let max_restarts = i32::try_from(wire.max_restarts).map_err(|_| {
        let message = format!("{} is more than {}", wire.max_restarts, i32::MAX);
        ConvertError::field(format!("{field}.service.maxRestarts"), message)
    })?;
    Ok(ServiceSpec {
        image: wire.image,
        image_pull_secret: None,
        image_pull_policy: policy,
        max_restarts: Some(max_restarts),
        local_resources: Some(resources_to_spec(wire.local_resources, limits)),
        links: links_to_spec(links),
    })
}

fn resources_to_spec(wire: Option<pb::LocalResources>, limits: Option<&ext::Limits>) -> LocalResources {
    let wire = wire.unwrap_or_default();
    let upstream = LimitsSpec { memory: memory_bytes(wire.memory_limit_mb).map(|bytes| bytes.to_string()), ..LimitsSpec::default() };
    let mount = |mount: pb::VolumeMount| VolumeMountSpec { name: mount.name, mount_path: mount.mount_path, read_only: mount.read_only };
    LocalResources {
        volume_mounts: wire.volume_mounts.into_iter().map(mount).collect(),
        environment: Some(ConfigLayer { config: wire.environment, ..ConfigLayer::default() }),
        config: wire.config,
        allowed_hosts: wire.allowed_hosts,
        allowed_ip_name_lookups: wire.allowed_ip_name_lookups,
        allowed_host_loopback_ports: wire.allowed_host_loopback_ports,
        limits: Some(limits.map_or(upstream, limits_to_spec)),
    }
}

fn interface_to_spec(wire: pb::WitInterface) -> HostInterfaceSpec {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    HostInterfaceSpec {
        namespace: wire.namespace,
        package: wire.package,
        interfaces: wire.interfaces,
        version: text(wire.version),
        name: text(wire.name),
        config: wire.config,
        config_from: Vec::new(),
        secret_from: Vec::new(),
    }
}

fn volume_to_spec(wire: pb::Volume) -> VolumeSpec {
    let (ephemeral, host_path) = match wire.volume_type {
        Some(pb::volume::VolumeType::EmptyDir(_)) => (Some(Empty {}), None),
        Some(pb::volume::VolumeType::HostPath(path)) => (None, Some(HostPathSpec { path: path.local_path })),
        None => (None, None),
    };
    VolumeSpec { name: wire.name, ephemeral, host_path }
}
