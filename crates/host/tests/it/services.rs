//! The life of services: started, told to end, started again, given up - and what of it shows (L33).

use std::time::{Duration, Instant};

use berth_host::{HostConfig, State, Status};
use berth_model::event::Severity;
use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Resources, Service, Workload};
use http::StatusCode;

use crate::harness::{Bench, request, wanted, within, workload};

const MS: Duration = Duration::from_millis(1);

/// A host whose services settle, fail and are given up in little time.
fn bench() -> Bench {
    Bench::with(quick)
}

pub fn quick(config: &mut HostConfig) {
    let services = &mut config.services;
    (services.settle, services.grace) = (100 * MS, 300 * MS);
    (services.first_wait, services.longest_wait) = (MS, 5 * MS);
}

/// The same for services that never come up: however long a trap's backtrace takes to be read, they don't count as running before.
fn failing_bench() -> Bench {
    Bench::with(|config| {
        quick(config);
        config.services.settle = Duration::from_secs(3600);
    })
}

/// The workload with a service: the guest, told what to do by its environment.
pub fn with_service(mut workload: Workload, guest: &str, environment: &[(&str, &str)]) -> Workload {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    workload.service = Some(Service {
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        max_restarts: 2,
        resources: Resources { environment, ..Resources::default() },
        links: Vec::new(),
    });
    workload
}

/// A workload that is a service alone.
fn service(name: &str, guest: &str, environment: &[(&str, &str)]) -> Workload {
    let mut workload = with_service(workload(name, guest, &[]), guest, environment);
    (workload.components, workload.http) = (Vec::new(), None);
    workload
}

/// A workload of an HTTP component beside a service.
fn beside(name: &str, environment: &[(&str, &str)]) -> Workload {
    with_service(workload(name, "p2-hello", &[name]), "service-p2", environment)
}

fn restarts(mut workload: Workload, most: u64) -> Workload {
    workload.service.as_mut().unwrap().max_restarts = most;
    workload
}

impl Bench {
    pub fn lines(&self, workload: &str) -> Vec<String> {
        self.host.logs().tail("default", Some(workload), 1000).iter().map(|line| line.text.clone()).collect()
    }

    fn status_of(&self, name: &str) -> Option<Status> {
        self.host.statuses().into_iter().find(|status| status.name == name)
    }

    /// Waits for a state and gives the status that has it.
    async fn reaches(&self, name: &str, state: State) -> Status {
        self.eventually(&format!("{name} is {state:?}"), || self.status_of(name).is_some_and(|status| status.state == state)).await;
        self.status_of(name).unwrap()
    }

    /// Stops a workload and waits until it is gone; how long that took.
    async fn end(&self, name: &str) -> Duration {
        let (start, id) = (Instant::now(), self.status_of(name).unwrap().id);
        self.host.stop_workload(&id).unwrap();
        self.eventually("it is gone", || self.status_of(name).is_none()).await;
        start.elapsed()
    }

    async fn nothing_is_left(&self) {
        self.eventually("no instance is left", || self.metric("berth_instances_live", "") == 0.0).await;
        // Large memories are given back elsewhere.
        self.eventually("no memory is held", || self.metric("berth_guest_memory_bytes", "") == 0.0).await;
        assert_eq!(self.metric("berth_services_running", ""), 0.0);
    }
}

