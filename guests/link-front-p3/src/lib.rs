//! An HTTP guest of WASI 0.3 that calls components of both versions.

mod probes {
    wit_bindgen::generate!({ path: "../link-wit", world: "back-user" });
}
wit_bindgen::generate!({
    path: "../flow-wit",
    world: "front",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:sockets/types@0.3.0": wasip3::sockets::types,
    },
});
wasip3::http::service::export!(Front);

use guest_common::{Target, json, sockets};
use probes::test::link::probe;
use test::flow::{flow, ways};
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
        path => return reach(path, target).await,
    })
}

/// Routes by the sockets of WASI 0.3, this component's or the other's.
async fn reach(path: &str, target: &Target) -> Result<String, String> {
    let (address, say) = (target.text("addr").unwrap_or_default(), target.text("say").unwrap_or_default());
    let name = target.text("name").unwrap_or_default();
    match path {
        "/own/tcp" => sockets::talk(address, say).await,
        "/flow/tcp" => ways::talk(address.to_owned(), say.to_owned()).await,
        "/own/udp" => sockets::datagram(address, say).await,
        "/flow/udp" => ways::datagram(address.to_owned(), say.to_owned()).await,
        "/own/resolve" => sockets::resolve(name).await,
        "/flow/resolve" => ways::resolve(name.to_owned()).await,
        // A socket that the other made, connected here.
        "/flow/lend" => {
            let socket = ways::lend().await?;
            socket.connect(sockets::socket_address(sockets::parse(address)?).1).await.map_err(sockets::named)?;
            sockets::speak(socket, say).await
        }
        // One that was made and connected here, spoken on by the other.
        "/own/lend" => {
            let socket = sockets::connect_to(sockets::parse(address)?).await.map_err(sockets::named)?;
            ways::speak(socket, say.to_owned()).await
        }
        other => Err(format!("no route {other}")),
    }
}
