//! What a service sends when it traps in the middle of it: nobody takes the part for the whole.

use std::time::Duration;

use berth_host::HostConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Bench, wanted, within, workload};
use crate::services::{quick, with_service};

/// A host whose services are never up before they fail.
fn bench() -> Bench {
    Bench::with(|config: &mut HostConfig| {
        quick(config);
        config.services.settle = Duration::from_secs(3600);
        config.network.loopback_ports = "1-65535".parse().unwrap();
    })
}

#[tokio::test]
async fn an_upload_to_a_component_of_its_workload_breaks_off_when_the_service_traps() {
    let bench = bench();
    for (name, mb) in [("small", "0"), ("large", "16")] {
        let to = format!("{name}.workload.internal/swallow");
        bench.host.set_wanted(vec![wanted(with_service(
            workload(name, "p3", &[name]),
            "service-p3",
            &[("DO", "upload"), ("TO", &to), ("MB", mb), ("READ", "")],
        ))]);
        // For each time that it was started.
        let is_end = |line: &String| line.starts_with("choked") || line.starts_with("swallowed");
        let ends = || bench.lines(name).into_iter().filter(is_end).collect::<Vec<_>>();
        bench.eventually("the component saw the end of each", || ends().len() == 3).await;
        assert!(ends().iter().all(|line| line.starts_with("choked after")), "{:?}", bench.lines(name));
    }
}

/// Memory of large stores is given back by another thread, which drops them while the connection goes on.
#[tokio::test]
async fn an_upload_to_a_server_breaks_off_when_the_service_traps() {
    let bench = bench();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (name, mb) in [("small", "0"), ("large", "16")] {
        let to = format!("host.wasmcloud.internal:{port}/");
        let mut app = with_service(workload(name, "p3", &[name]), "service-p3", &[("DO", "upload"), ("TO", &to), ("MB", mb)]);
        app.service.as_mut().unwrap().resources.grants.loopback_ports = vec![port.to_string().parse().unwrap()];
        bench.host.set_wanted(vec![wanted(app)]);
        // For each time that it was started.
        for _ in 0..3 {
            let received = within(received(&listener)).await;
            assert!(received.len() > 16 << 10 && !received.ends_with(b"0\r\n\r\n"), "{name}: {} bytes", received.len());
        }
    }
}

/// All that comes of one request, which is answered while its body comes.
async fn received(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    while received.len() <= 16 << 10 {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "it ended before it was answered");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await.unwrap();
    // Its end, or that it was broken off.
    while matches!(stream.read_buf(&mut received).await, Ok(read) if read > 0) {}
    received
}
