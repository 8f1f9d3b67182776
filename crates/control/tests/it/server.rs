//! How a host's server answers when commands are slow, stuck, many or nonsense.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{CallError, HostClient, LaneConfig, MemoryBusConfig, ServerConfig, WorkloadState, subjects};
use berth_model::id::HostId;
use futures::FutureExt;
use proptest::prelude::*;

use crate::support::{PANICS, SOON, STUCK, id, serve, serve_with, until, workload};

fn config() -> ServerConfig {
    ServerConfig { heartbeat_every: Duration::from_secs(3600), ..ServerConfig::default() }
}

#[tokio::test]
async fn l04_l03_a_slow_start_delays_neither_heartbeats_nor_other_commands() {
    let served = serve().await;
    let stuck = workload(STUCK);
    let first = id("first");
    let start = served.client.start(&first, &stuck);
    let others = async {
        until(&served.host.stuck, |count| *count == 1).await;
        served.client.heartbeat().await.unwrap();
        let second = id("second");
        assert_eq!(served.client.start(&second, &workload("quick")).await.unwrap().state, WorkloadState::Running);
        assert_eq!(served.client.status(&second).await.unwrap().state, WorkloadState::Running);
        assert_eq!(served.client.stop(&second).await.unwrap().state, WorkloadState::Stopping);
        assert_eq!(served.client.sync(&[]).await.unwrap(), []);
        served.client.drain(true).await.unwrap();
    };
    tokio::select! {
        report = start => panic!("the start can't have ended: {report:?}"),
        done = tokio::time::timeout(SOON, others) => done.expect("the other calls in time"),
    }
    assert!(*served.host.draining.borrow());
}

#[tokio::test(start_paused = true)]
async fn l04_heartbeats_go_out_in_time_while_every_start_is_stuck() {
    let every = Duration::from_secs(1);
    let start = LaneConfig { running: 2, waiting: 2, deadline: Duration::from_secs(50) };
    let served = serve_with(ServerConfig { heartbeat_every: every, start, ..config() }, MemoryBusConfig::default()).await;
    let mut heard = berth_control::heartbeats(&(Arc::new(served.bus.connect()) as _)).await.unwrap();
    let ids = [id("a"), id("b"), id("c"), id("d")];
    let stuck = workload(STUCK);
    let starts = futures::future::join_all(ids.iter().map(|id| served.client.start(id, &stuck)));
    let listen = async {
        until(&served.host.stuck, |count| *count == 2).await;
        let started = tokio::time::Instant::now();
        for _ in 0..10 {
            heard.next().await.unwrap();
        }
        assert!(started.elapsed() <= 10 * every, "{:?}", started.elapsed());
    };
    tokio::select! {
        _ = starts => panic!("the starts can't have ended"),
        () = listen => {}
    }
}

#[tokio::test(start_paused = true)]
async fn l04_a_stuck_command_is_cut_at_its_deadline_and_answered_with_its_id() {
    let served = serve().await;
    let started = tokio::time::Instant::now();
    let report = served.client.start(&id("w"), &workload(STUCK)).await.unwrap();
    assert_eq!(report.state, WorkloadState::Error);
    assert!(report.message.contains("within 55s"), "{}", report.message);
    assert_eq!(started.elapsed(), Duration::from_secs(55), "before the peer's own deadline of 60 s");
    assert_eq!(served.client.status(&id("w")).await.unwrap().state, WorkloadState::NotFound);
}

