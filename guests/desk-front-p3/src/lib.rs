//! An HTTP guest of WASI 0.3 that calls its workload's service, also by functions that wait.

wit_bindgen::generate!({ path: "../desk-wit", world: "front-p3" });
wasip3::http::service::export!(Front);

use guest_common::Target;
use test::desk::desk::{self, Color, Marks, Parcel, Point, Shape};
use test::desk::hall;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wit_bindgen::spawn_local;

struct Front;

impl wasip3::exports::http::handler::Guest for Front {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        let (status, text) = match answer(&target).await {
            Some(text) => (200, text),
            None => (404, "no such route".to_owned()),
        };
        let (mut writer, body) = wasip3::wit_stream::new();
        let (trailers_writer, trailers) = wasip3::wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
        response.set_status_code(status).expect("it is a valid status");
        drop(trailers_writer);
        spawn_local(async move {
            // What is left over, a client that went away did not want.
            writer.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}

async fn answer(target: &Target) -> Option<String> {
    Some(match target.path() {
        "/pass" => passed(),
        "/increment" => desk::increment(target.number("by", 1) as u32).to_string(),
        "/meet" => hall::meet(target.number("callers", 2) as u32).await.to_string(),
        "/wait" => hall::wait(target.number("ms", 10)).await.to_string(),
        "/spin" => {
            hall::wait(target.number("after", 0)).await;
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

/// Whether values of several kinds come back as they were.
fn passed() -> String {
    let parcel = || Parcel {
        truth: false,
        numbers: (1, -1, 2, -2, 3, -3, 4, -4),
        parts: (0.25, 1e-300, 'x'),
        shapes: vec![Shape::Named(Point { x: 0, label: String::new() })],
        color: Color::Red,
        marks: Marks::empty(),
        perhaps: Some(Some("some".to_owned())),
        outcomes: Vec::new(),
    };
    let back = format!("{:?}", desk::pass(&parcel()));
    if back == format!("{:?}", parcel()) { "as it was".to_owned() } else { back }
}
