//! Components that call what their workload's service exports: values are copied between two stores.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_host::{Host, State, Status};
use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, Resources, Reuse, Service, Workload};
use futures::future::join_all;
use http::StatusCode;

use crate::harness::{Answer, Bench, limited, request, reused, wanted, within, workload};

const MS: Duration = Duration::from_millis(1);
/// All requests in one instance.
const TOGETHER: Reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 1000 };

/// A host whose services come up, and are started again, in little time.
fn bench() -> Bench {
    Bench::with(|config| {
        config.services.settle = 50 * MS;
        (config.services.first_wait, config.services.longest_wait) = (MS, 5 * MS);
    })
}

fn whose(name: &str) -> Resources {
    Resources { environment: BTreeMap::from([("WHO".into(), name.into())]), ..Resources::default() }
}

/// The workload with a service.
fn with_service(mut workload: Workload, guest: &str) -> Workload {
    workload.components[0].resources = whose("front");
    workload.service = Some(Service {
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        max_restarts: 5,
        resources: whose("service"),
        links: Vec::new(),
    });
    workload
}

/// A front of WASI 0.2 and the service that it calls.
fn two() -> Workload {
    with_service(workload("two", "desk-front", &["two"]), "desk-service")
}

/// A front of WASI 0.3 and the service that it calls.
fn three() -> Workload {
    with_service(workload("three", "desk-front-p3", &["three"]), "desk-service")
}

fn timeout(workload: Workload, time: Duration) -> Workload {
    limited(workload, Limits { request_timeout: Some(time), ..Limits::default() })
}

impl Bench {
    fn lines_of(&self, workload: &str, component: &str) -> Vec<String> {
        let lines = self.host.logs().tail("default", Some(workload), 1000);
        lines.iter().filter(|line| *line.component == *component).map(|line| line.text.clone()).collect()
    }

    fn standing(&self, name: &str) -> Status {
        self.host.statuses().into_iter().find(|status| status.name == name).unwrap()
    }

    fn calls(&self, ended: &str) -> f64 {
        self.metric("berth_component_calls_total", &format!("ended=\"{ended}\""))
    }

    /// Asks, and goes away when the task is ended.
    fn ask(&self, domain: &'static str, path: &'static str) -> tokio::task::JoinHandle<()> {
        let addr = self.host.http_addr();
        tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
            let mut get = request("GET", path);
            get.headers_mut().insert("host", domain.parse().unwrap());
            // The connection goes with this.
            let _ = tokio::join!(connection, sender.send_request(get));
        })
    }

    /// Waits until a call waits inside the service.
    async fn inside(&self, workload: &str) {
        self.eventually("a call is inside", || self.lines_of(workload, "service").iter().any(|line| line == "waits")).await;
    }

    /// Waits until the service was started again so often, and is up.
    async fn restarted(&self, name: &str, times: u32) {
        let up = |status: Status| status.restarts == times && status.state == State::Running;
        self.eventually("the service is up again", || up(self.standing(name))).await;
    }
}

async fn refused(host: &Host, workload: Workload) -> Status {
    let status = host.start_workload(wanted(workload)).await;
    assert_eq!(status.state, State::Error, "{status:?}");
    status
}

#[tokio::test]
async fn every_plain_kind_of_value_crosses_to_the_service_and_back() {
    let bench = bench();
    for (workload, domain) in [(two(), "two"), (three(), "three")] {
        bench.run(workload).await;
        let answer = bench.get_from(domain, "/pass").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "as it was"), "{domain}");
    }
    assert_eq!(bench.get_from("two", "/sum?size=100000").await.body, "100000");
    assert_eq!(bench.get_from("two", "/fill?size=100000").await.body, "100000");
    assert_eq!(bench.calls("2xx"), 4.0, "L45");
}

#[tokio::test]
async fn one_instance_of_the_service_answers_all_requests() {
    let bench = bench();
    bench.run(two()).await;
    for expected in ["2", "4", "6"] {
        assert_eq!(bench.get_from("two", "/increment?by=2").await.body, expected);
    }
}

