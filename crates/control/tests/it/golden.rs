//! JSON as upstream peers of release 2.7.0 write and read it (the facts are in the recorded transcript).

use std::collections::BTreeMap;
use std::time::Duration;

use berth_control::{Bus, Heartbeat, WorkloadState, subjects};
use berth_model::id::HostId;
use berth_model::interface::HostInterface;
use bytes::Bytes;

use crate::support::{Served, id, serve, workload};

const ID: &str = "11111111-1111-4111-8111-111111111111";

fn interface(namespace: &str, package: &str, version: Option<&str>, interfaces: &[&str]) -> HostInterface {
    HostInterface {
        namespace: namespace.into(),
        package: package.into(),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        version: version.map(|version| version.parse().unwrap()),
        name: None,
        config: BTreeMap::new(),
    }
}

fn recorded_heartbeat(id: HostId) -> Heartbeat {
    Heartbeat {
        hostname: "127.0.0.1".into(),
        friendly_name: "elastic-invention-6676".into(),
        version: "2.7.0".into(),
        labels: BTreeMap::from([("hostgroup".into(), "default".into())]),
        started_at: Some("2026-11-22T07:48:55.095289763Z".parse().unwrap()),
        os_arch: "x86_64".into(),
        os_name: "linux".into(),
        os_kernel: "unix".into(),
        system_cpu_usage: 0.8008008,
        system_memory_total: 25_274_793_984,
        system_memory_free: 23_954_804_736,
        imports: vec![
            interface("wasmcloud", "postgres", Some("0.1.1-draft"), &["query", "types", "prepared"]),
            interface("wasi", "logging", None, &["logging"]),
        ],
        exports: vec![interface("wasmcloud", "messaging", Some("0.2.0"), &["handler"])],
        http_port: Some(8199),
        environment: "ns1".into(),
        ..Heartbeat::new(id)
    }
}

/// As recorded, but for the two interface lists, which are shortened, and the label that announces Berth.
fn recorded_heartbeat_json(id: HostId) -> String {
    let parts = [
        r#"","hostname":"127.0.0.1","friendlyName":"elastic-invention-6676","version":"2.7.0","#,
        r#""labels":{"berth.dev/protocol":"1","hostgroup":"default"},"startedAt":"2026-11-22T07:48:55.095289763+00:00","#,
        r#""osArch":"x86_64","osName":"linux","osKernel":"unix","systemCpuUsage":0.8008008,"#,
        r#""systemMemoryTotal":"25274793984","systemMemoryFree":"23954804736","imports":["#,
        r#"{"namespace":"wasmcloud","package":"postgres","version":"0.1.1-draft","interfaces":["query","types","prepared"]},"#,
        r#"{"namespace":"wasi","package":"logging","interfaces":["logging"]}],"exports":["#,
        r#"{"namespace":"wasmcloud","package":"messaging","version":"0.2.0","interfaces":["handler"]}],"#,
        r#""httpPort":8199,"environment":"ns1"}"#,
    ];
    format!(r#"{{"id":"{id}{}"#, parts.concat())
}

async fn serve_recorded() -> Served {
    let served = serve().await;
    *served.host.heartbeat.lock().unwrap() = recorded_heartbeat(served.id);
    served
}

#[tokio::test]
async fn a_published_heartbeat_is_compact_and_in_the_recorded_form() {
    let served = serve_recorded().await;
    let mut heartbeats = served.bus.subscribe(subjects::ALL_HEARTBEATS).await.unwrap();
    // Coming back from an outage publishes one.
    let host_bus = served.bus.connect();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let second = berth_control::HostServer::serve(
        std::sync::Arc::new(host_bus),
        served.id,
        std::sync::Arc::clone(&served.host) as _,
        Duration::from_secs(3600),
        shutdown.clone(),
    );
    let first = async {
        let message = heartbeats.next().await.unwrap();
        shutdown.cancel();
        message
    };
    let (result, message) = tokio::join!(second, first);
    result.unwrap();
    assert_eq!(message.subject, format!("runtime.operator.heartbeat.{}", served.id));
    assert_eq!(message.payload, recorded_heartbeat_json(served.id).as_bytes());
}

#[tokio::test]
async fn a_requested_heartbeat_is_pretty_printed_and_read_back() {
    let served = serve_recorded().await;
    let text = served.raw_text("heartbeat", "{}").await;
    assert!(text.starts_with("{\n  \"id\": \"") && text.ends_with("\n  \"environment\": \"ns1\"\n}"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value, serde_json::from_str::<serde_json::Value>(&recorded_heartbeat_json(served.id)).unwrap());

    let mut expected = recorded_heartbeat(served.id);
    expected.labels.insert("berth.dev/protocol".into(), "1".into());
    let heartbeat = served.client.heartbeat().await.unwrap();
    assert!(heartbeat.speaks_berth());
    assert_eq!(heartbeat, expected);
}

#[tokio::test]
async fn counts_are_strings_and_left_out_when_zero() {
    let served = serve_recorded().await;
    served.host.heartbeat.lock().unwrap().workload_count = 2;
    let value = served.raw("heartbeat", "").await;
    assert_eq!(value["workloadCount"], "2");
    assert!(value.get("componentCount").is_none());
}

fn reply(id: &str, state: &str, message: &str) -> String {
    format!(
        "{{\n  \"workloadStatus\": {{\n    \"workloadId\": \"{id}\",\n    \"workloadState\": \"WORKLOAD_STATE_{state}\",\n    \"message\": \"{message}\"\n  }}\n}}"
    )
}

#[tokio::test]
async fn replies_about_workloads_are_those_recorded() {
    let served = serve().await;
    let ask = format!(r#"{{"workloadId":"{ID}"}}"#);
    let start = format!(
        r#"{{"workloadId":"{ID}","workload":{{"namespace":"ns1","name":"p2","witWorld":{{"components":[{{"name":"c","image":"127.0.0.1:5005/p2:1","poolSize":1}}]}}}}}}"#
    );
    assert_eq!(served.raw_text("workload.start", &start).await, reply(ID, "RUNNING", "Workload started successfully"));
    assert_eq!(served.raw_text("workload.status", &ask).await, reply(ID, "RUNNING", "Workload is Running"));

    let duplicate = served.raw("workload.start", &start).await;
    assert_eq!(duplicate["workloadStatus"]["workloadId"], ID);
    assert_eq!(duplicate["workloadStatus"]["workloadState"], "WORKLOAD_STATE_ERROR");
    let message = duplicate["workloadStatus"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("Workload ID [{ID}] already exists")), "{message}");
    assert_eq!(served.raw_text("workload.status", &ask).await, reply(ID, "RUNNING", "Workload is Running"));

    assert_eq!(served.raw_text("workload.stop", &ask).await, reply(ID, "STOPPING", "Workload stopped successfully"));
    assert_eq!(served.raw_text("workload.status", &ask).await, reply(ID, "NOT_FOUND", &format!("Workload not found: {ID}")));
    let nope = r#"{"workloadId":"nope"}"#;
    assert_eq!(served.raw_text("workload.status", nope).await, reply("nope", "NOT_FOUND", "Workload not found: nope"));
    assert_eq!(served.raw_text("workload.stop", nope).await, reply("nope", "NOT_FOUND", "Workload not found"));
}

#[tokio::test]
async fn unknown_fields_numbers_as_text_and_enums_as_numbers_are_read() {
    let served = serve().await;
    let start = r#"{"workloadId":"w","futureField":{"a":[1]},"workload":{"namespace":"ns1","name":"w","more":1,
        "service":{"image":"ghcr.io/acme/s:1","maxRestarts":"7","imagePullPolicy":3,"localResources":{"memoryLimitMb":"64","cpuLimit":5}},
        "witWorld":{"components":[{"name":"c","image":"ghcr.io/acme/c:1","max_concurrency":4,"imagePullPolicy":"IMAGE_PULL_POLICY_ALWAYS"}]}}}"#;
    let value = served.raw("workload.start", start).await;
    assert_eq!(value["workloadStatus"]["workloadState"], "WORKLOAD_STATE_RUNNING", "{value}");
    let running = served.host.running.lock().unwrap();
    let workload = &running[&id("w")];
    let service = workload.service.as_ref().unwrap();
    assert_eq!(service.max_restarts, 7);
    assert_eq!(service.pull_policy, berth_model::resource::PullPolicy::Never);
    assert_eq!(service.resources.limits.memory_bytes, Some(64 << 20));
    assert_eq!(workload.components[0].reuse.max_concurrency, 4);
    assert_eq!(workload.components[0].pull_policy, berth_model::resource::PullPolicy::Always);
}

