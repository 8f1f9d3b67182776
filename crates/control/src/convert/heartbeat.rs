//! Heartbeats to and from the wire.

use berth_model::id::HostId;
use berth_model::interface::HostInterface;

use super::ConvertError;
use crate::heartbeat::Heartbeat;
use crate::wire::pb;

pub(crate) fn heartbeat_to_wire(heartbeat: &Heartbeat) -> pb::HostHeartbeat {
    pb::HostHeartbeat {
        id: heartbeat.id.to_string(),
        hostname: heartbeat.hostname.clone(),
        friendly_name: heartbeat.friendly_name.clone(),
        version: heartbeat.version.clone(),
        labels: heartbeat.labels.clone(),
        started_at: heartbeat.started_at.map(timestamp_to_wire),
        os_arch: heartbeat.os_arch.clone(),
        os_name: heartbeat.os_name.clone(),
        os_kernel: heartbeat.os_kernel.clone(),
        // JSON has no NaN and no infinity.
        system_cpu_usage: if heartbeat.system_cpu_usage.is_finite() { heartbeat.system_cpu_usage } else { 0.0 },
        system_memory_total: heartbeat.system_memory_total,
        system_memory_free: heartbeat.system_memory_free,
        component_count: heartbeat.component_count,
        workload_count: heartbeat.workload_count,
        imports: heartbeat.imports.iter().map(interface_to_wire).collect(),
        exports: heartbeat.exports.iter().map(interface_to_wire).collect(),
        http_port: heartbeat.http_port.map_or(0, u32::from),
        environment: heartbeat.environment.clone(),
    }
}

/// A heartbeat is evidence of life, so only a bad id refuses it: a port out of range counts as none, an interface whose version
/// isn't one is left out, a time out of range is none.
pub(crate) fn heartbeat_from_wire(wire: pb::HostHeartbeat) -> Result<Heartbeat, ConvertError> {
    let id: HostId = wire.id.parse().map_err(|error| ConvertError::field("id", format!("{error}")))?;
    Ok(Heartbeat {
        id,
        hostname: wire.hostname,
        friendly_name: wire.friendly_name,
        version: wire.version,
        labels: wire.labels,
        started_at: wire.started_at.and_then(|time| timestamp_from_wire(&time)),
        os_arch: wire.os_arch,
        os_name: wire.os_name,
        os_kernel: wire.os_kernel,
        system_cpu_usage: wire.system_cpu_usage,
        system_memory_total: wire.system_memory_total,
        system_memory_free: wire.system_memory_free,
        component_count: wire.component_count,
        workload_count: wire.workload_count,
        imports: wire.imports.into_iter().filter_map(interface_from_wire).collect(),
        exports: wire.exports.into_iter().filter_map(interface_from_wire).collect(),
        http_port: u16::try_from(wire.http_port).ok().filter(|port| *port != 0),
        environment: wire.environment,
    })
}

pub(super) fn interface_to_wire(interface: &HostInterface) -> pb::WitInterface {
    pb::WitInterface {
        namespace: interface.namespace.clone(),
        package: interface.package.clone(),
        version: interface.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        interfaces: interface.interfaces.clone(),
        config: interface.config.clone(),
        name: interface.name.clone().unwrap_or_default(),
    }
}

fn interface_from_wire(wire: pb::WitInterface) -> Option<HostInterface> {
    let version = if wire.version.is_empty() { None } else { Some(semver::Version::parse(&wire.version).ok()?) };
    Some(HostInterface {
        namespace: wire.namespace,
        package: wire.package,
        interfaces: wire.interfaces,
        version,
        name: Some(wire.name).filter(|name| !name.is_empty()),
        config: wire.config,
    })
}

pub(super) fn timestamp_to_wire(time: jiff::Timestamp) -> pbjson_types::Timestamp {
    // Protobuf counts nanoseconds forward from the second, jiff towards zero before 1970.
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    pbjson_types::Timestamp { seconds, nanos }
}

pub(super) fn timestamp_from_wire(wire: &pbjson_types::Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(wire.seconds, wire.nanos).ok()
}
