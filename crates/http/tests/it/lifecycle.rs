//! Disconnects, draining and the end.

use std::time::Duration;

use berth_http::{BindError, Drained, Server, ServerConfig};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Site, reaches, response, rest, text, within};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_disconnect_drops_the_services_future_l30() {
    let site = Site::plain();
    let stream = site.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    reaches(&site.behaviour.began, 1).await;
    drop(stream);
    reaches(&site.behaviour.over, 1).await;

    let mut client = site.http2().await;
    let request = client.begin("/wait");
    tokio::select! { _ = request => panic!("nobody released it"), () = reaches(&site.behaviour.began, 2) => {} }
    drop(client);
    reaches(&site.behaviour.over, 2).await;
    site.figures(|figures| figures.open == 0).await;
}

#[tokio::test]
async fn resetting_a_stream_drops_its_future_and_no_other_l30() {
    let site = Site::plain();
    let mut client = site.http2().await;
    let kept = client.begin("/wait");
    let mut kept = std::pin::pin!(kept);
    let given_up = client.begin("/wait");
    tokio::select! {
        _ = &mut kept => panic!("nobody released it"),
        _ = given_up => panic!("nobody released it"),
        () = reaches(&site.behaviour.began, 2) => {}
    }
    reaches(&site.behaviour.over, 1).await;
    site.behaviour.released.send_replace(true);
    assert_eq!(within(kept).await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_the_idle_l34() {
    let site = Site::start(2, Default::default(), None);
    let (mut idle1, mut idle2) = (site.http1().await, site.http2().await);
    idle1.get("/hello").await;
    idle2.get("/hello").await;
    let (mut busy1, mut busy2) = (site.http1().await, site.http2().await);
    let (one, two) = (busy1.begin("/wait"), busy2.begin("/wait"));
    let mut half_a_head = site.send("GET /hello HTTP/1.1\r\nhost: a\r\n").await;
    let all = async {
        reaches(&site.behaviour.began, 2).await;
        let (drained, ()) = tokio::join!(site.running.drain(LONG), async {
            idle1.closed().await;
            idle2.closed().await;
            half_a_head.write_all(b"\r\n").await.expect("sent");
            let answer = response(&mut half_a_head).await;
            assert!(answer.ends_with("hello"));
            assert_eq!(rest(&mut half_a_head).await, "");
            site.behaviour.released.send_replace(true);
        });
        drained
    };
    let (one, two, drained) = within(async { tokio::join!(one, two, all) }).await;
    let one = text(one.expect("an answer")).await;
    assert_eq!((one.body().as_str(), one.headers()["connection"].to_str().expect("text")), ("waited", "close"));
    assert_eq!(text(two.expect("an answer")).await.body(), "waited");
    assert_eq!(drained, Drained { finished: 5, cut: 0 });
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_after_its_grace_l34() {
    let site = Site::plain();
    let mut stuck = site.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut stuck2 = site.http2().await;
    let answer = stuck2.begin("/wait");
    let mut upgraded = site.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert!(response(&mut upgraded).await.starts_with("HTTP/1.1 101 "));
    let drained = async {
        reaches(&site.behaviour.began, 2).await;
        site.running.drain(Duration::from_millis(100)).await
    };
    let (answer, drained) = within(async { tokio::join!(answer, drained) }).await;
    assert!(answer.is_err());
    assert_eq!(drained, Drained { finished: 0, cut: 3 });
    assert_eq!(rest(&mut stuck).await, "");
    assert_eq!(rest(&mut upgraded).await, "");
    reaches(&site.behaviour.over, 2).await;
    reaches(&site.behaviour.upgrades_over, 1).await;
    assert_eq!(site.running.figures().open, 0);
}

#[tokio::test]
async fn a_drained_port_is_refused_and_free_for_the_next_l34() {
    let site = Site::start(3, Default::default(), None);
    let addr = site.running.local_addr();
    assert!(matches!(Server::bind(ServerConfig::new(addr)), Err(BindError::InUse { .. })));
    assert_eq!(within(site.running.drain(LONG)).await, Drained::default());
    assert_eq!(TcpStream::connect(addr).await.expect_err("nobody listens").kind(), std::io::ErrorKind::ConnectionRefused);
    drop(Server::bind(ServerConfig::new(addr)).expect("the port is free"));
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_served_by_a_drain_l34() {
    let addr = "127.0.0.1:0".parse().expect("an address");
    let server = Server::bind(ServerConfig { threads: 2, ..ServerConfig::new(addr) }).expect("a free port");
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.local_addr()).await.expect("the backlog takes it");
        stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        streams.push(stream);
    }
    let running = server.serve(std::sync::Arc::new(crate::support::Paths(Default::default())));
    let drained = within(running.drain(LONG)).await;
    for mut stream in streams {
        assert!(rest(&mut stream).await.ends_with("hello"));
    }
    assert_eq!(drained, Drained { finished: 8, cut: 0 });
}

#[tokio::test]
async fn after_accepting_stopped_open_connections_are_served_on() {
    let site = Site::plain();
    let mut client = site.http1().await;
    client.get("/hello").await;
    site.running.stop_accepting();
    within(async { while TcpStream::connect(site.running.local_addr()).await.is_ok() {} }).await;
    assert_eq!(client.get("/hello").await.body(), "hello");
}

#[tokio::test]
async fn killing_ends_every_connection_future_and_thread_at_once() {
    let site = Site::start(2, Default::default(), None);
    let mut stuck = site.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    reaches(&site.behaviour.began, 1).await;
    site.running.kill();
    within(site.running.ended()).await;
    assert_eq!(*site.behaviour.over.borrow(), 1);
    assert_eq!(rest(&mut stuck).await, "");
    assert_eq!(site.running.figures().open, 0);
}

#[tokio::test]
async fn a_drain_closes_silent_connections_after_the_last_call_l34() {
    let site = Site::start(1, berth_http::ServerLimits { last_call: Duration::from_millis(50), ..Default::default() }, None);
    let mut silent = site.connect().await;
    site.figures(|figures| figures.open == 1).await;
    assert_eq!(within(site.running.drain(LONG)).await, Drained { finished: 1, cut: 0 });
    assert_eq!(rest(&mut silent).await, "");
}
