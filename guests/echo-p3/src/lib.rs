//! Says what it is told by TCP and UDP, by the sockets of WASI 0.3 themselves.

use wasip3::sockets::types::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket};
use wasip3::spawn_local;
use wasip3::wit_bindgen::StreamResult;

wasip3::cli::command::export!(Echo);

struct Echo;

impl wasip3::exports::cli::run::Guest for Echo {
    async fn run() -> Result<(), ()> {
        let addr = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 7000, address: (127, 0, 0, 1) });
        serve(addr).await.map_err(|error| eprintln!("{error:?}"))
    }
}

async fn serve(addr: IpSocketAddress) -> Result<(), ErrorCode> {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4)?;
    listener.bind(addr)?;
    let mut connections = listener.listen()?;
    let socket = UdpSocket::create(IpAddressFamily::Ipv4)?;
    socket.bind(addr)?;
    spawn_local(async move {
        while let Ok((bytes, from)) = socket.receive().await {
            // It may be gone, which a sender of datagrams isn't told.
            let _ = socket.send(bytes, Some(from)).await;
        }
    });
    while let Some(connection) = connections.next().await {
        spawn_local(echo(connection));
    }
    Ok(())
}

async fn echo(connection: TcpSocket) {
    let (mut incoming, _ended) = connection.receive();
    let (mut outgoing, bytes) = wasip3::wit_stream::new();
    let _sent = connection.send(bytes);
    loop {
        let (result, bytes) = incoming.read(Vec::with_capacity(16 << 10)).await;
        let more = matches!(result, StreamResult::Complete(_));
        if !outgoing.write_all(bytes).await.is_empty() || !more {
            return;
        }
    }
}
