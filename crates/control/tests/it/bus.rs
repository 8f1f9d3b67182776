//! The in-process bus behaves like core NATS.

use std::time::Duration;

use berth_control::{Bus, BusError, MemoryBus, MemoryBusConfig, Subscription};
use bytes::Bytes;
use futures::FutureExt;

use crate::support::SOON;

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What has arrived so far.
fn arrived(subscription: &mut Subscription) -> Vec<(String, String)> {
    let next = || subscription.next().now_or_never().flatten();
    std::iter::from_fn(next).map(|m| (m.subject, String::from_utf8(m.payload.to_vec()).unwrap())).collect()
}

fn pair(subject: &str, payload: &str) -> (String, String) {
    (subject.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn a_message_reaches_every_listener_whose_pattern_covers_its_subject() {
    let bus = MemoryBus::default();
    let mut exact = bus.subscribe("a.b").await.unwrap();
    let mut again = bus.connect().subscribe("a.b").await.unwrap();
    let mut star = bus.subscribe("a.*").await.unwrap();
    let mut rest = bus.subscribe("a.>").await.unwrap();
    bus.publish("a.b", text("1")).await.unwrap();
    bus.publish("a.b.c", text("2")).await.unwrap();
    bus.publish("b", text("3")).await.unwrap();
    for subscription in [&mut exact, &mut again, &mut star] {
        assert_eq!(arrived(subscription), [pair("a.b", "1")]);
    }
    assert_eq!(arrived(&mut rest), [pair("a.b", "1"), pair("a.b.c", "2")]);
}

#[tokio::test]
async fn a_request_gets_the_first_reply_and_only_that() {
    let bus = MemoryBus::default();
    let mut service = bus.subscribe("service").await.unwrap();
    let server = bus.connect();
    let serve = async {
        let message = service.next().await.unwrap();
        let reply = message.reply.unwrap();
        server.publish(&reply, text("first")).await.unwrap();
        server.publish(&reply, text("second")).await.unwrap();
    };
    let (reply, ()) = tokio::join!(bus.request("service", text("?"), SOON), serve);
    assert_eq!(reply.unwrap(), "first");
}

#[tokio::test]
async fn a_request_that_nobody_listens_to_fails_at_once() {
    let bus = MemoryBus::default();
    let error = bus.request("nobody", text(""), SOON).now_or_never().expect("an answer without waiting").unwrap_err();
    assert_eq!(error, BusError::NoResponders { subject: "nobody".into() });
    drop(bus.subscribe("somebody").await.unwrap());
    let error = bus.request("somebody", text(""), SOON).await.unwrap_err();
    assert!(matches!(error, BusError::NoResponders { .. }), "a dropped subscription listens no more: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_reply_ends_at_its_deadline() {
    let bus = MemoryBus::default();
    let _silent = bus.subscribe("silent").await.unwrap();
    let started = tokio::time::Instant::now();
    let deadline = Duration::from_secs(3);
    let error = bus.request("silent", text(""), deadline).await.unwrap_err();
    assert_eq!(error, BusError::Timeout { subject: "silent".into(), deadline });
    assert_eq!(started.elapsed(), deadline);
}

#[tokio::test]
async fn a_slow_listener_loses_messages_and_is_told_while_others_lose_none() {
    let bus = MemoryBus::new(MemoryBusConfig { queue: 2, ..MemoryBusConfig::default() });
    let mut slow = bus.subscribe("a").await.unwrap();
    let mut fast = bus.subscribe("a").await.unwrap();
    for i in 0..5 {
        bus.publish("a", text(&i.to_string())).await.unwrap();
        assert_eq!(arrived(&mut fast).len(), 1);
    }
    assert_eq!(arrived(&mut slow), [pair("a", "0"), pair("a", "1")]);
    assert_eq!((slow.take_lost(), slow.take_lost()), (3, 0));
    assert_eq!(fast.take_lost(), 0);
    bus.publish("a", text("5")).await.unwrap();
    assert_eq!(arrived(&mut slow), [pair("a", "5")]);
}

#[tokio::test]
async fn l01_a_cut_connection_says_so_and_lets_nothing_through() {
    let bus = MemoryBus::default();
    let cut = bus.connect();
    let mut there = bus.subscribe("a").await.unwrap();
    let mut here = cut.subscribe("a").await.unwrap();
    let mut connected = cut.connected();
    assert!(*connected.borrow());

    cut.set_connected(false);
    connected.changed().await.unwrap();
    assert!(!*connected.borrow_and_update());
    assert!(*bus.connected().borrow(), "the other connection is still up");
    assert_eq!(cut.publish("a", text("lost")).await, Err(BusError::Disconnected));
    assert_eq!(cut.request("a", text("lost"), SOON).await, Err(BusError::Disconnected));
    bus.publish("a", text("while cut")).await.unwrap();
    assert_eq!(arrived(&mut here), []);
    assert_eq!(arrived(&mut there), [pair("a", "while cut")]);

    cut.set_connected(true);
    connected.changed().await.unwrap();
    assert!(*connected.borrow_and_update());
    bus.publish("a", text("again")).await.unwrap();
    assert_eq!(arrived(&mut here), [pair("a", "again")], "the subscription lives through the outage");
}

#[tokio::test]
async fn only_connected_listeners_count_as_responders() {
    let bus = MemoryBus::default();
    let cut = bus.connect();
    let _here = cut.subscribe("a").await.unwrap();
    cut.set_connected(false);
    assert!(matches!(bus.request("a", text(""), SOON).await, Err(BusError::NoResponders { .. })));
}

#[tokio::test]
async fn what_nats_would_refuse_is_refused() {
    let bus = MemoryBus::new(MemoryBusConfig { max_payload: 8, ..MemoryBusConfig::default() });
    assert_eq!(bus.max_payload(), 8);
    let error = bus.publish("a", text("123456789")).await.unwrap_err();
    assert_eq!(error, BusError::TooLarge { subject: "a".into(), bytes: 9, limit: 8 });
    bus.publish("a", text("12345678")).await.unwrap();
    assert!(matches!(bus.publish("a.*", text("")).await, Err(BusError::InvalidSubject(_))));
    assert!(matches!(bus.request("a b", text(""), SOON).await, Err(BusError::InvalidSubject(_))));
    assert!(matches!(bus.subscribe("a.>.b").await, Err(BusError::InvalidSubject(_))));
}
