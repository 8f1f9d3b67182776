//! A server on tokio for TCP and UDP, with nothing in it that knows of WASI; README.md lists what it says.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

thread_local! {
    static OPEN: Cell<u32> = const { Cell::new(0) };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let at = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:7000 [::1]:7000".to_owned());
    let mut servers = Vec::new();
    for addr in at.split_whitespace() {
        let listener = TcpListener::bind(addr).await?;
        let socket = UdpSocket::bind(addr).await?;
        println!("listens at {}", listener.local_addr()?);
        servers.push(tokio::spawn(serve(listener)));
        servers.push(tokio::spawn(answer(socket)));
    }
    for server in servers {
        // One that ends has failed, and the service with it.
        server.await.expect("no server panics")?;
    }
    Ok(())
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            OPEN.set(OPEN.get() + 1);
            if let Err(error) = talk(stream, peer).await {
                println!("{peer}: {error}");
            }
            OPEN.set(OPEN.get() - 1);
        });
    }
}

/// Answers each line.
async fn talk(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let mut lines = 0;
    while reader.read_line(&mut line).await? > 0 {
        lines += 1;
        let said = line.trim_end_matches('\n');
        let answer = match said {
            "die" => {
                writer.write_all(b"half an ans").await?;
                std::process::abort();
            }
            "who" => peer.to_string(),
            "lines" => lines.to_string(),
            "open" => OPEN.get().to_string(),
            other => other.to_owned(),
        };
        writer.write_all(answer.as_bytes()).await?;
        writer.write_all(b"\n").await?;
        line.clear();
    }
    Ok(())
}

/// Answers each datagram.
async fn answer(socket: UdpSocket) -> io::Result<()> {
    let mut buf = vec![0; 65536];
    loop {
        let (count, peer) = socket.recv_from(&mut buf).await?;
        let answer = if &buf[..count] == b"who" { peer.to_string().into_bytes() } else { buf[..count].to_vec() };
        socket.send_to(&answer, peer).await?;
    }
}
