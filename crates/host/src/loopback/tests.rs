//! The network by itself, with tasks for programs.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_model::grants::Protocol;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listen(net: &Arc<Loopback>, at: &str) -> Listener {
    Listener::new(net.bind(Protocol::Tcp, addr(at)).unwrap(), 4)
}

fn udp(net: &Arc<Loopback>, at: &str) -> Datagrams {
    Datagrams::new(net.bind(Protocol::Udp, addr(at)).unwrap())
}

async fn accept(listener: &Listener) -> Stream {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

/// Both ends of a new connection.
async fn connected() -> (Stream, Stream) {
    let net = Loopback::new();
    let listener = listen(&net, "127.0.0.1:80");
    let client = net.connect(None, addr("127.0.0.1:80")).await.unwrap();
    (client, accept(&listener).await)
}

/// Whether `future` is pending now.
async fn waits(future: impl Future) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn a_connection_knows_both_its_addresses_and_carries_bytes_both_ways() {
    for (at, to, seen) in [
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1"),
        ("0.0.0.0:80", "127.1.2.3:80", "127.0.0.1"),
        ("0.0.0.0:80", "[::ffff:127.0.0.1]:80", "127.0.0.1"),
        ("[::]:80", "[::1]:80", "::1"),
        ("[::1]:80", "[::1]:80", "::1"),
    ] {
        let net = Loopback::new();
        let listener = listen(&net, at);
        let mut client = net.connect(None, addr(to)).await.unwrap();
        let mut server = accept(&listener).await;
        assert_eq!((client.peer_addr(), client.local_addr().ip().to_string()), (plain(addr(to)), seen.to_owned()));
        assert_eq!((server.peer_addr(), server.local_addr()), (client.local_addr(), client.peer_addr()));
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = String::new();
        server.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "ping");
        server.write_all(b"pong after the other end was shut").await.unwrap();
        drop(server);
        got.clear();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "pong after the other end was shut");
    }
}

#[tokio::test]
async fn nobody_listens_means_refused_and_an_address_that_is_given_back_can_be_taken() {
    let net = Loopback::new();
    let refused = async |to: &str| net.connect(None, addr(to)).await.err() == Some(NetError::Refused);
    assert!(refused("127.0.0.1:80").await);
    let taken = net.bind(Protocol::Tcp, addr("127.0.0.1:80")).unwrap();
    assert!(refused("127.0.0.1:80").await, "taken is not listening");
    assert_eq!(net.bind(Protocol::Tcp, addr("127.0.0.1:80")).err(), Some(NetError::AddressInUse));
    let listener = Listener::new(taken, 4);
    assert!(!refused("127.0.0.1:80").await);
    assert!(refused("127.0.0.2:80").await && refused("[::1]:80").await);
    let held = net.connect(None, addr("127.0.0.1:80")).await.unwrap();
    drop(listener);
    assert!(refused("127.0.0.1:80").await && !net.listens(addr("127.0.0.1:80")));
    assert_eq!(poll_fn(|cx| held.poll_read_bytes(cx, &mut [0])).await, Err(NetError::Reset), "it was never accepted");
    listen(&net, "127.0.0.1:80");
}

#[tokio::test]
async fn only_loopback_addresses_and_wildcards_can_be_taken() {
    let net = Loopback::new();
    for other in ["10.0.0.1:80", "169.254.169.254:80", "[fe80::1]:80", "224.0.0.1:80", "255.255.255.255:80"] {
        assert_eq!(net.bind(Protocol::Tcp, addr(other)).err(), Some(NetError::NotBindable), "{other}");
        assert_eq!(net.connect(None, addr(other)).await.err(), Some(NetError::Refused), "{other}");
    }
}

#[tokio::test]
async fn a_connection_starts_from_the_address_that_was_taken_for_it() {
    let net = Loopback::new();
    let _listener = listen(&net, "127.0.0.1:80");
    let from = net.bind(Protocol::Tcp, addr("0.0.0.0:5000")).unwrap();
    let client = net.connect(Some(from), addr("127.0.0.1:80")).await.unwrap();
    assert_eq!(client.local_addr(), addr("127.0.0.1:5000"));
    assert_eq!(net.bind(Protocol::Tcp, addr("127.0.0.1:5000")).err(), Some(NetError::AddressInUse));
    drop(client);
    net.bind(Protocol::Tcp, addr("127.0.0.1:5000")).unwrap();
}

