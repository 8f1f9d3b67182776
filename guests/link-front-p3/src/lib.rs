//! An HTTP guest of WASI 0.3 that calls components of both versions.

mod probes {
    wit_bindgen::generate!({ path: "../link-wit", world: "back-user" });
}
wit_bindgen::generate!({ path: "../flow-wit", world: "front" });
wasip3::http::service::export!(Front);

use guest_common::{Target, json};
use probes::test::link::probe;
use test::flow::flow;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wit_bindgen::spawn_local;

struct Front;

impl wasip3::exports::http::handler::Guest for Front {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        let (status, text) = match answer(&target).await {
            Ok(text) => (200, text),
            Err(error) => (502, error),
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

/// `/own/…` is this component's, `/back/…` the probe's of WASI 0.2, `/flow/…` the one of WASI 0.3.
async fn answer(target: &Target) -> Result<String, String> {
    let text = |name: &str| target.text(name).unwrap_or_default().to_owned();
    Ok(match target.path() {
        "/own/env" => json::strings(wasip3::cli::environment::get_environment()),
        "/back/env" => json::strings(probe::environment()),
        "/flow/env" => json::strings(flow::environment().await),
        "/flow/say" => {
            flow::say(text("line")).await;
            "said".to_owned()
        }
        "/back/say" => {
            probe::say(&text("line"));
            "said".to_owned()
        }
        "/back/fetch" => probe::fetch(&text("authority"))?.to_string(),
        "/flow/fetch" => flow::fetch(text("authority")).await?.to_string(),
        "/flow/folders" => flow::folders().await.join("\n"),
        "/back/folders" => probe::folders().join("\n"),
        "/own/folders" => wasip3::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect::<Vec<_>>().join("\n"),
        "/flow/length" => {
            let size = target.number("size", 1 << 20) as usize;
            let (mut writer, bytes) = wit_stream::new();
            spawn_local(async move {
                writer.write_all(vec![7; size]).await;
            });
            flow::length(bytes).await.to_string()
        }
        "/flow/numbers" => {
            let count = u32::try_from(target.number("count", 10)).unwrap_or(10);
            let numbers = flow::numbers(count).await.collect().await;
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        "/flow/twice" => flow::twice(21).await.await.to_string(),
        "/flow/wait" => {
            flow::wait(target.number("ms", 10), target.flag("fail")).await;
            "waited".to_owned()
        }
        other => return Err(format!("no route {other}")),
    })
}
