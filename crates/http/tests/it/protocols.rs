//! HTTP/1.1 and HTTP/2 on one cleartext port, upgrades, and what a service sees of a connection.

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Site, response, rest, within};

#[tokio::test]
async fn http1_answers_several_requests_on_one_connection() {
    let site = Site::plain();
    let mut client = site.http1().await;
    let first = client.get("/hello").await;
    let second = client.get("/hello").await;
    assert_eq!((first.version(), first.body().as_str()), (Version::HTTP_11, "hello"));
    assert_eq!(first.headers()["x-connection"], second.headers()["x-connection"]);
    assert_eq!(first.headers()["x-tls"], "false");
    assert_eq!(site.running.figures().accepted, 1);
}

#[tokio::test]
async fn http2_is_served_to_whoever_begins_with_its_preface() {
    let site = Site::plain();
    let mut client = site.http2().await;
    let (first, second) = (client.begin("/hello"), client.begin("/hello"));
    for answer in [first, second] {
        assert_eq!(within(answer).await.expect("an answer").version(), Version::HTTP_2);
    }
    assert_eq!(site.running.figures().accepted, 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = Site::plain();
    let hello = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut stream = site.send(format!("{hello}GET /other HTTP/1.1\r\nhost: a\r\n\r\n{hello}")).await;
    for status in ["200", "404", "200"] {
        assert!(response(&mut stream).await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_served() {
    let site = Site::plain();
    let mut stream = site.connect().await;
    for byte in b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello" {
        stream.write_all(&[*byte]).await.expect("sent");
    }
    assert!(response(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn a_request_larger_than_one_read_is_served_whole() {
    let site = Site::plain();
    let padding = "p".repeat(20_000);
    let mut stream = site.send(format!("GET /hello HTTP/1.1\r\nhost: a\r\nx-padding: {padding}\r\n\r\n")).await;
    assert!(response(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn what_a_service_spawns_stays_on_its_connections_thread() {
    let site = Site::start(3, Default::default(), None);
    for _ in 0..6 {
        let answer = site.http1().await.get("/hello").await;
        assert_eq!(answer.headers()["x-thread"], answer.headers()["x-spawned"]);
    }
}

#[tokio::test]
async fn a_service_strips_and_writes_headers_as_the_connection_says_l52() {
    let site = Site::plain();
    let mut stream = site
        .send("GET /headers HTTP/1.1\r\nhost: a.example\r\nconnection: x-hop\r\nx-hop: 1\r\nx-forwarded-for: 6.6.6.6\r\nx-end: 1\r\n\r\n")
        .await;
    let seen = response(&mut stream).await;
    assert!(seen.contains(r#""x-forwarded-for": "127.0.0.1""#), "{seen}");
    assert!(seen.contains(r#""x-forwarded-host": "a.example""#), "{seen}");
    assert!(seen.contains("x-end") && !seen.contains("x-hop") && !seen.contains("6.6.6.6"), "{seen}");
}

#[tokio::test]
async fn an_upgraded_connection_belongs_to_the_service_and_still_counts_as_open_l52() {
    let site = Site::plain();
    let mut stream = site.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert!(response(&mut stream).await.starts_with("HTTP/1.1 101 "));
    stream.write_all(b"ping").await.expect("sent");
    let mut echoed = [0; 4];
    within(stream.read_exact(&mut echoed)).await.expect("echoed");
    assert_eq!(&echoed, b"ping");
    assert_eq!(site.running.figures().open, 1);
    drop(stream);
    site.figures(|figures| figures.open == 0).await;
}

#[tokio::test]
async fn a_panic_of_the_service_costs_its_connection_only() {
    let site = Site::plain();
    let mut other = site.http1().await;
    other.get("/hello").await;
    let mut stream = site.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(other.get("/hello").await.body(), "hello");
    drop(other);
    site.figures(|figures| figures.open == 0).await;
}

#[tokio::test]
async fn what_isnt_http_is_answered_400_and_closed() {
    let site = Site::plain();
    let mut stream = site.send("\x16\x03\x01 this is no request\r\n\r\n").await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400 "));
}