#[tokio::test]
async fn l31_who_comes_to_a_full_backlog_waits_until_one_is_accepted_or_nobody_listens_any_more() {
    let net = Loopback::new();
    let listener = listen(&net, "127.0.0.1:80");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(net.connect(None, addr("127.0.0.1:80")).await.unwrap());
    }
    let mut fifth = Box::pin(net.connect(None, addr("127.0.0.1:80")));
    assert!(waits(&mut fifth).await);
    let accepted = accept(&listener).await;
    assert_eq!(accepted.peer_addr(), held[0].local_addr());
    held.push(fifth.await.unwrap());
    let mut sixth = Box::pin(net.connect(None, addr("127.0.0.1:80")));
    assert!(waits(&mut sixth).await);
    drop(listener);
    assert_eq!(sixth.await.err(), Some(NetError::Refused));
}

#[tokio::test]
async fn l31_a_writer_waits_for_its_reader_and_what_waits_is_bounded() {
    let (client, server) = connected().await;
    let write = |bytes: &'static [u8]| poll_fn(|cx| client.poll_write_bytes(cx, bytes));
    static MUCH: [u8; 4 * BUFFER_BYTES] = [7; 4 * BUFFER_BYTES];
    assert_eq!(client.room(), BUFFER_BYTES);
    assert_eq!(write(&MUCH).await, Ok(BUFFER_BYTES));
    assert_eq!(client.room(), 0);
    let mut next = Box::pin(write(&MUCH));
    assert!(waits(&mut next).await);
    let mut some = [0; 100];
    assert_eq!(poll_fn(|cx| server.poll_read_bytes(cx, &mut some)).await, Ok(100));
    assert_eq!(next.await, Ok(100));
}

#[tokio::test]
async fn l31_a_workload_has_so_many_connections_at_once() {
    let net = Loopback::new();
    let listener = Listener::new(net.bind(Protocol::Tcp, addr("127.0.0.1:80")).unwrap(), MAX_BACKLOG);
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let client = net.connect(None, addr("127.0.0.1:80")).await.unwrap();
        held.push((client, accept(&listener).await));
    }
    assert_eq!(net.connect(None, addr("127.0.0.1:80")).await.err(), Some(NetError::Exhausted));
    let (client, server) = held.pop().unwrap();
    drop(client);
    assert_eq!(net.connect(None, addr("127.0.0.1:80")).await.err(), Some(NetError::Exhausted), "its other end is still held");
    drop(server);
    assert!(net.connect(None, addr("127.0.0.1:80")).await.is_ok());
}

#[tokio::test]
async fn an_end_that_closes_is_an_end_and_an_end_that_dies_is_an_error() {
    for dies in [false, true] {
        let (mut client, mut server) = connected().await;
        server.write_all(b"half a mess").await.unwrap();
        if dies {
            server.reset();
        }
        drop(server);
        let mut got = [0; 11];
        client.read_exact(&mut got).await.unwrap();
        let end = poll_fn(|cx| client.poll_read_bytes(cx, &mut [0])).await;
        assert_eq!(end, if dies { Err(NetError::Reset) } else { Ok(0) });
        let write = poll_fn(|cx| client.poll_write_bytes(cx, b"x")).await;
        assert_eq!(write, Err(if dies { NetError::Reset } else { NetError::Broken }));
    }
}

#[tokio::test]
async fn what_was_ended_in_good_order_stays_whole_when_its_writer_dies() {
    let (mut client, mut server) = connected().await;
    server.write_all(b"all of it").await.unwrap();
    server.shutdown().await.unwrap();
    server.reset();
    drop(server);
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "all of it");
    assert_eq!(poll_fn(|cx| client.poll_write_bytes(cx, b"x")).await, Err(NetError::Reset));
}

#[tokio::test]
async fn an_end_that_is_shut_for_reading_loses_what_comes_and_holds_nobody_up() {
    let (client, server) = connected().await;
    server.shut_read();
    for _ in 0..10 {
        assert_eq!(poll_fn(|cx| client.poll_write_bytes(cx, &[1; BUFFER_BYTES])).await, Ok(BUFFER_BYTES));
    }
    assert_eq!(poll_fn(|cx| server.poll_read_bytes(cx, &mut [0])).await, Ok(0));
    assert!(waits(poll_fn(|cx| client.poll_gone(cx))).await);
    drop(server);
    poll_fn(|cx| client.poll_gone(cx)).await;
}

