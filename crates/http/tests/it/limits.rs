//! What a client may use, and for how long.

use std::time::Duration;

use berth_http::ServerLimits;
use http::{Request, StatusCode, Version};
use http_body_util::Empty;
use tokio::io::AsyncReadExt;

use crate::support::{Site, response, rest, within};

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: a\r\n\r\n";

fn limited(limits: ServerLimits) -> Site {
    Site::start(1, limits, None)
}

#[tokio::test]
async fn a_head_larger_than_the_limit_is_answered_431_l31() {
    let site = limited(ServerLimits { max_header_bytes: 8 * 1024, ..ServerLimits::default() });
    let padding = "p".repeat(200 * 1024);
    let mut stream = site.send(format!("GET /hello HTTP/1.1\r\nhost: a\r\nx-padding: {padding}")).await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431 "), "also while the client is still sending");
    let padding = "p".repeat(9 * 1024);
    let mut stream = site.send(format!("GET /hello HTTP/1.1\r\nhost: a\r\nx-padding: {padding}\r\n\r\n")).await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn more_fields_than_the_limit_are_answered_431_by_either_protocol_l31() {
    for max_headers in [4, ServerLimits::MAX_HEADERS] {
        let site = limited(ServerLimits { max_headers, ..ServerLimits::default() });
        let fields = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
        let mut stream = site.send(format!("GET /hello HTTP/1.1\r\n{}\r\n", fields(max_headers))).await;
        assert!(response(&mut stream).await.starts_with("HTTP/1.1 200 "));
        let mut stream = site.send(format!("GET /hello HTTP/1.1\r\n{}\r\n", fields(max_headers + 1))).await;
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431 "));

        let mut client = site.http2().await;
        for (count, status) in [(max_headers, StatusCode::OK), (max_headers + 1, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
            let mut request = Request::builder().version(Version::HTTP_2).uri("http://a/hello");
            for n in 0..count {
                request = request.header(format!("x-{n}"), "1");
            }
            let answer = within(client.request(request.body(Empty::new()).expect("a request"))).await.expect("an answer");
            assert_eq!(answer.status(), status);
        }
    }
}

#[tokio::test]
async fn an_http2_head_larger_than_the_limit_is_refused_l31() {
    let site = limited(ServerLimits { max_header_bytes: 8 * 1024, ..ServerLimits::default() });
    let mut client = site.http2().await;
    let request = Request::builder().version(Version::HTTP_2).uri("http://a/hello").header("x-padding", "p".repeat(10 * 1024));
    match within(client.request(request.body(Empty::new()).expect("a request"))).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        // The client saw the server's limit in time and didn't send it.
        Err(error) => assert!(format!("{error:?}").contains("TooBig") || error.is_user(), "{error:?}"),
    }
}

#[tokio::test]
async fn a_slow_head_is_answered_408_and_delays_nobody_l53() {
    let site = limited(ServerLimits { header_read_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    for start in ["GET /hello HTTP/1.1\r\nhost: a\r\nx-slow: ", "P", "PRI * HTTP/2.0\r\n"] {
        let mut slow = site.send(start).await;
        assert_eq!(site.http1().await.get("/hello").await.body(), "hello");
        let answer = rest(&mut slow).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{start:?}: {answer:?}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }
    assert_eq!(site.running.figures().timed_out, 3);
}

#[tokio::test]
async fn a_slow_head_after_a_first_request_has_the_same_deadline_l53() {
    let site = limited(ServerLimits { header_read_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    let mut slow = site.send(format!("{HELLO}GET /hel")).await;
    assert!(response(&mut slow).await.starts_with("HTTP/1.1 200 "));
    // Until then nothing but idling: the second head's first bytes came with the first request.
    tokio::io::AsyncWriteExt::write_all(&mut slow, b"lo HTTP/1.1\r\n").await.expect("sent");
    assert!(rest(&mut slow).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn connections_without_a_request_are_closed_without_a_word() {
    let limits = ServerLimits {
        header_read_timeout: Duration::from_millis(200),
        keep_alive_timeout: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let site = limited(limits);
    assert_eq!(rest(&mut site.connect().await).await, "");
    let mut idle = site.send(HELLO).await;
    assert!(response(&mut idle).await.ends_with("hello"));
    assert_eq!(rest(&mut idle).await, "");
    let mut idle = site.http2().await;
    assert_eq!(idle.get("/hello").await.body(), "hello");
    idle.closed().await;
    assert_eq!(site.running.figures().timed_out, 0);
}

#[tokio::test]
async fn a_request_in_flight_outlasts_every_deadline_of_its_connection() {
    let tiny = Duration::from_millis(50);
    let limits = ServerLimits { header_read_timeout: tiny, keep_alive_timeout: tiny, write_stall_timeout: tiny, ..ServerLimits::default() };
    let site = limited(limits);
    let (mut one, mut two) = (site.http1().await, site.http2().await);
    let (one, two) = (one.begin("/wait"), two.begin("/wait"));
    let release = async {
        // Longer than the deadlines together, measured by connections that they do end.
        for _ in 0..6 {
            rest(&mut site.connect().await).await;
        }
        site.behaviour.released.send_replace(true);
    };
    let (one, two, ()) = tokio::join!(one, two, release);
    assert_eq!((one.expect("an answer").status(), two.expect("an answer").status()), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn connections_past_the_limit_are_answered_503_and_counted_l32() {
    let site = limited(ServerLimits { max_connections: 2, ..ServerLimits::default() });
    let (mut first, mut second) = (site.http1().await, site.http1().await);
    first.get("/hello").await;
    second.get("/hello").await;
    let answer = rest(&mut site.send(HELLO).await).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    let figures = site.running.figures();
    assert_eq!((figures.accepted, figures.refused, figures.open), (3, 1, 2));
    drop(first);
    site.figures(|figures| figures.open == 1).await;
    assert_eq!(site.http1().await.get("/hello").await.body(), "hello");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_response_is_cut_l31() {
    let site = limited(ServerLimits { write_stall_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    let mut stream = site.send("GET /flood HTTP/1.1\r\nhost: a\r\n\r\n").await;
    stream.read_u8().await.expect("the response begins");
    site.figures(|figures| figures.open == 0 && figures.timed_out == 1).await;
}

#[tokio::test]
async fn an_http2_client_that_takes_nothing_of_one_response_loses_that_one_alone_l31() {
    let site = limited(ServerLimits { write_stall_timeout: Duration::from_millis(300), ..ServerLimits::default() });
    let mut client = crate::support::Client::http2_with(site.connect().await, Some(0)).await;
    let waits = client.begin("/wait");
    for (cut, path) in [(1, "/flood"), (2, "/short")] {
        let answer = within(client.begin(path)).await.expect("its head needs no room");
        crate::support::reaches(&site.behaviour.bodies_over, cut).await;
        assert!(within(http_body_util::BodyExt::collect(answer.into_body())).await.is_err(), "{path}: it isn't whole");
    }
    site.behaviour.released.send_replace(true);
    assert_eq!(within(waits).await.expect("a response that nobody was ready to send takes its time").status(), StatusCode::OK);
    assert_eq!(site.running.figures().open, 1);
}

#[tokio::test]
async fn l31_an_http2_client_that_takes_one_byte_of_each_response_loses_them_though_each_is_one_piece() {
    let stall = Duration::from_millis(300);
    let site = limited(ServerLimits { write_stall_timeout: stall, http2_unwatched_bytes: 100_000, ..ServerLimits::default() });
    let mut client = crate::support::Client::http2_with(site.connect().await, Some(1)).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(within(client.begin("/whole")).await.expect("its head needs no room"));
    }
    assert!(answers.iter().all(|answer| answer.headers()["content-length"] == crate::support::WHOLE_BYTES.to_string()));
    crate::support::reaches(&site.behaviour.bodies_over, 3).await;
    // The first fits among what is not watched; it is whole if somebody reads it, a byte at a time.
    for answer in answers.drain(1..) {
        assert!(within(http_body_util::BodyExt::collect(answer.into_body())).await.is_err(), "it isn't whole");
    }
    assert_eq!(client.get("/hello").await.body(), "hello", "the connection goes on");
    assert_eq!(site.running.figures().open, 1);
}

#[tokio::test]
async fn an_http2_client_gets_all_of_responses_whose_end_waits_for_it() {
    let site = limited(ServerLimits { http2_unwatched_bytes: 0, ..ServerLimits::default() });
    let mut client = site.http2().await;
    for _ in 0..10 {
        let (whole, short) = (client.begin("/whole"), client.begin("/short"));
        let (whole, short) = within(async { tokio::join!(whole, short) }).await;
        assert_eq!(crate::support::text(whole.expect("an answer")).await.body().len(), crate::support::WHOLE_BYTES);
        assert_eq!(crate::support::text(short.expect("an answer")).await.body().len(), 16 * 1024);
    }
    assert_eq!(client.get("/hello").await.body(), "hello");
}

#[tokio::test]
async fn a_client_that_only_cancels_requests_is_cut() {
    let site = limited(ServerLimits { http2_max_cancelled_streams: 5, ..ServerLimits::default() });
    let mut client = site.http2().await;
    for round in 1..=6 {
        let request = client.begin("/wait");
        let began = crate::support::reaches(&site.behaviour.began, round);
        tokio::select! { _ = request => panic!("nobody released it"), () = began => {} }
        crate::support::reaches(&site.behaviour.over, round).await;
    }
    client.closed().await;
    site.figures(|figures| figures.open == 0).await;
}
