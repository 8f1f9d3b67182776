//! Strategies for valid resources.

use std::collections::BTreeMap;

use berth_model::condition::{Condition, ConditionStatus};
use berth_model::resource::{
    ArtifactReference, ArtifactSpec, ComponentSpec, ConfigLayer, ConfigMap, DeployPolicy, DeploymentSpec, Empty, HostFields,
    HostInterfaceSpec, HostPathSpec, Kubernetes, KubernetesService, LimitsSpec, LinkSpec, LocalObjectReference, LocalResources, Object,
    ObjectMeta, PullPolicy, ReplicaSetSpec, Resource, Secret, SecretValue, ServiceSpec, Template, VolumeMountSpec, VolumeSpec,
    WorkloadSpec, WorkloadStatus,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

/// Texts that YAML would read as something else, or that need quoting, and some that don't.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-zA-Z0-9 ./:_-]{0,20}",
        2 => any::<String>(),
        1 => prop::sample::select(vec![
            "", "true", "no", "on", "~", "null", "0755", "1e3", "1_000", ".inf", "0x1f", "2026-01-02", "- a", "a: b", "# c", "{}", "[", "'", "\"",
            "|", ">", "%", "@", "`", "---", "...", "a\nb", " a", "a ", "\u{feff}", "\u{85}", "\u{2028}", "&a", "*a", "!a", "<<", "=", "1:30", "a\n---\nb",
        ]).prop_map(str::to_owned),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?"
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(prop_oneof![3 => "[A-Za-z][A-Za-z0-9_.-]{0,12}".boxed(), 1 => text().boxed()], text(), 0..4)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("([a-z]{1,5}\\.dev/)?[a-z]{1,8}", "[a-z0-9]{0,8}", 0..3)
}

fn reference() -> impl Strategy<Value = LocalObjectReference> {
    name().prop_map(|name| LocalObjectReference { name })
}

fn metadata() -> impl Strategy<Value = ObjectMeta> {
    (name(), name(), labels(), labels(), 0i64..100, of(0i64..2_000_000_000)).prop_map(
        |(name, namespace, labels, annotations, generation, created)| ObjectMeta {
            name,
            namespace,
            labels,
            annotations,
            generation,
            creation_timestamp: created.map(|second| jiff::Timestamp::from_second(second).unwrap()),
            ..ObjectMeta::default()
        },
    )
}

fn layer() -> impl Strategy<Value = ConfigLayer> {
    (texts(), vec(reference(), 0..2), vec(reference(), 0..2)).prop_map(|(config, config_from, secret_from)| ConfigLayer {
        config,
        config_from,
        secret_from,
    })
}

fn policy() -> impl Strategy<Value = PullPolicy> {
    prop::sample::select(vec![PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never])
}

fn image() -> impl Strategy<Value = String> {
    prop_oneof!["ghcr\\.io/[a-z]{1,8}:[0-9]", "file://[a-z]{1,8}\\.wasm", "artifact://[a-z]{1,8}", "oci:[a-z]{1,8}"]
}

fn limits() -> impl Strategy<Value = LimitsSpec> {
    (of("[1-9][0-9]?Mi"), of("[1-9]s"), of(1u32..65_536), of(0u32..65_536), of("[1-9]ms"), of("[1-9]k"), of(0u32..10_000_000)).prop_map(
        |(memory, request_timeout, max_in_flight, max_queued, queue_timeout, max_request_body, table_elements)| LimitsSpec {
            memory,
            request_timeout,
            max_in_flight,
            max_queued,
            queue_timeout,
            max_request_body,
            table_elements,
        },
    )
}

fn local(volume: String) -> impl Strategy<Value = LocalResources> {
    let hosts = prop::sample::select(vec!["*", "*.example.com", "https://example.com:8443/", "10.0.0.1"]).prop_map(str::to_owned);
    let mount = any::<bool>().prop_map(move |read_only| VolumeMountSpec { name: volume.clone(), mount_path: "/data".into(), read_only });
    (
        vec(mount, 0..2),
        of(layer()),
        texts(),
        vec(hosts.clone(), 0..3),
        vec("[a-z]{1,8}\\.example", 0..2),
        vec("[1-9][0-9]{0,3}(/udp)?", 0..2),
        of(limits()),
    )
        .prop_map(|(volume_mounts, environment, config, allowed_hosts, lookups, ports, limits)| LocalResources {
            volume_mounts,
            environment,
            config,
            allowed_hosts,
            allowed_ip_name_lookups: lookups,
            allowed_host_loopback_ports: ports,
            limits,
        })
}

/// Leads to no component: the only one that can is meant. Boxed, as is what it stands in: the trees of all of them together would fill a
/// test's stack.
fn links() -> impl Strategy<Value = Vec<LinkSpec>> {
    let link = |import: &'static str| any::<bool>().prop_map(move |fuse| LinkSpec { import: import.into(), component: None, fuse });
    (of(link("wasi:http/handler")), of(link("acme:kv/store@1.2.0")), of(link("log-line")))
        .prop_map(|(handler, store, function)| [handler, store, function].into_iter().flatten().collect())
        .boxed()
}