#[tokio::test]
async fn l38_the_service_and_its_callers_keep_their_own_environment() {
    let bench = bench();
    bench.run(two()).await;
    assert_eq!(bench.get_from("two", "/env").await.body.trim(), "{\"WHO\":\"service\"}");
    assert_eq!(bench.get_from("two", "/own/env").await.body.trim(), "{\"WHO\":\"front\"}");
}

#[tokio::test]
async fn callers_wait_inside_the_service_at_once() {
    let bench = bench();
    bench.run(three()).await;
    // Each returns only when all are there.
    let answers = join_all((0..8).map(|_| bench.get_from("three", "/meet?callers=8"))).await;
    assert!(answers.iter().all(|answer| answer.body == "8"), "{answers:?}");
}

#[tokio::test]
async fn a_call_past_the_callers_deadline_is_told_with_service_and_function() {
    let bench = bench();
    bench.run(timeout(three(), 300 * MS)).await;
    bench.run(timeout(two(), 300 * MS)).await;
    for (domain, path, function) in
        [("three", "/wait?ms=60000", "test:desk/hall@1.1.0#wait"), ("two", "/spin?ms=2000", "test:desk/desk@1.1.0#spin")]
    {
        let begin = Instant::now();
        let answer = bench.get_from(domain, path).await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.body);
        let expected = format!("component {domain} called {function} of component service, which gave no answer in the time");
        assert!(answer.body.contains(&expected), "{}", answer.body);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    assert_eq!(bench.calls("timeout"), 2.0);
    // The service goes on.
    assert_eq!(bench.get_from("three", "/increment").await.body, "1");
    assert_eq!(bench.standing("three").restarts, 0);
}

#[tokio::test]
async fn l31_callers_of_a_full_service_wait_until_their_deadline_and_it_takes_calls_again() {
    let bench = bench();
    bench.run(timeout(three(), 1500 * MS)).await;
    // More than are inside and in the queue together.
    let answers = join_all((0..100).map(|_| bench.get_from("three", "/wait?ms=2500"))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::GATEWAY_TIMEOUT), "{answers:?}");
    // Those that were inside are nobody's and return; those that were still in the queue never began.
    let waited = || bench.lines_of("three", "service").iter().filter(|line| *line == "waited").count();
    bench.eventually("those inside have returned", || waited() >= 64).await;
    assert_eq!(bench.get_from("three", "/wait?ms=1").await.status, StatusCode::OK);
    assert!(waited() < 100, "{}", waited());
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_that_holds_a_slot() {
    let bench = bench();
    bench.run(three()).await;
    let (mut sender, mut get) = (bench.connect().await, request("GET", "/wait?ms=60000"));
    get.headers_mut().insert("host", "three".parse().unwrap());
    let asking = tokio::spawn(async move { sender.send_request(get).await.is_ok() });
    bench.inside("three").await;
    asking.abort();
    bench.eventually("its request is over", || bench.host.in_flight() == 0 && bench.calls("cancelled") == 1.0).await;
    assert_eq!(bench.get_from("three", "/increment").await.body, "1");
}

#[tokio::test]
async fn l43_a_trap_in_a_call_is_the_services_failure_and_its_callers_are_told() {
    let bench = bench();
    bench.run(two()).await;
    bench.run(three()).await;
    for domain in ["two", "three"] {
        assert_eq!(bench.get_from(domain, "/increment?by=5").await.body, "5");
        let answer = bench.get_from(domain, "/fail").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.body);
        let expected = format!("component {domain} called test:desk/desk@1.1.0#fail of component service, which trapped");
        assert!(answer.body.contains(&expected), "{}", answer.body);
        // L33: it is started again, in a fresh instance.
        bench.restarted(domain, 1).await;
        assert_eq!(bench.get_from(domain, "/increment?by=1").await.body, "1");
        let log = bench.lines_of(domain, "service");
        assert!(log.iter().any(|line| line.contains("wasm backtrace")), "{log:?}");
    }
    assert!(!bench.events.with_reason("ServiceRestarting").is_empty());
    assert!(bench.events.with_reason("ServiceCallFailed").iter().any(|event| event.message.contains("unreachable")));
}

