//! Connections are served by all threads alike, however the kernel hands them out.

use std::collections::HashMap;

use berth_http::ServerLimits;

use crate::support::Site;

#[tokio::test]
async fn no_thread_serves_many_more_connections_than_another() {
    let (threads, connections) = (4, 64);
    let site = Site::start(threads, ServerLimits::default(), None);
    let mut by_thread = HashMap::<String, usize>::new();
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = site.http1().await;
        let thread = client.get("/hello").await.headers()["x-thread"].to_str().expect("text").to_owned();
        *by_thread.entry(thread).or_default() += 1;
        clients.push(client);
    }
    assert_eq!(by_thread.len(), threads, "{by_thread:?}");
    let (least, most) = (by_thread.values().min().expect("some"), by_thread.values().max().expect("some"));
    assert!(most - least <= 2, "{by_thread:?}, {} handed over", site.running.figures().handed_over);
    assert!(site.running.figures().handed_over > 0, "64 hashes can't be that even");
    drop(clients);
    site.figures(|figures| figures.open == 0).await;
}

#[tokio::test]
async fn connections_that_come_at_once_are_all_served() {
    let site = Site::start(3, ServerLimits::default(), None);
    let answers = (0..200).map(|_| async { site.http1().await.get("/hello").await.into_body() });
    for answer in futures::future::join_all(answers).await {
        assert_eq!(answer, "hello");
    }
    site.figures(|figures| figures.open == 0 && figures.accepted == 200).await;
}
