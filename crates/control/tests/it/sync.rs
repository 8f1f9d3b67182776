//! Comparison of whole sets.

use std::time::Duration;

use berth_control::{Bus as _, CallError, MemoryBusConfig, ServerConfig, Wanted, WorkloadState, subjects};

use crate::support::{STUCK, id, serve, serve_with, wanted};

#[tokio::test]
async fn the_host_gets_the_whole_set_and_says_where_each_stands() {
    let served = serve().await;
    let set = [wanted("a"), wanted("b")];
    let reports = served.client.sync(&set).await.unwrap();
    assert_eq!(
        reports.iter().map(|r| (r.id.as_str(), r.state)).collect::<Vec<_>>(),
        [("a", WorkloadState::Starting), ("b", WorkloadState::Starting)]
    );
    assert_eq!(served.client.sync(&[]).await.unwrap(), []);
    assert_eq!(*served.host.sets.lock().unwrap(), [set.to_vec(), Vec::new()]);
}

#[tokio::test]
async fn a_set_larger_than_a_message_arrives_whole_and_so_do_its_reports() {
    let bus = MemoryBusConfig { max_payload: 64 << 10, ..MemoryBusConfig::default() };
    let served = serve_with(ServerConfig { heartbeat_every: Duration::from_secs(3600), ..ServerConfig::default() }, bus).await;
    *served.host.message.lock().unwrap() = "why \u{e9}".repeat(100);
    let set: Vec<Wanted> = (0..3000).map(|i| wanted(&format!("w{i}"))).collect();
    let reports = served.client.sync(&set).await.unwrap();
    assert_eq!(reports.iter().map(|r| &r.id).collect::<Vec<_>>(), set.iter().map(|w| &w.id).collect::<Vec<_>>());
    assert!(reports.iter().all(|report| report.message.starts_with("why")));
    let sets = served.host.sets.lock().unwrap();
    assert!(sets.len() == 1 && sets[0] == set, "one set, in order");
}

#[tokio::test]
async fn a_workload_too_large_for_the_bus_is_reported_and_keeps_no_other_from_running() {
    let served = serve().await;
    let mut large = wanted("large");
    large.workload.components[0].resources.config.insert("blob".into(), "x".repeat(1 << 20));
    let reports = served.client.sync(&[large, wanted("small")]).await.unwrap();
    let report = |name: &str| reports.iter().find(|r| r.id == id(name)).unwrap();
    assert_eq!((report("large").state, report("large").reason.as_str()), (WorkloadState::Error, "TooLarge"));
    assert_eq!(report("small").state, WorkloadState::Starting);
    assert_eq!(served.host.sets.lock().unwrap()[0], [wanted("small")]);
}

#[tokio::test]
async fn a_workload_that_cant_be_read_is_reported_and_keeps_no_other_from_running() {
    let served = serve().await;
    let good = r#"{"namespace":"n","name":"x","witWorld":{"components":[{"name":"c","image":"ghcr.io/a/b:1"}]}}"#;
    let request = format!(
        r#"{{"round":"r","parts":1,"wanted":[
            {{"workloadId":"bad","owner":"n/x","created":"2026-01-01T00:00:00Z","workload":{{"namespace":"n","name":"x","witWorld":{{"components":[{{"name":"c"}}]}}}}}},
            {{"workloadId":"timeless","owner":"n/x","workload":{good}}},
            {{"workloadId":"two words","owner":"n/x","created":"2026-01-01T00:00:00Z","workload":{good}}},
            {{"workloadId":"good","owner":"n/x","created":"2026-01-01T00:00:00Z","workload":{good},"componentLimits":{{"c":{{"maxInFlight":5}}}}}},
            {{"workloadId":"good","owner":"n/y","created":"2026-01-01T00:00:00Z","workload":{good}}}
        ]}}"#
    );
    let reply = served.request(&subjects::extension(served.id, "sync"), &request).await;
    let value: serde_json::Value = serde_json::from_str(&reply).unwrap();
    let reports = value["reports"].as_array().unwrap();
    let report = |name: &str| reports.iter().find(|r| r["workloadId"] == name).unwrap_or_else(|| panic!("no {name} in {value}"));
    assert_eq!(report("bad")["state"], "WORKLOAD_STATE_ERROR");
    assert_eq!(report("bad")["reason"], "InvalidWorkload");
    assert!(report("bad")["message"].as_str().unwrap().contains("workload.witWorld.components[0].image"), "{value}");
    assert!(report("timeless")["message"].as_str().unwrap().contains("created"), "{value}");
    assert_eq!(report("good")["state"], "WORKLOAD_STATE_STARTING");
    assert_eq!(reports.len(), 3);
    let sets = served.host.sets.lock().unwrap();
    assert_eq!((sets[0].len(), sets[0][0].owner.as_str()), (1, "n/x"));
    assert_eq!(sets[0][0].workload.components[0].resources.limits.max_in_flight, Some(5));
}

