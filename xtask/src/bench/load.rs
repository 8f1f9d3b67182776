//! A client with a constant rate of arrivals, whatever the answers: each request has a time at which it was to be sent, and its latency
//! counts from then, so that a server that stalls can't hide what it keeps waiting. The same client also asks as fast as it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::client::{Ask, DEADLINE, exchange};

/// Arrivals that wait for a connection; more are counted as failed.
const MAX_WAITING: usize = 100_000;
/// Different failures that are kept apart.
const MAX_FAILURES: usize = 20;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// On each connection the next one after the last answer.
    Closed,
    /// So many per second, at equal distances.
    PerSecond(f64),
}

/// A load: which requests, on how many connections, at what pace, for how long.
pub struct Load {
    /// Each request is one of these, at random.
    pub asks: Vec<Ask>,
    /// Connections, of which each has one request in flight at most. Each opens one per address.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// How long requests are sent.
    pub time: Duration,
}

/// What a load measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Microseconds from when each request was to be sent to its whole answer, sorted.
    latencies: Vec<u32>,
    /// How many failed, by why.
    failures: BTreeMap<String, u64>,
    /// Until the last answer, or until it was given up.
    elapsed: Duration,
}

impl Measured {
    /// Requests with the right answer.
    pub fn answered(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Requests without.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How they failed, in words; empty if none did.
    pub fn failures(&self) -> String {
        self.failures.iter().map(|(why, count)| format!("{count} times {why}")).collect::<Vec<_>>().join("; ")
    }

    /// Right answers per second.
    pub fn rate(&self) -> f64 {
        self.answered() as f64 / self.elapsed.as_secs_f64()
    }

    /// What the part `q` (0 to 1) of all right answers took at most; zero if there are none.
    pub fn quantile(&self, q: f64) -> Duration {
        let at = ((self.latencies.len() as f64 * q).ceil() as usize).clamp(1, self.latencies.len().max(1)) - 1;
        Duration::from_micros(self.latencies.get(at).copied().unwrap_or_default().into())
    }

    fn count(&mut self, took: Duration, ended: Result<(), String>) {
        match ended {
            Ok(()) => self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
            Err(why) if self.failures.len() < MAX_FAILURES || self.failures.contains_key(&why) => {
                *self.failures.entry(why).or_default() += 1
            }
            Err(_) => *self.failures.entry("for other reasons".into()).or_default() += 1,
        }
    }

    fn add(&mut self, other: Measured) {
        self.latencies.extend(other.latencies);
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

/// One request that is to be sent.
struct Arrival {
    due: Instant,
    ask: usize,
}

/// What the connections of a load share.
struct Shared {
    asks: Vec<Ask>,
    end: Instant,
    /// `None`: each takes the next one when it is free.
    arrivals: Option<Mutex<mpsc::Receiver<Arrival>>>,
}

impl Load {
    /// Sends it all and waits for the answers.
    pub async fn run(self) -> Result<Measured> {
        let start = Instant::now();
        let (arrivals, pacer) = match self.pace {
            Pace::Closed => (None, None),
            Pace::PerSecond(rate) => {
                let (sender, receiver) = mpsc::channel(MAX_WAITING);
                let (time, asks) = (self.time, self.asks.len());
                (Some(Mutex::new(receiver)), Some(std::thread::spawn(move || pace(rate, time, asks, &sender))))
            }
        };
        let shared = Arc::new(Shared { asks: self.asks, end: start + self.time, arrivals });
        let mut tasks = JoinSet::new();
        for seed in 0..self.connections {
            tasks.spawn(client(shared.clone(), fastrand::Rng::with_seed(seed as u64)));
        }
        let mut measured = Measured::default();
        let collect = async {
            while let Some(ended) = tasks.join_next().await {
                measured.add(ended.context("a client panicked")?);
            }
            Ok::<_, anyhow::Error>(())
        };
        let limit = self.time + 2 * DEADLINE;
        tokio::time::timeout(limit, collect).await.map_err(|_| anyhow!("the load didn't end within {limit:?}"))??;
        measured.elapsed = start.elapsed();
        if let Some(pacer) = pacer {
            let lost = pacer.join().map_err(|_| anyhow!("the pacer panicked"))?;
            if lost > 0 {
                measured.failures.insert(format!("{MAX_WAITING} others waited to be sent"), lost);
            }
        }
        measured.latencies.sort_unstable();
        Ok(measured)
    }
}

/// Says when each request is to be sent, on a thread of its own: the runtime's timers are a millisecond coarse. Returns how many found too
/// many others waiting.
fn pace(rate: f64, time: Duration, asks: usize, arrivals: &mpsc::Sender<Arrival>) -> u64 {
    let (start, mut rng, mut lost) = (Instant::now(), fastrand::Rng::with_seed(1), 0);
    for number in 0u64.. {
        let offset = Duration::from_secs_f64(number as f64 / rate);
        if offset >= time {
            break;
        }
        let due = start + offset;
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        match arrivals.try_send(Arrival { due, ask: rng.usize(..asks) }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => lost += 1,
            Err(mpsc::error::TrySendError::Closed(_)) => break,
        }
    }
    lost
}

/// Sends one request after the other, until there are no more.
async fn client(shared: Arc<Shared>, mut rng: fastrand::Rng) -> Measured {
    let mut measured = Measured::default();
    let mut open = BTreeMap::new();
    loop {
        let arrival = match &shared.arrivals {
            Some(arrivals) => arrivals.lock().await.recv().await,
            None if Instant::now() >= shared.end => None,
            None => Some(Arrival { due: Instant::now(), ask: rng.usize(..shared.asks.len()) }),
        };
        let Some(Arrival { due, ask }) = arrival else { return measured };
        if Instant::now() > shared.end + DEADLINE {
            measured.count(Duration::ZERO, Err("it wasn't sent in time".into()));
            continue;
        }
        let ask = &shared.asks[ask];
        let ended = tokio::time::timeout(DEADLINE, exchange(&mut open, ask)).await;
        let ended = ended.unwrap_or_else(|_| Err(format!("no whole answer within {DEADLINE:?}")));
        if ended.is_err() {
            open.remove(&ask.addr);
        }
        measured.count(due.elapsed(), ended);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;
    use crate::bench::client::get;

    /// A server that answers `hello`, and stops for a while at its tenth request.
    async fn server(stall: Duration) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (served, mut connections) = (Arc::new(std::sync::atomic::AtomicU32::new(0)), JoinSet::new());
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let answer = service_fn(move |_| {
                    if served.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 9 {
                        // The whole server stands still.
                        let until = Instant::now() + stall;
                        while Instant::now() < until {}
                    }
                    async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello")))) }
                });
                connections.spawn(async move {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        (addr, tasks)
    }

    fn ask(addr: SocketAddr, answer: &'static str) -> Ask {
        Ask { addr, host: "a".into(), path: "/".into(), body: Bytes::new(), answer: Some(Bytes::from(answer)) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stall_is_seen_by_every_request_that_was_due_while_it_lasted() {
        let (addr, _server) = server(Duration::from_millis(300)).await;
        let load = Load { asks: vec![ask(addr, "hello")], connections: 1, pace: Pace::PerSecond(200.0), time: Duration::from_millis(1000) };
        let measured = load.run().await.expect("it runs");
        assert_eq!((measured.answered(), measured.failures()), (200, String::new()));
        // 60 of 200 were due within the stall; a client that waits for answers before it sends the next would have seen it once.
        assert!(measured.quantile(0.85) >= Duration::from_millis(50), "{:?}", measured.quantile(0.85));
        assert!(measured.quantile(1.0) >= Duration::from_millis(250), "{:?}", measured.quantile(1.0));
    }

    #[tokio::test]
    async fn wrong_answers_and_missing_servers_are_failures() {
        let (addr, server) = server(Duration::ZERO).await;
        let load = |addr, answer, time| Load { asks: vec![ask(addr, answer)], connections: 1, pace: Pace::PerSecond(100.0), time };
        let short = Duration::from_millis(50);
        let measured = load(addr, "hello!", short).run().await.expect("it runs");
        assert_eq!((measured.answered(), measured.failures().as_str()), (0, "5 times answered 5 bytes and not 6"));
        drop(server);
        assert_eq!(get(addr, "a", "/").await.map(|reply| reply.status).ok(), None);
        assert_eq!(load(addr, "hello", short).run().await.expect("it runs").failed(), 5);
    }

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let measured = Measured { latencies: (1..=100).collect(), ..Measured::default() };
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| measured.quantile(q).as_micros()), [1, 50, 99, 100]);
        assert_eq!(Measured::default().quantile(0.5), Duration::ZERO);
    }
}
