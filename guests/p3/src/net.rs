//! Routes that reach out: HTTP, sockets and name lookups of WASI 0.3.

use guest_common::error_name;
pub use guest_common::sockets::{connect, datagram, resolve, talk};
use guest_common::sockets::{connect_to, named, parse, socket_address};
use guest_common::target::Url;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::sockets::types::TcpSocket;
use wasip3::{spawn_local, wit_future, wit_stream};

use crate::answer;
use crate::body;

/// Gets `url` and passes its status and body on, or answers 502 with the error's name.
pub async fn fetch(url: &str) -> Response {
    let Some(url) = Url::parse(url) else {
        return answer::text(400, "url= must be an http or https URL\n");
    };
    match send(&url).await {
        Ok(fetched) => {
            let (response, sink) = answer::begin(fetched.get_status_code(), Vec::new());
            let (_outcome, outcome) = wit_future::new(|| Ok(()));
            let (stream, trailers) = Response::consume_body(fetched, outcome);
            spawn_local(body::pump(stream, trailers, sink));
            response
        }
        Err(error) => answer::outcome(Err(error_name(&format!("{error:?}")))),
    }
}

async fn send(url: &Url<'_>) -> Result<Response, ErrorCode> {
    let (_trailers, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let scheme = if url.secure { Scheme::Https } else { Scheme::Http };
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(url.authority)).map_err(invalid)?;
    request.set_path_with_query(Some(url.path_with_query)).map_err(invalid)?;
    wasip3::http::client::send(request).await
}

/// Connects to `IP:PORT` so many times, each time with the socket dropped and its streams left; with `keep` they are kept until the last.
pub async fn streams(address: &str, count: u64, keep: bool) -> Result<String, String> {
    let address = parse(address)?;
    let mut kept = Vec::new();
    for _ in 0..count {
        let socket = connect_to(address).await.map_err(named)?;
        let (sink, bytes) = wit_stream::new::<u8>();
        let sent = socket.send(bytes);
        let (received, ended) = socket.receive();
        drop((socket, sent, ended));
        kept.push((sink, received));
        if !keep {
            kept.clear();
            // What is dropped here is let go of by the host when the guest waits for it.
            crate::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    Ok(format!("{count} connections to {address}"))
}

/// Tries to listen at `IP:PORT` by TCP; the error is the socket's error code by name.
pub fn listen(address: &str) -> Result<String, String> {
    let address = parse(address)?;
    let (family, local) = socket_address(address);
    let attempt = || {
        let socket = TcpSocket::create(family)?;
        socket.bind(local)?;
        socket.listen().map(drop)
    };
    attempt().map(|()| format!("listens at {address}")).map_err(named)
}

/// Connects to `IP:PORT`, sets every option and says what each is then.
pub async fn options(address: &str) -> Result<String, String> {
    let address = parse(address)?;
    let (family, remote) = socket_address(address);
    let attempt = async || {
        let socket = TcpSocket::create(family)?;
        socket.set_hop_limit(9)?;
        socket.connect(remote).await?;
        socket.set_keep_alive_enabled(true)?;
        socket.set_keep_alive_idle_time(30_000_000_000)?;
        socket.set_keep_alive_interval(5_000_000_000)?;
        socket.set_keep_alive_count(3)?;
        socket.set_receive_buffer_size(4096)?;
        socket.set_send_buffer_size(8192)?;
        let alive = (
            socket.get_keep_alive_enabled()?,
            socket.get_keep_alive_idle_time()?,
            socket.get_keep_alive_interval()?,
            socket.get_keep_alive_count()?,
        );
        let sizes = (socket.get_receive_buffer_size()?, socket.get_send_buffer_size()?);
        let told = format!("{alive:?} {} {sizes:?} {}", socket.get_hop_limit()?, socket.get_is_listening());
        assert_eq!(socket.get_address_family(), family);
        assert_eq!(format!("{:?}", socket.get_remote_address()?), format!("{remote:?}"));
        socket.get_local_address()?;
        Ok(told)
    };
    attempt().await.map_err(named)
}