#[tokio::test]
async fn who_waits_to_read_or_write_learns_of_the_other_ends_death() {
    let (client, server) = connected().await;
    static MUCH: [u8; BUFFER_BYTES] = [7; BUFFER_BYTES];
    assert_eq!(poll_fn(|cx| client.poll_write_bytes(cx, &MUCH)).await, Ok(BUFFER_BYTES));
    let write = poll_fn(|cx| client.poll_write_bytes(cx, &MUCH));
    let (written, ()) = tokio::join!(write, async { drop(server) });
    assert_eq!(written, Err(NetError::Broken));

    let (client, server) = connected().await;
    let mut buf = [0];
    let read = poll_fn(|cx| client.poll_read_bytes(cx, &mut buf));
    let (read, ()) = tokio::join!(read, async {
        server.reset();
        drop(server);
    });
    assert_eq!(read, Err(NetError::Reset));
}

#[tokio::test]
async fn datagrams_arrive_whole_with_their_senders_address_or_not_at_all() {
    let net = Loopback::new();
    for (at, to) in [("127.0.0.1:53", "127.0.0.1:53"), ("0.0.0.0:54", "127.0.0.9:54"), ("[::]:53", "[::1]:53")] {
        let server = udp(&net, at);
        let client = udp(&net, if at.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" });
        client.send(b"one".to_vec(), addr(to)).unwrap();
        client.send(Vec::new(), addr(to)).unwrap();
        let (bytes, from) = poll_fn(|cx| server.poll_receive(cx)).await;
        assert_eq!((bytes.as_slice(), from.port()), (&b"one"[..], client.local_addr().port()));
        assert!(is_loopback(from.ip()), "{from}");
        assert_eq!(poll_fn(|cx| server.poll_receive(cx)).await, (Vec::new(), from));
        server.send(b"back".to_vec(), from).unwrap();
        assert_eq!(poll_fn(|cx| client.poll_receive(cx)).await.0, b"back");
    }
    let client = udp(&net, "127.0.0.1:0");
    assert_eq!(client.send(Vec::new(), addr("127.0.0.1:9")), Ok(()), "nobody is there, and nobody tells");
    assert_eq!(client.send(vec![0; MAX_DATAGRAM_BYTES + 1], addr("127.0.0.1:9")), Err(NetError::TooLarge));
    assert_eq!(client.send(Vec::new(), addr("[::1]:53")), Err(NetError::NotBindable), "families are apart");
}

#[tokio::test]
async fn l31_a_full_mailbox_loses_datagrams_and_so_does_a_workload_that_has_too_many_bytes() {
    let net = Loopback::new();
    let client = udp(&net, "127.0.0.1:0");
    let server = udp(&net, "127.0.0.1:53");
    for _ in 0..2 * MAX_WAITING_DATAGRAMS {
        client.send(vec![1], addr("127.0.0.1:53")).unwrap();
    }
    let mut got = 0;
    while !waits(poll_fn(|cx| server.poll_receive(cx))).await {
        got += 1;
    }
    assert_eq!(got, MAX_WAITING_DATAGRAMS);

    let servers: Vec<Datagrams> = (1000..1003).map(|port| udp(&net, &format!("127.0.0.1:{port}"))).collect();
    for port in 1000..1003 {
        for _ in 0..MAX_WAITING_DATAGRAMS {
            client.send(vec![1; MAX_DATAGRAM_BYTES], addr(&format!("127.0.0.1:{port}"))).unwrap();
        }
    }
    assert!(net.waiting.load(Ordering::Relaxed) <= MAX_WAITING_BYTES);
    drop(servers);
    assert_eq!(net.waiting.load(Ordering::Relaxed), 0, "what is read by nobody is given back");
}

#[tokio::test]
async fn workloads_have_nothing_of_each_others_loopback() {
    let (one, two) = (Loopback::new(), Loopback::new());
    let (_listener, server) = (listen(&one, "0.0.0.0:80"), udp(&one, "0.0.0.0:53"));
    assert_eq!(two.connect(None, addr("127.0.0.1:80")).await.err(), Some(NetError::Refused));
    listen(&two, "0.0.0.0:80");
    udp(&two, "127.0.0.1:0").send(b"to nobody".to_vec(), addr("127.0.0.1:53")).unwrap();
    assert!(waits(poll_fn(|cx| server.poll_receive(cx))).await);
}

#[tokio::test]
async fn what_a_dropped_end_held_is_free_again() {
    let net = Loopback::new();
    for _ in 0..3 * MAX_ADDRESSES {
        let listener = listen(&net, "127.0.0.1:80");
        let client = net.connect(None, addr("127.0.0.1:80")).await.unwrap();
        let server = accept(&listener).await;
        drop((listener, udp(&net, "127.0.0.1:53"), client, server));
    }
    assert_eq!(net.connections.available_permits(), MAX_CONNECTIONS);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_survive_any_chunking_both_ways(
        up in proptest::collection::vec(any::<u8>(), 0..3 * BUFFER_BYTES),
        down in proptest::collection::vec(any::<u8>(), 0..3 * BUFFER_BYTES),
        writes in proptest::collection::vec(1..40_000usize, 1..20),
        reads in proptest::collection::vec(1..40_000usize, 1..20),
    ) {
        async fn send(stream: &Stream, mut bytes: &[u8], sizes: &[usize]) {
            for size in sizes.iter().cycle() {
                if bytes.is_empty() {
                    break;
                }
                let chunk = &bytes[..bytes.len().min(*size)];
                let count = poll_fn(|cx| stream.poll_write_bytes(cx, chunk)).await.unwrap();
                bytes = &bytes[count..];
            }
            stream.shut_write();
        }
        async fn receive(stream: &Stream, sizes: &[usize]) -> Vec<u8> {
            let mut all = Vec::new();
            for size in sizes.iter().cycle() {
                let mut buf = vec![0; *size];
                match poll_fn(|cx| stream.poll_read_bytes(cx, &mut buf)).await.unwrap() {
                    0 => break,
                    count => all.extend(&buf[..count]),
                }
            }
            all
        }
        let run = async {
            let (client, server) = connected().await;
            let (_, got_up, _, got_down) = tokio::join!(
                send(&client, &up, &writes), receive(&server, &reads), send(&server, &down, &reads), receive(&client, &writes),
            );
            (got_up, got_down)
        };
        let (got_up, got_down) = runtime().block_on(async { tokio::time::timeout(Duration::from_secs(60), run).await }).unwrap();
        prop_assert!(got_up == up && got_down == down);
    }

    /// Workloads take, listen at, connect to and send to the same few addresses in any order: what one says reaches itself alone.
    #[test]
    fn l40_no_order_of_things_makes_workloads_hear_each_other(steps in proptest::collection::vec((0..3usize, 0..4u8, 1..4u16), 1..200)) {
        let nets: Vec<Arc<Loopback>> = (0..3).map(|_| Loopback::new()).collect();
        runtime().block_on(async {
            let mut listeners: Vec<(usize, Listener)> = Vec::new();
            let mut mailboxes: Vec<(usize, Datagrams)> = Vec::new();
            for (who, what, port) in steps {
                let (net, at) = (&nets[who], addr(&format!("127.0.0.1:{port}")));
                match what {
                    0 => listeners.extend(net.bind(Protocol::Tcp, at).ok().map(|bound| (who, Listener::new(bound, 1)))),
                    1 => mailboxes.extend(net.bind(Protocol::Udp, at).ok().map(|bound| (who, Datagrams::new(bound)))),
                    2 => {
                        let mine = listeners.iter().find(|(owner, listener)| *owner == who && listener.local_addr() == at);
                        match (net.connect(None, at).await, mine) {
                            (Err(NetError::Refused), None) => {}
                            (Ok(stream), Some((_, listener))) => {
                                poll_fn(|cx| stream.poll_write_bytes(cx, &[who as u8])).await.unwrap();
                                let mut got = [9];
                                let accepted = accept(listener).await;
                                poll_fn(|cx| accepted.poll_read_bytes(cx, &mut got)).await.unwrap();
                                assert_eq!(got, [who as u8]);
                            }
                            (outcome, mine) => panic!("{:?} with a listener: {}", outcome.err(), mine.is_some()),
                        }
                    }
                    _ => {
                        let from = udp(net, "127.0.0.1:0");
                        from.send(vec![who as u8], at).unwrap();
                    }
                }
            }
            for (owner, mailbox) in &mailboxes {
                loop {
                    let got = poll_fn(|cx| std::task::Poll::Ready(match mailbox.poll_receive(cx) {
                        std::task::Poll::Ready((bytes, _)) => Some(bytes),
                        std::task::Poll::Pending => None,
                    })).await;
                    let Some(bytes) = got else { break };
                    assert_eq!(bytes, [*owner as u8]);
                }
            }
        });
    }
}
