//! One request after the other over HTTP/1.1, and judging the answers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// An answer must be whole within this.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What is asked, and what must be answered.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whom.
    pub addr: SocketAddr,
    /// The domain.
    pub host: String,
    /// The path.
    pub path: String,
    /// Posted if it isn't empty.
    pub body: Bytes,
    /// The answer's body, if it must be this one.
    pub answer: Option<Bytes>,
}

/// An open connection; dropping it closes it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> Result<Connection, String> {
        let stream = TcpStream::connect(addr).await.map_err(|error| format!("can't connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("can't connect: {error}"))?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| format!("can't connect: {error}"))?;
        // Its end shows as the end of requests.
        Ok(Connection { sender, _driver: AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) })) })
    }

    async fn send(&mut self, ask: &Ask) -> Result<http::Response<Incoming>, String> {
        let method = if ask.body.is_empty() { Method::GET } else { Method::POST };
        let request = Request::builder().method(method).uri(&ask.path).header(header::HOST, &ask.host);
        let request = request.body(Full::new(ask.body.clone())).map_err(|error| error.to_string())?;
        self.sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))
    }
}

/// Asks on the connection to its address, opened first if there is none, and judges the answer.
pub async fn exchange(open: &mut BTreeMap<SocketAddr, Connection>, ask: &Ask) -> Result<(), String> {
    let connection = match open.entry(ask.addr) {
        Entry::Occupied(held) => {
            let held = held.into_mut();
            // A server may close a connection that has nothing to do.
            if held.sender.ready().await.is_err() {
                *held = Connection::open(ask.addr).await?;
            }
            held
        }
        Entry::Vacant(free) => free.insert(Connection::open(ask.addr).await?),
    };
    let response = connection.send(ask).await?;
    let status = response.status();
    let mut body = response.into_body();
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("answered {status} and broke off: {error}"))?;
        let Ok(piece) = frame.into_data() else { continue };
        if status == 200
            && let Some(answer) = &ask.answer
            && answer.get(at..at + piece.len()) != Some(&piece[..])
        {
            return Err("answered with another body".into());
        }
        at += piece.len();
    }
    match &ask.answer {
        _ if status != 200 => Err(format!("answered {status}")),
        Some(answer) if answer.len() != at => Err(format!("answered {at} bytes and not {}", answer.len())),
        _ => Ok(()),
    }
}

/// An answer, of which only what must be equal on both sides is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// The header by which a guest says who it is.
    pub guest: Option<String>,
    /// Its body.
    pub body: Bytes,
}

/// One GET on a connection of its own.
pub async fn get(addr: SocketAddr, host: &str, path: &str) -> Result<Reply, String> {
    let asked = async {
        let ask = Ask { addr, host: host.to_owned(), path: path.to_owned(), body: Bytes::new(), answer: None };
        let mut connection = Connection::open(addr).await?;
        let (head, body) = connection.send(&ask).await?.into_parts();
        let body = body.collect().await.map_err(|error| format!("answered {} and broke off: {error}", head.status))?.to_bytes();
        let guest = head.headers.get("x-guest").map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        Ok(Reply { status: head.status.as_u16(), guest, body })
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(format!("no whole answer within {DEADLINE:?}")))
}

/// Asks `/` of each domain until all have answered 200, and says how long that took. `clients` at once, each for its share in turn.
pub async fn all_answer(addr: SocketAddr, domains: &[String], clients: usize, within: Duration) -> Result<Duration> {
    let start = Instant::now();
    let share = |first: usize| async move {
        let mut open = BTreeMap::new();
        for domain in domains.iter().skip(first).step_by(clients) {
            let ask = Ask { addr, host: domain.clone(), path: "/".into(), body: Bytes::new(), answer: None };
            while let Err(why) = exchange(&mut open, &ask).await {
                if start.elapsed() > within {
                    return Err(anyhow!("{domain} doesn't answer within {within:?}: {why}"));
                }
                if !why.starts_with("answered") {
                    open.clear();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    };
    futures::future::try_join_all((0..clients).map(share)).await?;
    Ok(start.elapsed())
}

/// Asks `/` of a domain on one connection, almost without pause, until it answers 200.
pub async fn first_answer(addr: SocketAddr, domain: &str, within: Duration) -> Result<()> {
    let start = Instant::now();
    let mut open = BTreeMap::new();
    let ask = Ask { addr, host: domain.to_owned(), path: "/".into(), body: Bytes::new(), answer: None };
    while let Err(why) = exchange(&mut open, &ask).await {
        if start.elapsed() > within {
            return Err(anyhow!("{domain} doesn't answer within {within:?}: {why}"));
        }
        // Tokio's timers are too coarse for a start that takes milliseconds.
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}
