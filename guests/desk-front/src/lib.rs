//! An HTTP guest of WASI 0.2 that calls its workload's service, and says what that said.

wit_bindgen::generate!({ path: "../desk-wit", world: "front" });
wasip2::http::proxy::export!(Front);

use guest_common::{Target, json};
use test::desk::desk::{self, Color, Marks, Parcel, Point, Shape};
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Front;

impl wasip2::exports::http::incoming_handler::Guest for Front {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::parse(&request.path_with_query().unwrap_or_default());
        let (status, text) = match answer(&target) {
            Some(text) => (200, text),
            None => (404, "no such route".to_owned()),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("it is a valid status");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        // A client that went away is no fault of this guest.
        let _ = stream.blocking_write_and_flush(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn answer(target: &Target) -> Option<String> {
    Some(match target.path() {
        "/pass" => passed(),
        "/increment" => desk::increment(target.number("by", 1) as u32).to_string(),
        "/sum" => desk::sum(&vec![1; target.number("size", 1000) as usize]).to_string(),
        "/fill" => desk::fill(target.number("size", 1000) as u32).len().to_string(),
        "/env" => json::strings(desk::environment()),
        "/own/env" => json::strings(std::env::vars()),
        "/spin" => {
            desk::spin(target.number("ms", 10));
            "spun".to_owned()
        }
        "/fail" => {
            desk::fail();
            unreachable!("it trapped")
        }
        _ => return None,
    })
}

/// Whether a value of each kind comes back as it was.
fn passed() -> String {
    let parcel = || Parcel {
        truth: true,
        numbers: (u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN),
        parts: (0.5, -1e300, 'ü'),
        shapes: vec![Shape::Dot, Shape::Circle(3), Shape::Named(Point { x: -7, label: "seven".to_owned() })],
        color: Color::Green,
        marks: Marks::OLD | Marks::SEALED,
        perhaps: Some(None),
        outcomes: vec![Ok(1), Err("two".to_owned())],
    };
    let back = format!("{:?}", desk::pass(&parcel()));
    if back == format!("{:?}", parcel()) { "as it was".to_owned() } else { back }
}