#[tokio::test]
async fn l43_those_who_wait_inside_are_told_of_anothers_trap() {
    let bench = bench();
    bench.run(three()).await;
    let (waiting, _) = tokio::join!(bench.get_from("three", "/wait?ms=60000"), async {
        bench.inside("three").await;
        bench.get_from("three", "/fail").await
    });
    assert_eq!(waiting.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(waiting.body.contains("#wait of component service, which trapped"), "{}", waiting.body);
}

#[tokio::test]
async fn l33_a_service_that_is_down_is_called_in_vain_with_the_reason() {
    let bench = bench();
    let mut workload = two();
    workload.service.as_mut().unwrap().max_restarts = 0;
    bench.run(workload).await;
    bench.get_from("two", "/fail").await;
    bench.eventually("it is given up", || bench.standing("two").state == State::Error).await;
    let answer = bench.get_from("two", "/increment").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    let expected = "called test:desk/desk@1.1.0#increment of component service, which isn't up: the service trapped";
    assert!(answer.body.contains(expected) && answer.body.contains("maxRestarts is 0"), "{}", answer.body);
}

#[tokio::test]
async fn l31_values_past_the_bound_are_refused_with_words_and_the_service_goes_on() {
    let bench = bench();
    bench.run(two()).await;
    let body = async |path: &str| {
        let Answer { status, body, .. } = bench.get_from("two", path).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
        body
    };
    let sum = body("/sum?size=600000").await;
    assert!(sum.contains("#sum of component service, which takes at most 16 MiB of arguments"), "{sum}");
    let fill = body("/fill?size=600000").await;
    assert!(fill.contains("#fill of component service, which answered with more than 16 MiB"), "{fill}");
    assert_eq!(bench.get_from("two", "/increment").await.body, "1");
    assert_eq!((bench.standing("two").restarts, bench.calls("limit")), (0, 2.0));
}

#[tokio::test]
async fn a_request_past_its_time_leaves_the_others_of_its_instance_alone() {
    let bench = bench();
    bench.run(reused(timeout(three(), 800 * MS), TOGETHER)).await;
    let (late, fine) = tokio::join!(bench.get_from("three", "/wait?ms=60000"), async {
        bench.inside("three").await;
        bench.get_from("three", "/wait?ms=300").await
    });
    assert_eq!((late.status, fine.status), (StatusCode::GATEWAY_TIMEOUT, StatusCode::OK), "{late:?} {fine:?}");
}

/// A call of a function that isn't `async` holds the whole instance, so it is waited for by all in it.
#[tokio::test]
async fn l30_a_late_call_that_holds_its_instance_ends_no_other_request_of_it() {
    let bench = bench();
    bench.run(reused(timeout(three(), 4000 * MS), TOGETHER)).await;
    let begin = Instant::now();
    let late = async {
        // It is late at 4 s, and its call returns at 5 s.
        let answer = bench.get_from("three", "/spin?after=2000&ms=3000").await;
        (answer, begin.elapsed())
    };
    let beside = async {
        bench.eventually("the other one has less time left", || begin.elapsed() > 1500 * MS).await;
        bench.get_from("three", "/wait?ms=1000").await
    };
    let ((late, took), beside) = tokio::join!(late, beside);
    assert_eq!((late.status, beside.status), (StatusCode::GATEWAY_TIMEOUT, StatusCode::OK), "{late:?} {beside:?}");
    assert!(late.body.contains("gave no answer within its 4000 ms") && took < 4800 * MS, "{took:?} {late:?}");
    assert_eq!(bench.standing("three").restarts, 0);
    assert_eq!(bench.get_from("three", "/increment").await.body, "1");
}

#[tokio::test]
async fn l30_a_call_that_holds_its_instance_ends_with_the_last_client_there() {
    let bench = bench();
    bench.run(reused(three(), TOGETHER)).await;
    let begin = Instant::now();
    let asking = bench.ask("three", "/spin?ms=20000");
    // Its first call is answered, and then it spins.
    bench.eventually("it waited", || bench.lines_of("three", "service").iter().any(|line| line == "waited")).await;
    asking.abort();
    bench.eventually("the service alone lives", || bench.metric("berth_instances_live", "") == 1.0).await;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn l31_a_client_that_goes_away_takes_its_call_out_of_the_line_from_a_shared_instance_too() {
    let bench = Bench::with(|config| {
        // One workload may hold half of them.
        (config.slots, config.services.settle) = (500, 50 * MS);
    });
    bench.run(reused(three(), TOGETHER)).await;
    let begin = Instant::now();
    let inside: Vec<_> = (0..64).map(|_| bench.ask("three", "/wait?ms=60000")).collect();
    let waits = || bench.lines_of("three", "service").iter().filter(|line| *line == "waits").count();
    bench.eventually("as many as may be are inside", || waits() == 64).await;
    for round in 1..=3 {
        // In all rounds together more than may be in line.
        let line: Vec<_> = (0..100).map(|_| bench.ask("three", "/wait?ms=60000")).collect();
        bench.eventually("they ask", || bench.host.in_flight() == 164).await;
        line.iter().for_each(|asking| asking.abort());
        bench.eventually("they have left", || bench.host.in_flight() == 64).await;
        bench.eventually("calls ended with them", || bench.calls("cancelled") >= f64::from(round)).await;
    }
    assert_eq!((bench.calls("refused"), bench.calls("timeout"), waits()), (0.0, 0.0, 64));
    assert!(begin.elapsed() < Duration::from_secs(25), "not by their deadline: {:?}", begin.elapsed());
    inside.iter().for_each(|asking| asking.abort());
}

#[tokio::test]
async fn a_component_that_is_composed_into_another_calls_the_service_too() {
    let bench = bench();
    // The middleware's handler is the front, in one unit with it.
    let mut workload = three();
    let link = berth_model::workload::Link { import: "wasi:http/handler".parse().unwrap(), component: None, fuse: true };
    workload.components.push(Component {
        name: "outer".into(),
        image: ImageRef::File(berth_testkit::guests::path("p3-middleware")),
        links: vec![link],
        ..workload.components[0].clone()
    });
    bench.run(workload).await;
    let answer = bench.get_from("three", "/increment?by=7").await;
    assert_eq!((answer.body.as_str(), answer.headers.contains_key("x-passed")), ("7", true), "{answer:?}");
}

#[tokio::test]
async fn the_service_ends_while_it_is_called_when_it_is_told_to() {
    let bench = bench();
    bench.run(three()).await;
    let id = bench.standing("three").id;
    // Its caller is a request, which the drain waits for; then the service is told, and ends by itself.
    let (answer, ()) = tokio::join!(bench.get_from("three", "/wait?ms=300"), async {
        bench.inside("three").await;
        bench.host.stop_workload(&id).unwrap();
    });
    assert_eq!(answer.body, "0");
    bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    within(async { bench.eventually("no instance is left", || bench.metric("berth_instances_live", "") == 0.0).await }).await;
}

#[tokio::test]
async fn what_cant_be_copied_is_refused_with_its_place() {
    let bench = bench();
    let mut workload = with_service(workload("flow", "link-front-p3", &["flow"]), "link-back-p3");
    workload.components.push(Component {
        name: "back".into(),
        image: ImageRef::File(berth_testkit::guests::path("link-back")),
        ..workload.components[0].clone()
    });
    let status = refused(&bench.host, workload).await;
    assert_eq!(status.reason, "UnlinkableImport", "{status:?}");
    let expected = "function `length`, parameter `bytes` has `stream<u8>`, and streams can't be copied";
    assert!(status.message.contains(expected), "{}", status.message);
}

#[tokio::test]
async fn a_service_of_wasi_02_is_refused_with_the_way_out() {
    let bench = bench();
    let workload = with_service(workload("old", "desk-front", &["old"]), "desk-service-p2");
    let status = refused(&bench.host, workload).await;
    assert_eq!(status.reason, "UnlinkableImport", "{status:?}");
    assert!(status.message.contains("holds its instance as long as it runs") && status.message.contains("WASI 0.3"), "{}", status.message);
}