#[tokio::test]
async fn a_start_that_upstream_reads_has_only_upstreams_fields() {
    let served = serve().await;
    let mut commands = served.bus.subscribe(&subjects::command(served.id, "workload.start")).await.unwrap();
    let mut sent = workload("hello");
    sent.components[0].resources.limits.memory_bytes = Some(64 << 20);
    sent.components[0].resources.limits.max_in_flight = Some(3);
    let import = "acme:kv/store".parse().unwrap();
    sent.components[0].links.push(berth_model::workload::Link { import, component: None, fuse: false });
    served.client.start(&id("w"), &sent).await.unwrap();
    let message = commands.next().await.unwrap();
    let expected = r#"{"workload":{"namespace":"default","name":"hello","witWorld":{"components":[{"image":"ghcr.io/acme/hello:1","localResources":{"memoryLimitMb":64},"name":"c","imagePullPolicy":"IMAGE_PULL_POLICY_IF_NOT_PRESENT"}]}},"workloadId":"w"}"#;
    assert_eq!(String::from_utf8_lossy(&message.payload), expected);
}

/// An upstream host: it answers as recorded, without Berth's extension.
#[tokio::test]
async fn an_upstream_hosts_replies_are_understood() {
    let bus = berth_control::MemoryBus::default();
    let host = HostId::random();
    let mut commands = bus.subscribe(&subjects::command(host, ">")).await.unwrap();
    let upstream = bus.connect();
    let client = berth_control::HostClient::new(std::sync::Arc::new(bus.connect()), host);
    let answers = [
        reply(ID, "RUNNING", "Workload started successfully"),
        reply(ID, "ERROR", &format!("Workload ID [{ID}] already exists (the exising workload must be stopped to reuse the ID)")),
        reply("other", "RUNNING", "Workload is Running"),
        "{}".to_owned(),
    ];
    let serve = async {
        for answer in answers {
            let message = commands.next().await.unwrap();
            upstream.publish(&message.reply.unwrap(), Bytes::from(answer)).await.unwrap();
        }
    };
    let asks = async {
        let running = client.start(&id(ID), &workload("p2")).await.unwrap();
        assert_eq!((running.state, running.ready, running.reason.as_str()), (WorkloadState::Running, true, ""));
        assert!(!running.is_already_exists());
        assert!(client.start(&id(ID), &workload("p2")).await.unwrap().is_already_exists());
        let other = client.status(&id(ID)).await.unwrap_err();
        assert!(std::error::Error::source(&other).is_some(), "an answer about another workload is none: {other}");
        client.status(&id(ID)).await.unwrap_err();
    };
    tokio::join!(serve, asks);
}
