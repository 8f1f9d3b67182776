//! A workload that was checked arrives as the same value.

use std::collections::BTreeMap;

use berth_control::Wanted;
use berth_model::resource::{
    ComponentSpec, ConfigLayer, Empty, HostInterfaceSpec, HostPathSpec, Kubernetes, KubernetesService, LimitsSpec, LinkSpec,
    LocalResources, ObjectMeta, PullPolicy, ServiceSpec, VolumeMountSpec, VolumeSpec, WorkloadSpec,
};
use berth_model::validate;
use berth_model::workload::{PullCredentials, Workload};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{Nothing, Served, id, serve};

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[A-Za-z][A-Za-z0-9_]{0,7}[A-Z]", "[^\u{0}]{0,12}", 0..4)
}

fn image() -> impl Strategy<Value = String> {
    let digest = format!("ghcr.io/acme/x@sha256:{}", "0123456789abcdef".repeat(4));
    select(vec!["hello".to_owned(), "localhost:5000/a/b:1.2".into(), "file:///srv/a b.wasm".into(), "oci:/srv/layout:v1".into(), digest])
}

fn limits() -> impl Strategy<Value = LimitsSpec> {
    let time = select(vec!["1ms", "1.5ms", "30s", "59m59s", "0.123456789s"]).prop_map(str::to_owned);
    let bytes = (65_536u64..=4 << 30).prop_map(|bytes| bytes.to_string());
    (
        option::of(bytes.clone()),
        option::of(time.clone()),
        option::of(1u32..=65_536),
        option::of(0u32..=65_536),
        option::of(time),
        option::of(bytes),
    )
        .prop_map(|(memory, request_timeout, max_in_flight, max_queued, queue_timeout, max_request_body)| LimitsSpec {
            memory,
            request_timeout,
            max_in_flight,
            max_queued,
            queue_timeout,
            max_request_body,
            table_elements: max_in_flight,
        })
}

fn resources() -> impl Strategy<Value = LocalResources> {
    let hosts = vec![
        "*",
        "example.com",
        "*.example.com",
        "https://a.example:8443/",
        "HTTP://10.0.0.1",
        "[fd00::1]:80",
        "udp://1.1.1.1:53",
        "host_1.internal",
    ];
    let names = vec!["*", "*.example.com", "Example.com", "10.0.0.1", "fd00::1"];
    let ports = vec!["80", "53/udp", "443/tcp"];
    let mounts = vec![
        Vec::new(),
        vec![VolumeMountSpec { name: "data".into(), mount_path: "/data".into(), read_only: false }],
        vec![VolumeMountSpec { name: "conf".into(), mount_path: "/etc/conf".into(), read_only: true }],
    ];
    let own = |list: Vec<&'static str>| vec(select(list).prop_map(str::to_owned), 0..3);
    (texts(), texts(), own(hosts), own(names), own(ports), select(mounts), option::of(limits())).prop_map(
        |(config, environment, allowed_hosts, allowed_ip_name_lookups, allowed_host_loopback_ports, volume_mounts, limits)| {
            LocalResources {
                volume_mounts,
                environment: Some(ConfigLayer { config: environment, ..ConfigLayer::default() }),
                config,
                allowed_hosts,
                allowed_ip_name_lookups,
                allowed_host_loopback_ports,
                limits,
            }
        },
    )
}

fn policy() -> impl Strategy<Value = Option<PullPolicy>> {
    option::of(select(vec![PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never]))
}

/// To the component `provider`, or to whichever can.
fn links(provider: &'static str) -> impl Strategy<Value = Vec<LinkSpec>> {
    let link = move |import: &'static str| {
        (any::<bool>(), any::<bool>()).prop_map(move |(named, fuse)| LinkSpec {
            import: import.into(),
            component: named.then(|| provider.into()),
            fuse,
        })
    };
    (option::of(link("wasi:http/handler")), option::of(link("acme:kv/store@1.2.0")), option::of(link("log-line")))
        .prop_map(|(handler, store, function)| [handler, store, function].into_iter().flatten().collect())
}

fn component(name: String, provider: &'static str) -> impl Strategy<Value = ComponentSpec> {
    let count = || option::of(0..=i32::MAX);
    (image(), policy(), count(), count(), count(), option::of(resources()), links(provider)).prop_map(
        move |(image, image_pull_policy, pool_size, max_invocations, max_concurrency, local_resources, links)| ComponentSpec {
            name: name.clone(),
            image,
            image_pull_secret: None,
            image_pull_policy,
            pool_size,
            max_invocations,
            max_concurrency,
            local_resources,
            links,
        },
    )
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    (image(), policy(), option::of(0..=i32::MAX), option::of(resources()), links("c0")).prop_map(
        |(image, image_pull_policy, max_restarts, local_resources, links)| ServiceSpec {
            image,
            image_pull_secret: None,
            image_pull_policy,
            max_restarts,
            local_resources,
            links,
        },
    )
}