#[tokio::test]
async fn a_service_alone_is_a_workload_and_ends_when_its_standard_input_does() {
    let bench = bench();
    for guest in ["service-p2", "service-p3"] {
        let status = bench.run(service(guest, guest, &[("DO", "wait")])).await;
        assert!(status.ready && status.restarts == 0 && status.reason.is_empty(), "{status:?}");
        let names: Vec<_> = status.components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names, ["service"]);
        assert_eq!(bench.metric("berth_services_running", &format!("workload=\"{guest}\"")), 1.0);
        assert_eq!(bench.lines(guest), ["begins: wait"]);
        let took = bench.end(guest).await;
        assert!(took < 250 * MS, "it was told, not interrupted: {took:?}");
        assert!(bench.lines(guest)[1].starts_with("told to end"), "{:?}", bench.lines(guest));
    }
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l33_a_service_that_has_done_its_work_is_completed_and_http_goes_on() {
    let bench = bench();
    bench.host.set_wanted(vec![wanted(beside("both", &[])), wanted(service("three", "service-p3", &[]))]);
    for name in ["both", "three"] {
        let status = bench.reaches(name, State::Completed).await;
        assert!(!status.ready && status.reason == "ServiceCompleted" && status.restarts == 0, "{status:?}");
    }
    assert_eq!(bench.get_from("both", "/").await.status, StatusCode::OK);
    let events = bench.events.with_reason("ServiceCompleted");
    assert!(events.len() == 2 && events.iter().all(|event| event.severity == Severity::Normal), "{events:?}");
    assert_eq!(bench.lines("three").iter().filter(|line| line.starts_with("begins")).count(), 1, "it isn't started again");
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l33_a_service_that_fails_is_started_again_as_often_as_allowed_and_then_its_workload_is_an_error() {
    let bench = bench();
    // It comes up, so that the workload serves, and then fails again and again.
    let failing = beside("failing", &[("DO", "exit"), ("MS", "600")]);
    bench.host.set_wanted(vec![wanted(failing)]);
    bench.reaches("failing", State::Running).await;
    let restarting = bench.reaches("failing", State::Starting).await;
    assert!(!restarting.ready && restarting.reason == "ServiceRestarting", "{restarting:?}");
    assert!(restarting.message.starts_with("the service exited with status 1; restart "), "{restarting:?}");
    let status = bench.reaches("failing", State::Error).await;
    assert!(status.reason == "ServiceFailed" && !status.ready && status.restarts == 2, "{status:?}");
    assert_eq!(status.message, "the service exited with status 1, and was restarted 2 times in 600 s, as often as maxRestarts allows");
    assert_eq!(bench.get_from("failing", "/").await.status, StatusCode::OK, "HTTP goes on");
    assert_eq!(bench.lines("failing").iter().filter(|line| line.starts_with("begins")).count(), 3);
    assert_eq!(bench.metric("berth_restarts_total", "workload=\"failing\""), 2.0, "L45");
    assert!(!bench.events.with_reason("ServiceRestarting").is_empty() && bench.events.with_reason("ServiceFailed").len() == 1);
    bench.end("failing").await;
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l33_a_start_says_how_its_service_failed() {
    let bench = failing_bench();
    let start = async |workload| bench.host.start_workload(wanted(workload)).await;
    let cases = [
        (restarts(service("none", "service-p2", &[("DO", "exit")]), 0), "exited with status 1, and maxRestarts is 0"),
        (service("error", "service-p3", &[("DO", "error")]), "ended with an error, and was restarted 2 times"),
        (service("exit", "service-p3", &[("DO", "exit")]), "exited with status 1, and was restarted 2 times"),
        (service("trap", "service-p3", &[("DO", "trap")]), "trapped: wasm trap: wasm `unreachable` instruction executed, and"),
    ];
    for (workload, words) in cases {
        let status = start(workload).await;
        assert_eq!((status.state, status.reason.as_str()), (State::Error, "ServiceFailed"), "{status:?}");
        assert!(status.message.contains(words), "{status:?}");
    }
    assert!(bench.host.statuses().is_empty(), "a failed start leaves its id free");
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l43_the_trap_of_a_service_is_in_the_log_with_its_backtrace() {
    let bench = failing_bench();
    let status = bench.host.start_workload(wanted(service("trap", "service-p2", &[("DO", "trap")]))).await;
    assert_eq!(status.state, State::Error, "{status:?}");
    let text = bench.lines("trap").join("\n");
    assert!(text.contains("wasm backtrace") && text.contains("divide") && text.contains("unreachable"), "{text}");
    let told = &bench.events.with_reason("ServiceRestarting")[0];
    assert!(told.severity == Severity::Warning && told.message.contains("unreachable"), "{told:?}");
}

#[tokio::test]
async fn l30_a_service_that_computes_for_ever_leaves_requests_their_turn_and_is_interrupted() {
    let bench = bench();
    for guest in ["service-p2", "service-p3"] {
        // On both threads.
        for name in ["one", "two"] {
            bench.run(service(&format!("{guest}-{name}"), guest, &[("DO", "spin")])).await;
        }
        bench.run(workload("good", "p2-hello", &["good"])).await;
        for _ in 0..20 {
            assert_eq!(bench.get_from("good", "/").await.status, StatusCode::OK);
        }
        bench.end(&format!("{guest}-one")).await;
        bench.end(&format!("{guest}-two")).await;
        bench.end("good").await;
    }
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn a_service_that_doesnt_end_when_told_is_interrupted_after_its_grace() {
    let bench = bench();
    for guest in ["service-p2", "service-p3"] {
        bench.run(service(guest, guest, &[("DO", "ignore")])).await;
        let took = bench.end(guest).await;
        assert!(took >= 300 * MS && took < 5000 * MS, "{took:?}");
    }
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l31_a_service_that_takes_all_memory_ends_at_its_limit_and_starts_in_a_fresh_store() {
    let bench = failing_bench();
    let mut leaking = service("leaking", "service-p2", &[("DO", "leak")]);
    leaking.service.as_mut().unwrap().resources.limits = Limits { memory_bytes: Some(16 << 20), ..Limits::default() };
    let status = bench.host.start_workload(wanted(leaking)).await;
    assert!(status.state == State::Error && status.message.contains("memory limit of 16 MiB"), "{status:?}");
    assert_eq!(bench.lines("leaking").iter().filter(|line| line.starts_with("begins")).count(), 3, "each had its own memory");
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l38_a_service_sees_its_own_environment_alone() {
    let bench = bench();
    let mut both = beside("both", &[("DO", "environment"), ("ITS", "own")]);
    both.components[0].resources.environment.insert("OTHERS".into(), "secret".into());
    bench.host.set_wanted(vec![wanted(both)]);
    bench.reaches("both", State::Completed).await;
    let log = bench.host.logs().tail("default", Some("both"), 1000);
    let of_service: Vec<_> = log.iter().filter(|line| line.component == "service").map(|line| line.text.as_str()).collect();
    assert!(of_service.contains(&"ITS=own") && of_service.contains(&"DO=environment"), "{of_service:?}");
    assert!(!log.iter().any(|line| line.text.contains("OTHERS") || line.text.starts_with("PATH=")), "{log:?}");
}

#[tokio::test]
async fn what_is_no_program_is_refused_by_what_it_exports() {
    let bench = bench();
    let status = bench.host.start_workload(wanted(service("handler", "p2-hello", &[]))).await;
    assert_eq!((status.state, status.reason.as_str()), (State::Error, "NoRunExport"), "{status:?}");
    assert!(status.message.contains("wasi:http/incoming-handler@") && status.message.contains("wasi:cli/run"), "{status:?}");
    let status = bench.host.start_workload(wanted(service("missing", "p2-missing-import", &[]))).await;
    assert!(status.message.starts_with("component service imports acme:widgets"), "{status:?}");
    let bench = Bench::with(|config| config.wasi_p3 = false);
    let status = bench.host.start_workload(wanted(service("three", "service-p3", &[]))).await;
    assert_eq!(status.reason, "WasiP3Disabled", "{status:?}");
}

#[tokio::test]
async fn l31_a_host_runs_so_many_services_and_one_that_ends_makes_room() {
    let bench = Bench::with(|config| {
        quick(config);
        config.services.most = 1;
    });
    bench.run(service("one", "service-p2", &[("DO", "wait")])).await;
    let status = bench.host.start_workload(wanted(service("two", "service-p2", &[("DO", "wait")]))).await;
    assert!(status.reason == "ServiceLimit" && status.message.contains("(services)"), "{status:?}");
    bench.end("one").await;
    bench.run(service("two", "service-p2", &[("DO", "wait")])).await;
}

/// At the limit a replacement comes up beside what it replaces, or nothing could ever be replaced.
#[tokio::test]
async fn l07_at_the_limit_an_edit_and_another_version_of_a_deployment_get_through() {
    let bench = Bench::with(|config| {
        quick(config);
        config.services.most = 1;
    });
    bench.run(beside("app", &[("DO", "wait"), ("VERSION", "1")])).await;
    bench.host.set_wanted(vec![wanted(beside("app", &[("DO", "wait"), ("VERSION", "2")]))]);
    bench.eventually("the old one was told", || bench.lines("app").iter().any(|line| line.starts_with("told to end"))).await;
    bench.eventually("the new one serves", || bench.status_of("app").is_some_and(|s| s.ready && s.reason.is_empty())).await;

    // Replicas of a deployment have its name for their owner's.
    let replica = |name: &str, version: &str| {
        let mut wanted = wanted(service(name, "service-p2", &[("DO", "wait"), ("VERSION", version)]));
        wanted.owner = "default/app".into();
        wanted
    };
    bench.end("app").await;
    bench.host.set_wanted(vec![replica("app-1", "1")]);
    bench.reaches("app-1", State::Running).await;
    bench.host.set_wanted(vec![replica("app-1", "1"), replica("app-2", "1")]);
    assert_eq!(bench.reaches("app-2", State::Error).await.reason, "ServiceLimit", "one more of the same has no place");
    bench.host.set_wanted(vec![replica("app-1", "1"), replica("app-3", "2")]);
    bench.reaches("app-3", State::Running).await;
    bench.host.set_wanted(vec![replica("app-3", "2")]);
    bench.eventually("the old one is gone", || bench.status_of("app-1").is_none()).await;
    bench.host.set_wanted(vec![replica("app-3", "2"), wanted(service("other", "service-p2", &[("DO", "wait")]))]);
    assert_eq!(bench.reaches("other", State::Error).await.reason, "ServiceLimit", "the new one has the place");
}

#[tokio::test]
async fn an_edit_starts_the_new_service_beside_the_old_one_which_is_told_to_end_when_the_new_one_is_up() {
    let bench = bench();
    bench.run(beside("app", &[("DO", "wait"), ("VERSION", "1")])).await;
    bench.host.set_wanted(vec![wanted(beside("app", &[("DO", "ignore")]))]);
    bench.eventually("both run", || bench.metric("berth_services_running", "workload=\"app\"") == 2.0).await;
    bench
        .eventually("the new one serves", || bench.status_of("app").is_some_and(|s| s.state == State::Running && s.reason.is_empty()))
        .await;
    bench.eventually("the old one is gone", || bench.metric("berth_services_running", "workload=\"app\"") == 1.0).await;
    let lines = bench.lines("app");
    assert_eq!(lines[..2], ["begins: wait", "begins: ignore"]);
    assert!(lines[2].starts_with("told to end"), "{lines:?}");
}

#[tokio::test]
async fn l07_an_edit_whose_service_fails_leaves_the_version_before_it_as_it_is() {
    let bench = Bench::with(|config| {
        quick(config);
        // Longer than a service needs to fail.
        config.services.settle = Duration::from_secs(2);
    });
    bench.run(beside("app", &[("DO", "wait")])).await;
    bench.host.set_wanted(vec![wanted(beside("app", &[("DO", "exit")]))]);
    bench.eventually("the edit has failed", || bench.status_of("app").is_some_and(|s| s.reason == "ServiceFailed")).await;
    let status = bench.status_of("app").unwrap();
    assert!(status.state == State::Running && status.ready && status.message.contains("status 1"), "{status:?}");
    assert_eq!(bench.metric("berth_services_running", "workload=\"app\""), 1.0);
    assert_eq!(bench.get_from("app", "/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_was_overtaken_before_it_was_up_is_gone() {
    let bench = Bench::with(|config| config.services.settle = Duration::from_secs(3600));
    bench.host.set_wanted(vec![wanted(service("app", "service-p2", &[("DO", "ignore")]))]);
    bench.eventually("it runs", || bench.lines("app") == ["begins: ignore"]).await;
    assert_eq!(bench.status_of("app").unwrap().state, State::Starting);
    bench.host.set_wanted(vec![wanted(workload("app", "p2-hello", &["app"]))]);
    bench.reaches("app", State::Running).await;
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l34_a_drain_tells_services_to_end_and_interrupts_what_is_left() {
    let bench = bench();
    bench.run(service("told", "service-p2", &[("DO", "wait")])).await;
    bench.run(service("deaf", "service-p3", &[("DO", "ignore")])).await;
    within(bench.host.drain(Duration::from_secs(5))).await;
    assert!(bench.host.statuses().is_empty());
    assert!(bench.lines("told")[1].starts_with("told to end"), "{:?}", bench.lines("told"));
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn l34_a_service_has_its_own_grace_when_requests_have_used_up_that_of_the_drain() {
    let grace = 2000 * MS;
    let bench = Bench::with(|config| {
        quick(config);
        config.services.grace = grace;
    });
    bench.run(with_service(workload("app", "p2", &["app"]), "service-p2", &[("DO", "ignore")])).await;
    let drain = async {
        bench.eventually("the request is under way", || bench.metric("berth_requests_in_flight", "") == 1.0).await;
        let start = Instant::now();
        within(bench.host.drain(100 * MS)).await;
        start.elapsed()
    };
    let mut slow = request("GET", "/sleep?ms=60000");
    slow.headers_mut().insert("host", "app".parse().unwrap());
    let mut connection = bench.connect().await;
    let (answer, took) = tokio::join!(connection.send_request(slow), drain);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() != StatusCode::OK), "it was cut");
    assert!(took >= grace && took < 10 * grace, "{took:?}");
    bench.nothing_is_left().await;
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_no_service() {
    let bench = bench();
    for what in ["spin", "wait"] {
        bench.run(service(what, "service-p2", &[("DO", what)])).await;
    }
    bench.host.kill();
    bench.eventually("no instance is left", || bench.metric("berth_instances_live", "") == 0.0).await;
}