#[tokio::test(start_paused = true)]
async fn l04_a_stuck_sync_is_cut_and_the_next_one_works() {
    let served = serve().await;
    let error = served.client.sync(&[wanted(STUCK)]).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused { message, .. } if message.contains("within 8s")), "{error}");
    assert_eq!(served.client.sync(&[wanted("a")]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_part_of_a_forgotten_round_is_refused() {
    let served = serve().await;
    let subject = subjects::extension(served.id, "sync");
    assert_eq!(served.request(&subject, r#"{"round":"a","parts":2}"#).await, "{}");
    assert_eq!(served.request(&subject, r#"{"round":"b","parts":2}"#).await, "{}");
    assert!(served.request(&subject, r#"{"round":"a","part":1,"parts":2}"#).await.contains("out of order"));
    assert!(served.request(&subject, r#"{"round":"b","reportsFrom":1}"#).await.contains("gone"));
    assert!(served.host.sets.lock().unwrap().is_empty(), "half a set is no set");
}

#[tokio::test]
async fn a_change_of_one_workload_sends_that_one_and_the_host_answers_with_what_differs() {
    let served = serve().await;
    let set: Vec<Wanted> = (0..3000).map(|i| wanted(&format!("w{i:04}"))).collect();
    let agreed = served.client.agree(&set).await.unwrap();
    assert_eq!(agreed.reports().len(), 3000);
    let mut messages = served.bus.connect().subscribe(&subjects::extension(served.id, "sync")).await.unwrap();

    let agreed = served.client.amend(agreed, &[wanted("new")], &[id("w0007")]).await.unwrap().unwrap();
    let reports = agreed.reports();
    assert_eq!(reports.len(), 3000);
    assert!(reports.contains_key(&id("new")) && !reports.contains_key(&id("w0007")));
    let sent = messages.next().await.unwrap();
    assert!(sent.payload.len() < 2000, "{} bytes", sent.payload.len());
    assert_eq!(*served.host.changes.lock().unwrap(), [(vec!["new".to_owned()], vec![id("w0007")])]);
    let sets = served.host.sets.lock().unwrap();
    assert_eq!((sets.len(), sets[1].len()), (2, 3000));
}

#[tokio::test]
async fn what_changes_on_the_host_shows_in_the_answer_to_a_change_of_nothing() {
    let served = serve().await;
    let agreed = served.client.agree(&[wanted("a"), wanted("b")]).await.unwrap();
    "late".clone_into(&mut served.host.message.lock().unwrap());
    let agreed = served.client.amend(agreed, &[], &[]).await.unwrap().unwrap();
    assert!(agreed.reports().values().all(|report| report.message == "late"));
}

#[tokio::test]
async fn l06_a_host_that_doesnt_know_the_agreement_any_more_asks_for_the_whole_set() {
    let served = serve().await;
    let old = served.client.agree(&[wanted("a")]).await.unwrap();
    served.client.agree(&[wanted("a"), wanted("b")]).await.unwrap();
    assert!(served.client.amend(old, &[wanted("c")], &[]).await.unwrap().is_none());
    assert_eq!(served.host.sets.lock().unwrap().len(), 2, "nothing was done");
    assert_eq!(served.client.agree(&[wanted("c")]).await.unwrap().reports().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn l06_after_a_change_that_was_cut_the_whole_set_is_asked_for() {
    let served = serve().await;
    let agreed = served.client.agree(&[wanted("a")]).await.unwrap();
    let subject = subjects::extension(served.id, "sync");
    served.client.amend(agreed, &[wanted(STUCK)], &[]).await.unwrap_err();
    let reply = served.request(&subject, r#"{"round":"r","base":"any"}"#).await;
    assert!(reply.contains("unknownBase"), "{reply}");
}

#[tokio::test]
async fn a_change_that_makes_a_workload_too_large_stops_it_and_says_so() {
    let served = serve().await;
    let agreed = served.client.agree(&[wanted("a"), wanted("b")]).await.unwrap();
    let mut large = wanted("a");
    large.workload.components[0].resources.config.insert("blob".into(), "x".repeat(1 << 20));
    let agreed = served.client.amend(agreed, &[large], &[]).await.unwrap().unwrap();
    assert_eq!(agreed.reports()[&id("a")].reason, "TooLarge");
    assert_eq!(served.host.sets.lock().unwrap()[1], [wanted("b")]);
    let agreed = served.client.amend(agreed, &[wanted("a")], &[]).await.unwrap().unwrap();
    assert_eq!(agreed.reports()[&id("a")].state, WorkloadState::Starting);
}

#[tokio::test]
async fn l06_when_more_has_gone_than_a_message_holds_the_change_is_made_and_the_whole_set_is_asked_for() {
    let bus = MemoryBusConfig { max_payload: 64 << 10, ..MemoryBusConfig::default() };
    let served = serve_with(ServerConfig { heartbeat_every: Duration::from_secs(3600), ..ServerConfig::default() }, bus).await;
    let set: Vec<Wanted> = (0..5000).map(|i| wanted(&format!("w{i:04}"))).collect();
    let agreed = served.client.agree(&set).await.unwrap();
    // The host loses all that it had.
    served.host.sets.lock().unwrap().push(Vec::new());
    assert!(served.client.amend(agreed, &[wanted("new")], &[]).await.unwrap().is_none());
    assert_eq!(*served.host.sets.lock().unwrap().last().unwrap(), [wanted("new")], "it was done");
    let agreed = served.client.agree(&[wanted("new")]).await.unwrap();
    assert_eq!(agreed.reports().len(), 1);
    assert!(served.client.amend(agreed, &[wanted("more")], &[]).await.unwrap().is_some());
}