/// A `wasi:http` entry and another one.
fn interfaces() -> impl Strategy<Value = Vec<HostInterfaceSpec>> {
    let http = |host: Option<&str>, aliases: Option<&str>, component: bool| {
        let mut config = BTreeMap::new();
        config.extend(host.map(|host| ("host".to_owned(), host.to_owned())));
        config.extend(aliases.map(|aliases| ("host-aliases".to_owned(), aliases.to_owned())));
        config.extend(component.then(|| ("component".to_owned(), "c0".to_owned())));
        HostInterfaceSpec {
            namespace: "wasi".into(),
            package: "http".into(),
            interfaces: vec!["incoming-handler".into()],
            version: Some("0.2.2".into()),
            config,
            ..HostInterfaceSpec::default()
        }
    };
    let other = HostInterfaceSpec {
        namespace: "wasi".into(),
        package: "keyvalue".into(),
        interfaces: vec!["store".into(), "atomics".into()],
        version: Some("0.2.0-draft".into()),
        name: Some("cache".into()),
        config: BTreeMap::from([("bucket".into(), "b".into())]),
        ..HostInterfaceSpec::default()
    };
    select(vec![
        vec![],
        vec![http(None, None, false)],
        vec![http(Some("Hello.example:80"), None, true), other.clone()],
        vec![other, http(Some("a.example"), Some("b.example, c.example,"), false)],
    ])
}

prop_compose! {
    fn spec()(count in 2usize..5)(
        components in (0..count).map(|i| component(format!("c{i}"), if i == 0 { "c1" } else { "c0" })).collect::<Vec<_>>(),
        service in option::of(service()),
        host_interfaces in interfaces(),
    ) -> WorkloadSpec {
        WorkloadSpec {
            components,
            service,
            host_interfaces,
            volumes: vec![
                VolumeSpec { name: "data".into(), ephemeral: Some(Empty {}), host_path: None },
                VolumeSpec { name: "conf".into(), ephemeral: None, host_path: Some(HostPathSpec { path: "/srv/conf".into() }) },
            ],
            ..WorkloadSpec::default()
        }
    }
}

fn checked(annotations: BTreeMap<String, String>, spec: &WorkloadSpec) -> Workload {
    let meta = ObjectMeta { name: "w-1".into(), namespace: "default".into(), annotations, ..ObjectMeta::default() };
    validate::workload(&meta, spec, &Nothing).unwrap()
}

async fn synced(served: &Served, sent: &Wanted) -> Wanted {
    let reports = served.client.sync(std::slice::from_ref(sent)).await.unwrap();
    assert_eq!(reports[0].message, "");
    served.host.sets.lock().unwrap().pop().unwrap().pop().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn any_checked_workload_arrives_as_the_same_value() {
    let runtime = runtime();
    let served = runtime.block_on(serve());
    let seconds = -1_000_000_000i64..4_000_000_000;
    let strategy = (spec(), texts(), any::<bool>(), seconds, 0i32..1_000_000_000);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&strategy, |(spec, annotations, secret, seconds, nanos)| {
        let mut workload = checked(annotations, &spec);
        if secret {
            let credentials = PullCredentials { username: "u".into(), password: "p\u{e9}\"".into() };
            workload.components[0].pull_credentials = Some(credentials.clone());
            workload.service.iter_mut().for_each(|service| service.pull_credentials = Some(credentials.clone()));
        }
        let created = jiff::Timestamp::new(seconds, nanos).unwrap();
        let sent = Wanted { id: id("w"), workload, owner: "default/w".into(), created };
        let received = runtime.block_on(synced(&served, &sent));
        prop_assert_eq!(received, sent);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn domains_of_a_kubernetes_service_travel_as_aliases() {
    let runtime = runtime();
    let served = runtime.block_on(serve());
    let http = |interface: &str, version: &str, host: Option<&str>| HostInterfaceSpec {
        namespace: "wasi".into(),
        package: "http".into(),
        interfaces: vec![interface.into()],
        version: Some(version.into()),
        config: host.map(|host| ("host".to_owned(), host.to_owned())).into_iter().collect(),
        ..HostInterfaceSpec::default()
    };
    for hosts in [[Some("a.example"), Some("b.example")], [Some("a.example"), None], [None, Some("b.example")], [None, None]] {
        let component = ComponentSpec { name: "c".into(), image: "x".into(), ..ComponentSpec::default() };
        let spec = WorkloadSpec {
            components: vec![component],
            host_interfaces: vec![http("incoming-handler", "0.2.0", hosts[0]), http("handler", "0.3.0", hosts[1])],
            kubernetes: Some(Kubernetes { service: Some(KubernetesService { name: "svc".into() }) }),
            ..WorkloadSpec::default()
        };
        let workload = checked(BTreeMap::new(), &spec);
        let sent = Wanted { id: id("w"), workload, owner: "default/w".into(), created: jiff::Timestamp::UNIX_EPOCH };
        let received = runtime.block_on(synced(&served, &sent));
        let domains = |wanted: &Wanted| wanted.workload.http.as_ref().unwrap().domains.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (mut before, mut after) = (domains(&sent), domains(&received));
        assert_eq!(before[0], after[0], "the main domain stays the main one");
        before.sort();
        after.sort();
        assert_eq!(before, after);
        assert!(after.contains(&"svc.default.svc.cluster.local".to_owned()));
    }
}
