//! Routes that reach out: HTTP, TCP and name lookups of WASI 0.3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use guest_common::error_name;
use guest_common::target::Url;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    ErrorCode as SocketError, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket, UdpSocket,
};
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

/// Connects to `IP:PORT`; the error is the socket's error code by name.
pub async fn connect(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let connected = connect_to(address).await;
    connected.map(|_socket| format!("connected to {address}")).map_err(|error| error_name(&format!("{error:?}")))
}

/// Connects to `IP:PORT` so many times, each time with the socket dropped and its streams left; with `keep` they are kept until the last.
pub async fn streams(address: &str, count: u64, keep: bool) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let mut kept = Vec::new();
    for _ in 0..count {
        let socket = connect_to(address).await.map_err(|error| error_name(&format!("{error:?}")))?;
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

/// Says something to `IP:PORT` by TCP and ends; what came back until the other end did.
pub async fn talk(address: &str, say: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let named = |error: SocketError| error_name(&format!("{error:?}"));
    let socket = connect_to(address).await.map_err(named)?;
    let (mut sink, bytes) = wit_stream::new::<u8>();
    let sent = socket.send(bytes);
    let say = say.as_bytes().to_vec();
    spawn_local(async move {
        sink.write_all(say).await;
    });
    let (received, ended) = socket.receive();
    let said = String::from_utf8_lossy(&received.collect().await).into_owned();
    ended.await.map_err(|error| format!("{} after {said}", named(error)))?;
    sent.await.map_err(named)?;
    Ok(said)
}

/// Says something to `IP:PORT` by UDP; the answer, and who gave it.
pub async fn datagram(address: &str, say: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let named = |error: SocketError| error_name(&format!("{error:?}"));
    let (family, remote) = socket_address(address);
    let socket = UdpSocket::create(family).map_err(named)?;
    socket.send(say.as_bytes().to_vec(), Some(remote)).await.map_err(named)?;
    let (said, from) = socket.receive().await.map_err(named)?;
    let from = match from {
        IpSocketAddress::Ipv4(v4) => SocketAddr::new(ip(IpAddress::Ipv4(v4.address)), v4.port),
        IpSocketAddress::Ipv6(v6) => SocketAddr::new(ip(IpAddress::Ipv6(v6.address)), v6.port),
    };
    Ok(format!("{} from {from}", String::from_utf8_lossy(&said)))
}

/// Tries to listen at `IP:PORT` by TCP; the error is the socket's error code by name.
pub fn listen(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let (family, local) = socket_address(address);
    let attempt = || {
        let socket = TcpSocket::create(family)?;
        socket.bind(local)?;
        socket.listen().map(drop)
    };
    attempt().map(|()| format!("listens at {address}")).map_err(|error: SocketError| error_name(&format!("{error:?}")))
}

/// Connects to `IP:PORT`, sets every option and says what each is then.
pub async fn options(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
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
    attempt().await.map_err(|error: SocketError| error_name(&format!("{error:?}")))
}

fn socket_address(address: SocketAddr) -> (IpAddressFamily, IpSocketAddress) {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) }))
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = (a, b, c, d, e, f, g, h);
            let remote = Ipv6SocketAddress { port: v6.port(), flow_info: 0, address, scope_id: 0 };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(remote))
        }
    }
}

async fn connect_to(address: SocketAddr) -> Result<TcpSocket, SocketError> {
    let (family, remote) = socket_address(address);
    let socket = TcpSocket::create(family)?;
    socket.connect(remote).await?;
    Ok(socket)
}

/// The addresses of a name, one a line; the error is the lookup's error code by name.
pub async fn resolve(name: &str) -> Result<String, String> {
    let found = resolve_addresses(name.to_owned()).await.map_err(|error| error_name(&format!("{error:?}")))?;
    Ok(found.into_iter().map(|address| ip(address).to_string()).collect::<Vec<_>>().join("\n"))
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}
