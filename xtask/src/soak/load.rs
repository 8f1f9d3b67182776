//! Clients: each asks, judges the answer, pauses a little, and asks again until the load ends.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::asks::{self, Ask};
use super::client::{Connection, Protocol};
use super::ledger::Kind;
use super::site::Site;

/// Requests at once on one HTTP/2 connection, at most.
const STREAMS: usize = 4;
/// Requests on a kept connection before the client makes a new one, at most.
const KEPT: u32 = 500;

/// A client of the good workloads.
pub async fn client(site: Arc<Site>, index: u32, mut rng: fastrand::Rng) {
    let protocol = match index % 4 {
        0 | 1 => Protocol::Kept,
        2 => Protocol::Fresh,
        _ => Protocol::Two,
    };
    let mut held = Held::new(protocol);
    while let Some(life) = site.serving().await {
        let count = if protocol == Protocol::Two { rng.usize(1..=STREAMS) } else { 1 };
        let asks: Vec<Ask> = (0..count).map(|_| site.asker.good(&mut rng)).collect();
        held.ask_all(&site, life, &asks, &mut rng).await;
        if !site.pause(Duration::from_millis(rng.u64(1..30))).await {
            return;
        }
    }
}

/// A client of the workloads that misbehave: a connection per request, a pause that leaves most of the machine to the others.
pub async fn troublemaker(site: Arc<Site>, mut rng: fastrand::Rng) {
    let mut held = Held::new(Protocol::Fresh);
    while let Some(life) = site.serving().await {
        held.ask_all(&site, life, &[asks::fault(&mut rng)], &mut rng).await;
        if !site.pause(Duration::from_millis(rng.u64(100..500))).await {
            return;
        }
    }
}

/// A connection that a client holds between requests.
struct Held {
    protocol: Protocol,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    life: u32,
    left: u32,
}

impl Held {
    fn new(protocol: Protocol) -> Held {
        Held { protocol, open: None }
    }

    /// Asks all at once, over one connection, and enters what came of each.
    async fn ask_all(&mut self, site: &Site, life: u32, asks: &[Ask], rng: &mut fastrand::Rng) {
        let from = site.now();
        let open = match self.open(site, life, rng).await {
            Ok(open) => open,
            Err(what) => {
                for ask in asks {
                    site.enter(ask.kind, from, Err(format!("{}: {what}", self.protocol.label())));
                }
                return;
            }
        };
        let port = site.seat.http.port();
        let sender = open.connection.sender();
        let senders: Option<Vec<_>> = asks.iter().map(|_| sender.another()).collect();
        let failed = match senders {
            Some(senders) => {
                let one = async |mut sender: super::client::Sender, ask: &Ask| enter(site, ask, sender.ask(ask, port).await, from);
                join_all(senders.into_iter().zip(asks).map(|(sender, ask)| one(sender, ask))).await.contains(&true)
            }
            None => {
                let mut over = false;
                for ask in asks {
                    // Who leaves in the middle leaves the connection, too.
                    over |= enter(site, ask, sender.ask(ask, port).await, from) || ask.kind == Kind::Leave;
                }
                over
            }
        };
        open.left = open.left.saturating_sub(1);
        if failed || open.left == 0 || self.protocol == Protocol::Fresh {
            self.open = None;
        }
    }

    /// The connection, made anew if there is none to this process.
    async fn open(&mut self, site: &Site, life: u32, rng: &mut fastrand::Rng) -> Result<&mut Open, String> {
        let usable = match &mut self.open {
            Some(open) => open.life == life && !open.connection.is_over().await,
            None => false,
        };
        if !usable {
            self.open = None;
            let connection = Connection::open(site.seat.http, self.protocol).await?;
            self.open = Some(Open { connection, life, left: rng.u32(1..=KEPT) });
        }
        self.open.as_mut().ok_or_else(|| "no connection".to_owned())
    }
}

/// Enters how a request ended; whether it failed.
fn enter(site: &Site, ask: &Ask, ended: Result<(), String>, from: Duration) -> bool {
    let failed = ended.is_err();
    site.enter(ask.kind, from, ended);
    failed
}
