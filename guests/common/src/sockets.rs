//! Sockets of WASI 0.3: what the guests of that version do with them, and errors by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket, UdpSocket,
};
use wasip3::{spawn_local, wit_stream};

use crate::error_name;

/// Connects to `IP:PORT`; the error is the socket's error code by name.
pub async fn connect(address: &str) -> Result<String, String> {
    let address = parse(address)?;
    connect_to(address).await.map(|_socket| format!("connected to {address}")).map_err(named)
}

/// Says something to `IP:PORT` by TCP and ends; what came back until the other end did.
pub async fn talk(address: &str, say: &str) -> Result<String, String> {
    speak(connect_to(parse(address)?).await.map_err(named)?, say).await
}

/// The same by a socket that is connected.
pub async fn speak(socket: TcpSocket, say: &str) -> Result<String, String> {
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
    let (family, remote) = socket_address(parse(address)?);
    let socket = UdpSocket::create(family).map_err(named)?;
    socket.send(say.as_bytes().to_vec(), Some(remote)).await.map_err(named)?;
    let (said, from) = socket.receive().await.map_err(named)?;
    let from = match from {
        IpSocketAddress::Ipv4(v4) => SocketAddr::new(ip(IpAddress::Ipv4(v4.address)), v4.port),
        IpSocketAddress::Ipv6(v6) => SocketAddr::new(ip(IpAddress::Ipv6(v6.address)), v6.port),
    };
    Ok(format!("{} from {from}", String::from_utf8_lossy(&said)))
}

/// `IP:PORT`.
///
/// # Errors
/// What it has to be.
pub fn parse(address: &str) -> Result<SocketAddr, String> {
    address.parse().map_err(|_| "addr= must be IP:PORT".to_owned())
}

/// An error's name.
#[must_use]
pub fn named(error: ErrorCode) -> String {
    error_name(&format!("{error:?}"))
}

/// An address as WASI has it, and its family.
#[must_use]
pub fn socket_address(address: SocketAddr) -> (IpAddressFamily, IpSocketAddress) {
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

/// A socket that is connected.
///
/// # Errors
/// The socket's.
pub async fn connect_to(address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
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