fn component() -> impl Strategy<Value = ComponentSpec> {
    let counts = (of(0i32..100), of(0i32..100), of(0i32..100));
    (name(), image(), of(reference()), of(policy()), counts, of(local("data".into())), links())
        .prop_map(|(name, image, image_pull_secret, image_pull_policy, counts, local_resources, links)| {
            let (pool_size, max_invocations, max_concurrency) = counts;
            ComponentSpec {
                name,
                image,
                image_pull_secret,
                image_pull_policy,
                pool_size,
                max_invocations,
                max_concurrency,
                local_resources,
                links,
            }
        })
        .boxed()
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    (image(), of(policy()), of(0i32..10), of(local("data".into())), links())
        .prop_map(|(image, image_pull_policy, max_restarts, local_resources, links)| ServiceSpec {
            image,
            image_pull_secret: None,
            image_pull_policy,
            max_restarts,
            local_resources,
            links,
        })
        .boxed()
}

fn interface() -> impl Strategy<Value = HostInterfaceSpec> {
    (name(), vec(name(), 1..3), of("0\\.[1-9]\\.0"), name(), layer()).prop_map(|(package, interfaces, version, name, layer)| {
        HostInterfaceSpec {
            namespace: "acme".into(),
            package,
            interfaces,
            version,
            name: Some(name),
            config: layer.config,
            config_from: layer.config_from,
            secret_from: layer.secret_from,
        }
    })
}

fn kubernetes() -> impl Strategy<Value = Kubernetes> {
    of(name().prop_map(|name| KubernetesService { name })).prop_map(|service| Kubernetes { service })
}

/// A workload's spec: any combination of fields that [`berth_model::manifest`] must carry.
pub fn workload_spec() -> impl Strategy<Value = WorkloadSpec> {
    let volumes = vec![
        VolumeSpec { name: "data".into(), ephemeral: Some(Empty {}), host_path: None },
        VolumeSpec { name: "host".into(), ephemeral: None, host_path: Some(HostPathSpec { path: "/srv/data".into() }) },
    ];
    (labels(), of(name()), vec(component(), 1..3), of(service()), vec(interface(), 0..3), of(kubernetes())).prop_map(
        move |(host_selector, environment, components, service, host_interfaces, kubernetes)| WorkloadSpec {
            host_selector,
            host_id: None,
            environment,
            components,
            service,
            host_interfaces,
            volumes: volumes.clone(),
            kubernetes,
        },
    )
}

fn template() -> impl Strategy<Value = Template> {
    (labels(), labels(), workload_spec()).prop_map(|(labels, annotations, spec)| Template { labels, annotations, spec })
}

fn condition() -> impl Strategy<Value = Condition> {
    (prop::sample::select(vec![ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown]), text(), 0i64..9).prop_map(
        |(status, message, observed_generation)| Condition {
            kind: "Ready".into(),
            status,
            reason: "Because".into(),
            message,
            last_transition_time: None,
            observed_generation,
        },
    )
}

fn deployment_spec() -> impl Strategy<Value = DeploymentSpec> {
    let policies = prop::sample::select(vec![DeployPolicy::RollingUpdate, DeployPolicy::Recreate]);
    let artifacts = (name(), reference()).prop_map(|(name, artifact_from)| ArtifactReference { name, artifact_from });
    (of(0i32..100), template(), of(policies), vec(artifacts, 0..2), of(kubernetes())).prop_map(
        |(replicas, template, deploy_policy, artifacts, kubernetes)| DeploymentSpec {
            replicas,
            template,
            deploy_policy,
            artifacts,
            kubernetes,
        },
    )
}

fn object<S, T: Default>(metadata: ObjectMeta, spec: S) -> Object<S, T> {
    Object { metadata, spec, status: T::default() }
}

/// A resource of any kind, without status.
pub fn resource() -> impl Strategy<Value = Resource> {
    let host = (name(), 0i32..65_536).prop_map(|(hostname, http_port)| HostFields {
        host_id: "6f9619ff-8b86-4011-b42d-00c04fc964ff".into(),
        hostname,
        http_port,
        environment: String::new(),
    });
    let set = (of(0i32..9), template()).prop_map(|(replicas, template)| ReplicaSetSpec { replicas, template });
    let artifact = (image(), of(reference())).prop_map(|(image, image_pull_secret)| ArtifactSpec { image, image_pull_secret });
    // Boxed: the trees of all kinds side by side would fill a test's stack.
    prop_oneof![
        (metadata(), workload_spec()).prop_map(|(meta, spec)| Resource::Workload(object(meta, spec))).boxed(),
        (metadata(), set).prop_map(|(meta, spec)| Resource::ReplicaSet(object(meta, spec))).boxed(),
        (metadata(), deployment_spec()).prop_map(|(meta, spec)| Resource::Deployment(object(meta, spec))).boxed(),
        (metadata(), artifact).prop_map(|(meta, spec)| Resource::Artifact(object(meta, spec))).boxed(),
        (metadata(), host).prop_map(|(meta, spec)| Resource::Host(object(meta, spec))).boxed(),
        (metadata(), texts()).prop_map(|(metadata, data)| Resource::ConfigMap(ConfigMap { metadata, data })).boxed(),
        (metadata(), "[a-zA-Z./]{1,30}", btree_map(text(), vec(any::<u8>(), 0..40), 0..4))
            .prop_map(|(metadata, kind, data)| {
                let data = data.into_iter().map(|(key, bytes)| (key, SecretValue::Known(bytes))).collect();
                Resource::Secret(Secret { metadata, kind, data })
            })
            .boxed(),
    ]
}

/// A workload with a status.
pub fn workload_with_status() -> impl Strategy<Value = Resource> {
    (metadata(), workload_spec(), of(name()), vec(condition(), 0..3)).prop_map(|(metadata, spec, host_id, conditions)| {
        Resource::Workload(Object { metadata, spec, status: WorkloadStatus { host_id, conditions, ..WorkloadStatus::default() } })
    })
}
