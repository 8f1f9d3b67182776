//! A component with async functions, which tells its callers what it sees and may do by WASI 0.3.

wit_bindgen::generate!({
    path: "../flow-wit",
    world: "back",
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:sockets/types@0.3.0": wasip3::sockets::types,
    },
});
export!(Back);

use guest_common::{error_name, sockets};
use wasip3::http::types::{ErrorCode, Fields, Request, Scheme};
use wasip3::sockets::types::{IpAddressFamily, TcpSocket};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, spawn_local};

struct Back;

impl exports::test::flow::flow::Guest for Back {
    async fn environment() -> Vec<(String, String)> {
        wasip3::cli::environment::get_environment()
    }

    async fn say(line: String) {
        let (mut writer, lines) = wasip3::wit_stream::new();
        let written = wasip3::cli::stdout::write_via_stream(lines);
        writer.write_all(format!("{line}\n").into_bytes()).await;
        drop(writer);
        // A line that can't be written is nobody's loss here.
        let _ = written.await;
    }

    async fn fetch(authority: String) -> Result<u16, String> {
        get(&authority).await.map_err(|error| error_name(&format!("{error:?}")))
    }

    async fn folders() -> Vec<String> {
        wasip3::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect()
    }

    async fn length(mut bytes: StreamReader<u8>) -> u64 {
        let mut length = 0;
        loop {
            let (result, chunk) = bytes.read(Vec::with_capacity(64 << 10)).await;
            length += chunk.len() as u64;
            if matches!(result, StreamResult::Dropped | StreamResult::Cancelled) {
                return length;
            }
        }
    }

    async fn numbers(count: u32) -> StreamReader<u32> {
        let (mut writer, numbers) = wit_stream::new();
        spawn_local(async move {
            for number in 0..count {
                writer.write_one(number).await;
            }
        });
        numbers
    }

    async fn twice(value: u32) -> FutureReader<u32> {
        let (writer, future) = wit_future::new(|| 0);
        spawn_local(async move {
            // Whoever asked may have lost interest.
            let _ = writer.write(value * 2).await;
        });
        future
    }

    async fn wait(ms: u64, fail: bool) {
        wasip3::clocks::monotonic_clock::wait_for(ms * 1_000_000).await;
        assert!(!fail, "as it was asked to");
    }
}

impl exports::test::flow::ways::Guest for Back {
    async fn talk(address: String, say: String) -> Result<String, String> {
        sockets::talk(&address, &say).await
    }

    async fn datagram(address: String, say: String) -> Result<String, String> {
        sockets::datagram(&address, &say).await
    }

    async fn resolve(name: String) -> Result<String, String> {
        sockets::resolve(&name).await
    }

    async fn lend() -> Result<TcpSocket, String> {
        TcpSocket::create(IpAddressFamily::Ipv4).map_err(sockets::named)
    }

    async fn speak(socket: TcpSocket, say: String) -> Result<String, String> {
        sockets::speak(socket, &say).await
    }
}

async fn get(authority: &str) -> Result<u16, ErrorCode> {
    let (trailers_writer, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    drop(trailers_writer);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some("/")).map_err(invalid)?;
    Ok(wasip3::http::client::send(request).await?.get_status_code())
}
