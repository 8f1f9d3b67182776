//! The service: a TCP server on tokio that counts how often each name came. A client writes a name and a newline, and gets a count.
//!
//! It lives as long as its workload, so what it holds in memory outlasts requests. It would compile for any system but for `told_to_end`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A loopback that the workload has for itself: nobody else can connect, and no other workload's 7000 is this one.
const ADDRESS: &str = "127.0.0.1:7000";

thread_local! {
    /// How often each came. There is one thread, so nothing has to be locked.
    static VISITS: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(ADDRESS).await?;
    println!("the guestbook is open at {ADDRESS}");
    tokio::select! {
        failed = serve(listener) => failed,
        () = told_to_end() => {
            println!("the guestbook closes with {} names", VISITS.with_borrow(BTreeMap::len));
            Ok(())
        }
    }
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = talk(stream).await {
                println!("{peer}: {error}");
            }
        });
    }
}

/// Answers each line with how often that name came.
async fn talk(mut stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(name) = lines.next_line().await? {
        let count = VISITS.with_borrow_mut(|visits| {
            let count = visits.entry(name).or_default();
            *count += 1;
            *count
        });
        writer.write_all(format!("{count}\n").as_bytes()).await?;
    }
    Ok(())
}

/// WASI has no signals: when a service is to end, its standard input does. One that never looks is interrupted some seconds later.
async fn told_to_end() {
    let stdin = wasip2::cli::stdin::get_stdin();
    let ended = stdin.subscribe();
    while !ended.ready() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
