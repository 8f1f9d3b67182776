//! An HTTP guest of WASI 0.2 that calls the other components of its workload, and says what they said.

wit_bindgen::generate!({ path: "../link-wit", world: "front" });
wasip2::http::proxy::export!(Front);

use std::time::Instant;

use guest_common::{Target, json};
use test::link::probe::{self, Counter, Point, Shape};
use test::link::relay;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Front;

impl wasip2::exports::http::incoming_handler::Guest for Front {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::parse(&request.path_with_query().unwrap_or_default());
        let (status, body) = match answer(&target) {
            Ok(body) => (200, body),
            Err(error) => (502, error),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("it is a valid status");
        let body_out = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body_out.write().expect("the stream is taken once");
        for piece in body.as_bytes().chunks(4096) {
            // A client that went away is no fault of this guest.
            let _ = stream.blocking_write_and_flush(piece);
        }
        drop(stream);
        let _ = OutgoingBody::finish(body_out, None);
    }
}

/// `/own/…` is this component's, `/back/…` the probe's, `/middle/…` the relay's.
fn answer(target: &Target) -> Result<String, String> {
    let text = |name: &str| target.text(name).unwrap_or_default().to_owned();
    Ok(match target.path() {
        "/own/env" => json::strings(std::env::vars()),
        "/back/env" => json::strings(probe::environment()),
        "/middle/env" => json::strings(relay::environment()),
        "/own/say" => {
            println!("{}", text("line"));
            "said".to_owned()
        }
        "/back/say" => {
            probe::say(&text("line"));
            "said".to_owned()
        }
        "/back/fetch" => probe::fetch(&text("authority"))?.to_string(),
        "/back/connect" => probe::connect(&text("address")).map(|()| "connected".to_owned())?,
        "/back/folders" => probe::folders().join("\n"),
        "/own/folders" => wasip2::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect::<Vec<_>>().join("\n"),
        "/back/read" => probe::read(&text("path"))?,
        "/own/read" => std::fs::read_to_string(text("path")).map_err(|error| error.kind().to_string())?,
        // One instance of the probe serves both ways to it.
        "/diamond" => {
            let direct = probe::increment(1);
            format!("{direct} {}", relay::increment(10))
        }
        "/types" => types(target.number("size", 1000) as usize),
        "/calls" => calls(&text("what"), target.number("n", 1))?,
        "/back/fail" => {
            probe::fail();
            unreachable!("it trapped")
        }
        "/middle/fail" => {
            relay::fail();
            unreachable!("it trapped")
        }
        "/own/fail" => unreachable!("as it was asked to"),
        other => return Err(format!("no route {other}")),
    })
}

/// A value of each kind, there and back.
fn types(size: usize) -> String {
    let point = Point { x: -7, label: "seven".to_owned() };
    let Shape::Named(back) = probe::echo(&Shape::Named(point)) else { return "another shape".to_owned() };
    let Shape::Circle(radius) = probe::echo(&Shape::Circle(3)) else { return "another shape".to_owned() };
    let counter = Counter::new(40);
    let (added, seen) = (counter.add(1), probe::peek(&counter));
    let finished = probe::finish(counter, 1);
    format!("{} {} {radius} {} {added} {seen} {finished}", back.x, back.label, probe::sum(&vec![1; size]))
}

/// Calls the probe so often in a loop; nanoseconds that all of it took, and the last answer.
fn calls(what: &str, times: u64) -> Result<String, String> {
    let (text, bytes) = ("x".repeat(64), vec![1; 64 << 10]);
    let counter = Counter::new(0);
    let start = Instant::now();
    let last = match what {
        "u32" => repeated(times, || probe::increment(1)),
        "string" => repeated(times, || probe::text_length(&text)),
        "list" => repeated(times, || probe::bytes_length(&bytes)),
        "method" => repeated(times, || counter.add(1)),
        other => return Err(format!("no call {other}")),
    };
    Ok(format!("{} {last}", start.elapsed().as_nanos()))
}

fn repeated(times: u64, call: impl Fn() -> u32) -> u32 {
    (0..times).fold(0, |_, _| call())
}
