//! Heartbeats and announcements, as an operator hears them.

use std::sync::Arc;
use std::time::Duration;

use berth_control::{
    Bus, DomainConflict, HostServer, MemoryBus, MemoryBusConfig, Report, ServerConfig, WorkloadState, announce, heartbeats, reports,
    subjects,
};
use berth_model::id::HostId;
use bytes::Bytes;

use crate::support::{SOON, id, serve, serve_with};

#[tokio::test]
async fn what_cant_be_read_or_claims_to_be_another_host_is_left_out() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut heard = heartbeats(&bus).await.unwrap();
    let (host, other) = (HostId::random(), HostId::random());
    let subject = subjects::heartbeats_of(host);
    for payload in ["", "{}", "[]", "\u{7f}", r#"{"id":"me"}"#, &format!(r#"{{"id":"{other}"}}"#), &format!(r#"{{"id":"{host}","new":1}}"#)]
    {
        bus.publish(&subject, Bytes::copy_from_slice(payload.as_bytes())).await.unwrap();
    }
    let heartbeat = tokio::time::timeout(SOON, heard.next()).await.unwrap().unwrap();
    assert_eq!(heartbeat.id, host);
    assert!(!heartbeat.speaks_berth());
}

#[tokio::test]
async fn a_heartbeat_with_odd_values_still_proves_life() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut heard = heartbeats(&bus).await.unwrap();
    let host = HostId::random();
    let odd = format!(
        r#"{{"id":"{host}","httpPort":70000,"startedAt":"0001-01-01T00:00:00Z","imports":[{{"namespace":"a","package":"b","version":"latest","interfaces":["c"]}}]}}"#
    );
    bus.publish(&subjects::heartbeats_of(host), Bytes::from(odd)).await.unwrap();
    let heartbeat = tokio::time::timeout(SOON, heard.next()).await.unwrap().unwrap();
    assert_eq!((heartbeat.id, heartbeat.http_port, heartbeat.imports.len()), (host, None, 0));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_at_once_and_then_periodically() {
    let every = Duration::from_secs(2);
    let served = serve_with(ServerConfig { heartbeat_every: every, ..ServerConfig::default() }, MemoryBusConfig::default()).await;
    let bus: Arc<dyn Bus> = Arc::new(served.bus.connect());
    let mut heard = heartbeats(&bus).await.unwrap();
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        heard.next().await.unwrap();
    }
    assert_eq!(started.elapsed(), 3 * every);
}

#[tokio::test]
async fn l01_a_host_is_heard_as_soon_as_its_bus_is_back() {
    let served = serve().await;
    let own = served.bus.connect();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let mut heard = served.bus.subscribe(subjects::ALL_HEARTBEATS).await.unwrap();
    let host = HostId::random();
    let serving =
        HostServer::serve(Arc::new(own.clone()), host, Arc::clone(&served.host) as _, Duration::from_secs(3600), shutdown.clone());
    let play = async {
        heard.next().await.unwrap();
        own.set_connected(false);
        own.set_connected(true);
        tokio::time::timeout(SOON, heard.next()).await.expect("a heartbeat long before the next period").unwrap();
        shutdown.cancel();
    };
    let (result, ()) = tokio::join!(serving, play);
    result.unwrap();
}

fn report(name: &str) -> Report {
    Report {
        reason: "DomainTaken".into(),
        message: "m".repeat(100),
        conflicts: vec![DomainConflict { domain: "a.example".into(), owner: "default/a".into() }],
        restarts: 3,
        ready: true,
        took_ms: 7,
        ..Report::new(id(name), WorkloadState::Completed)
    }
}

#[tokio::test]
async fn announcements_carry_whole_reports_in_as_many_messages_as_the_bus_needs() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusConfig { max_payload: 64 << 10, ..MemoryBusConfig::default() }));
    let mut heard = reports(&bus).await.unwrap();
    let host = HostId::random();
    let sent: Vec<Report> = (0..1000).map(|i| report(&format!("w{i}"))).collect();
    announce(&bus, host, &sent).await.unwrap();
    announce(&bus, host, &[]).await.unwrap();
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let (from, mut some) = tokio::time::timeout(SOON, heard.next()).await.unwrap().unwrap();
        assert_eq!(from, host);
        received.append(&mut some);
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn an_announcement_in_another_hosts_name_is_left_out() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let mut heard = reports(&bus).await.unwrap();
    let (host, other) = (HostId::random(), HostId::random());
    let forged = format!(r#"{{"hostId":"{other}","reports":[{{"workloadId":"w"}}]}}"#);
    bus.publish(&subjects::reports_of(host), Bytes::from(forged)).await.unwrap();
    announce(&bus, host, &[report("w")]).await.unwrap();
    let (from, received) = tokio::time::timeout(SOON, heard.next()).await.unwrap().unwrap();
    assert_eq!((from, received), (host, vec![report("w")]));
}