#[tokio::test]
async fn l04_every_request_gets_a_reply_also_when_it_cant_be_read() {
    let served = serve().await;
    for (command, payload, expected_id, expected) in [
        ("workload.start", "", "", "WorkloadStartRequest"),
        ("workload.start", "not json", "", "WorkloadStartRequest"),
        ("workload.start", "{}", "", "workload id"),
        ("workload.start", r#"{"workloadId":"w"}"#, "w", "workload: it is missing"),
        ("workload.start", r#"{"workloadId":"w","workload":[]}"#, "w", "WorkloadStartRequest"),
        ("workload.start", r#"{"workloadId":"a b","workload":{}}"#, "a b", "workload id"),
        ("workload.start", r#"{"workloadId":"w","workload":{"namespace":"n","name":"x"}}"#, "w", "workload"),
        ("workload.status", "\u{0}", "", "WorkloadStatusRequest"),
        ("workload.status", "{}", "", "workloadId is missing"),
        ("workload.stop", r#"{"workloadId":7}"#, "", "WorkloadStopRequest"),
        ("workload.stop", r#"["#, "", "WorkloadStopRequest"),
        ("bogus.command", "{}", "", "bogus.command"),
        ("workload", "{}", "", "no command `workload`"),
        ("workload.start.more", r#"{"workloadId":"w"}"#, "w", "workload.start.more"),
    ] {
        let value = served.raw(command, payload).await;
        let status = &value["workloadStatus"];
        assert_eq!(status["workloadState"], "WORKLOAD_STATE_ERROR", "{command} {payload}: {value}");
        assert_eq!(status["workloadId"].as_str().unwrap_or_default(), expected_id, "{command} {payload}: {value}");
        assert!(status["message"].as_str().unwrap().contains(expected), "{command} {payload}: {value}");
    }
    for (command, payload) in [("sync", "not json"), ("sync", "{}"), ("drain", "[1]"), ("bogus", "{}")] {
        let reply = served.request(&subjects::extension(served.id, command), payload).await;
        assert!(reply.contains("error") || reply.contains("ERROR"), "{command} {payload}: {reply}");
    }
    assert!(served.host.running.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_workload_is_said_by_the_wires_field_names() {
    let served = serve().await;
    let start = r#"{"workloadId":"w","workload":{"namespace":"n","name":"x","volumes":[{"name":"v"}],
        "service":{"image":"ghcr.io/a/b:1","localResources":{"allowedHosts":["https://a/b/c"]}},
        "witWorld":{"components":[{"name":"c","image":"UPPER//x","poolSize":-1},{"name":"c","image":""}],
        "hostInterfaces":[{"namespace":"wasi","package":"http","interfaces":["incoming-handler"],"config":{"host":"a b"}}]}}}"#;
    let value = served.raw("workload.start", start).await;
    let message = value["workloadStatus"]["message"].as_str().unwrap();
    for field in [
        "workload.witWorld.components[0].image: ",
        "workload.witWorld.components[0].poolSize: ",
        "workload.witWorld.components[1].name: ",
        "workload.witWorld.components[1].image: ",
        "workload.witWorld.hostInterfaces[0].config.host: ",
        "workload.service.localResources.allowedHosts[0]: ",
        "workload.volumes[0]: ",
    ] {
        assert!(message.contains(field), "{field} is missing in: {message}");
    }
}

#[tokio::test]
async fn an_id_that_no_workload_can_have_isnt_found() {
    let served = serve().await;
    let long = "x".repeat(1000);
    for command in ["workload.status", "workload.stop"] {
        let value = served.raw(command, &format!(r#"{{"workloadId":"{long}"}}"#)).await;
        assert_eq!(value["workloadStatus"]["workloadState"], "WORKLOAD_STATE_NOT_FOUND", "{value}");
    }
}

#[tokio::test]
async fn a_host_that_panics_answers_and_lives_on() {
    let served = serve().await;
    let report = served.client.start(&id("w"), &workload(PANICS)).await.unwrap();
    assert_eq!(report.state, WorkloadState::Error);
    assert_eq!(served.client.start(&id("w"), &workload("fine")).await.unwrap().state, WorkloadState::Running);
}

#[tokio::test]
async fn more_commands_than_may_wait_are_refused_at_once() {
    let start = LaneConfig { running: 1, waiting: 1, deadline: Duration::from_secs(3600) };
    let served = serve_with(ServerConfig { start, ..config() }, MemoryBusConfig::default()).await;
    let stuck = workload(STUCK);
    let (first, second, third) = (id("first"), id("second"), id("third"));
    let busy = async {
        let (one, two) = (served.client.start(&first, &stuck), served.client.start(&second, &stuck));
        tokio::join!(one, two)
    };
    let refused = async {
        until(&served.host.stuck, |count| *count == 1).await;
        served.client.start(&third, &stuck).await.unwrap()
    };
    tokio::select! {
        _ = busy => panic!("the stuck starts can't have ended"),
        report = refused => {
            assert_eq!(report.state, WorkloadState::Error);
            assert!(report.message.contains("busy"), "{}", report.message);
        }
    }
}

#[tokio::test]
async fn at_shutdown_running_commands_are_answered() {
    let mut served = serve().await;
    let (first, stuck) = (id("w"), workload(STUCK));
    let stop = async {
        until(&served.host.stuck, |count| *count == 1).await;
        served.shutdown.cancel();
    };
    let (report, ()) = tokio::join!(served.client.start(&first, &stuck), stop);
    assert!(report.unwrap().message.contains("shutting down"));
    tokio::time::timeout(SOON, &mut served.server).await.unwrap().unwrap().unwrap();
    let error = served.client.heartbeat().await.unwrap_err();
    assert!(error.is_no_responders() && !error.is_disconnected(), "{error}");
}

#[tokio::test]
async fn l01_a_client_tells_its_own_outage_from_a_hosts_silence() {
    let served = serve().await;
    let own = served.bus.connect();
    let client = HostClient::new(Arc::new(own.clone()), served.id);
    own.set_connected(false);
    let error = client.status(&id("w")).await.unwrap_err();
    assert!(error.is_disconnected() && !error.is_no_responders(), "{error}");
    let nobody = HostClient::new(Arc::new(served.bus.connect()), HostId::random());
    let error = nobody.start(&id("w"), &workload("w")).now_or_never().expect("an answer without waiting").unwrap_err();
    assert!(error.is_no_responders(), "{error}");
}

#[tokio::test]
async fn what_isnt_a_heartbeat_is_no_heartbeat() {
    let served = serve().await;
    let bus = served.bus.connect();
    let host = HostId::random();
    let mut requests = berth_control::Bus::subscribe(&bus, &subjects::command(host, "heartbeat")).await.unwrap();
    let client = HostClient::new(Arc::new(served.bus.connect()), host);
    let answer = async {
        let message = requests.next().await.unwrap();
        let refusal = served.raw_text("bogus", "{}").await;
        berth_control::Bus::publish(&bus, &message.reply.unwrap(), refusal.into()).await.unwrap();
    };
    let (result, ()) = tokio::join!(client.heartbeat(), answer);
    assert!(matches!(result, Err(CallError::Reply { .. })), "{result:?}");
}

#[test]
fn l04_any_payload_to_any_command_gets_a_reply() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served = runtime.block_on(serve());
    let commands = ["workload.start", "workload.status", "workload.stop", "heartbeat", "x"].map(|c| subjects::command(served.id, c));
    let extensions = ["sync", "drain", "x"].map(|c| subjects::extension(served.id, c));
    let subjects = [commands.as_slice(), extensions.as_slice()].concat();
    let fields = r#"(\{"(workloadId|workload|round|part|parts|wanted|on|reportsFrom)":("a"|1|-1|true|null|\[\]|\{\})(,"(workloadId|parts)":("b"|1))?\})"#;
    let payload = prop_oneof![".*", fields].prop_map(bytes::Bytes::from);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&(proptest::sample::select(subjects), payload), |(subject, payload)| {
        let reply = runtime.block_on(berth_control::Bus::request(&served.bus, &subject, payload, SOON));
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&reply.unwrap()).unwrap().is_object());
        Ok(())
    });
    result.unwrap();
}
