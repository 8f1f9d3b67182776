//! Routes that reach out: HTTP, TCP and name lookups of WASI 0.2.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};

use guest_common::error_name;
use guest_common::target::Url;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingResponse, OutgoingRequest, ResponseOutparam, Scheme};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode as SocketError, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::answer::{self, Answer};
use crate::body;

/// Gets `url` and passes its status and body on, or answers 502 with the error's name.
pub fn fetch(out: ResponseOutparam, url: &str) {
    let Some(url) = Url::parse(url) else {
        return answer::text(out, 400, "url= must be an http or https URL\n");
    };
    match send(&url) {
        Ok(response) => {
            let mut answer = Answer::begin(out, response.status(), Vec::new());
            let body = response.consume().expect("the body is taken once");
            if body::pump(&body, &mut answer, 64 << 10) {
                answer.finish(None);
            }
        }
        Err(error) => answer::outcome(out, Err(error_name(&format!("{error:?}")))),
    }
}

fn send(url: &Url<'_>) -> Result<IncomingResponse, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if url.secure { Scheme::Https } else { Scheme::Http };
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(url.authority)).map_err(invalid)?;
    request.set_path_with_query(Some(url.path_with_query)).map_err(invalid)?;
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    response.get().expect("it is ready").expect("it is asked once")
}

/// Connects to `IP:PORT`; the error is the socket's error code by name.
pub fn connect(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    connect_to(address).map(|()| format!("connected to {address}")).map_err(|error| error_name(error.name()))
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

fn connect_to(address: SocketAddr) -> Result<(), SocketError> {
    let (family, remote) = socket_address(address);
    let socket = create_tcp_socket(family)?;
    socket.start_connect(&instance_network(), remote)?;
    socket.subscribe().block();
    socket.finish_connect().map(|_streams| ())
}

/// Says something to `IP:PORT` by TCP, as a program for any system does, and ends; what came back until the other end did.
pub fn talk(address: &str, say: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{:?}", error.kind());
    let mut stream = std::net::TcpStream::connect(address).map_err(failed)?;
    stream.write_all(say.as_bytes()).map_err(failed)?;
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    ended.map_err(|error| format!("{:?} after {said}", error.kind()))?;
    Ok(said)
}

/// Says something to `IP:PORT` by UDP, likewise; the answer, and who gave it.
pub fn datagram(address: &str, say: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{:?}", error.kind());
    let socket = UdpSocket::bind(if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }).map_err(failed)?;
    socket.send_to(say.as_bytes(), address).map_err(failed)?;
    let mut buf = vec![0; 65536];
    let (count, from) = socket.recv_from(&mut buf).map_err(failed)?;
    Ok(format!("{} from {from}", String::from_utf8_lossy(&buf[..count])))
}

/// Tries to listen at `IP:PORT` by TCP; the error is the socket's error code by name.
pub fn listen(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let (family, local) = socket_address(address);
    let attempt = || {
        let socket = create_tcp_socket(family)?;
        socket.start_bind(&instance_network(), local)?;
        socket.finish_bind()?;
        socket.start_listen()?;
        socket.finish_listen()
    };
    attempt().map(|()| format!("listens at {address}")).map_err(|error: SocketError| error_name(error.name()))
}

/// Connects to `IP:PORT`, sets every option and says what each is then.
pub fn options(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())?;
    let (family, remote) = socket_address(address);
    let attempt = || {
        let socket = create_tcp_socket(family)?;
        socket.set_hop_limit(9)?;
        socket.start_connect(&instance_network(), remote)?;
        socket.subscribe().block();
        let _streams = socket.finish_connect()?;
        socket.set_keep_alive_enabled(true)?;
        socket.set_keep_alive_idle_time(30_000_000_000)?;
        socket.set_keep_alive_interval(5_000_000_000)?;
        socket.set_keep_alive_count(3)?;
        socket.set_receive_buffer_size(4096)?;
        socket.set_send_buffer_size(8192)?;
        let alive =
            (socket.keep_alive_enabled()?, socket.keep_alive_idle_time()?, socket.keep_alive_interval()?, socket.keep_alive_count()?);
        let sizes = (socket.receive_buffer_size()?, socket.send_buffer_size()?);
        let told = format!("{alive:?} {} {sizes:?} {}", socket.hop_limit()?, socket.is_listening());
        assert_eq!(socket.address_family(), family);
        assert_eq!(format!("{:?}", socket.remote_address()?), format!("{remote:?}"));
        socket.local_address()?;
        Ok(told)
    };
    attempt().map_err(|error: SocketError| error_name(error.name()))
}

/// The addresses of a name, one a line; the error is the lookup's error code by name.
pub fn resolve(name: &str) -> Result<String, String> {
    let failed = |error: SocketError| error_name(error.name());
    let addresses = resolve_addresses(&instance_network(), name).map_err(failed)?;
    let mut found = Vec::new();
    loop {
        match addresses.resolve_next_address() {
            Ok(Some(address)) => found.push(ip(address).to_string()),
            Ok(None) => return Ok(found.join("\n")),
            Err(SocketError::WouldBlock) => addresses.subscribe().block(),
            Err(error) => return Err(failed(error)),
        }
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}
