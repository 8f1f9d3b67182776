//! The host's end: takes commands from the bus, hands them to a [`HostHandler`], replies, and publishes heartbeats.
//!
//! Heartbeats, commands and the comparison of whole sets have a task and a queue each, so none waits for another (L04). A command
//! is a task of its own, bounded in number and time by its [`LaneConfig`], and gets a reply whatever happens: also when it
//! can't be read, is cut at its deadline, panics, comes while the host is busy or shuts down.

mod commands;
mod lane;
mod publisher;
mod rounds;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use berth_model::id::HostId;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, BusError, Message, Subscription};
use crate::handler::HostHandler;
use crate::heartbeat::{Heartbeat, PROTOCOL_LABEL, PROTOCOL_VERSION};
use crate::subjects;
use crate::wire::describe;
use commands::Request;
use lane::Lane;

/// How long a reply may take to get onto the bus, and commands to end at shutdown.
const REPLY_DEADLINE: Duration = Duration::from_secs(1);

/// Shortest time between heartbeats: more than that is a mistake in configuration.
const MIN_HEARTBEAT_EVERY: Duration = Duration::from_millis(10);

/// Bounds of one kind of command.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Commands that run at once, 1 at least.
    pub running: usize,
    /// Commands that wait to run; more are refused at once.
    pub waiting: usize,
    /// Time from a command's arrival to its reply. Shorter than what peers wait, so that they get to read it.
    pub deadline: Duration,
}

/// Bounds of a [`HostServer`].
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// Time between heartbeats, 10 ms at least. 1 s: a lease of a few seconds survives a lost one (L02).
    pub heartbeat_every: Duration,
    /// Requests for a heartbeat. Upstream operators wait 5 s.
    pub heartbeat: LaneConfig,
    /// Starts. Upstream operators wait 60 s. The host bounds pulls and compiles itself, so many may be on their way.
    pub start: LaneConfig,
    /// Questions for a workload's state. Upstream operators wait 5 s.
    pub status: LaneConfig,
    /// Stops. Upstream operators wait 30 s.
    pub stop: LaneConfig,
    /// Drain requests, and commands that don't exist.
    pub other: LaneConfig,
    /// Time for one comparison of whole sets.
    pub sync_deadline: Duration,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        let lane = |running, waiting, seconds| LaneConfig { running, waiting, deadline: Duration::from_secs(seconds) };
        ServerConfig {
            heartbeat_every: Duration::from_secs(1),
            heartbeat: lane(8, 64, 4),
            start: lane(256, 1024, 55),
            status: lane(64, 4096, 4),
            stop: lane(256, 1024, 28),
            other: lane(8, 64, 4),
            sync_deadline: Duration::from_secs(8),
        }
    }
}

/// Serves a host on the bus.
#[derive(Debug)]
pub struct HostServer;

impl HostServer {
    /// Serves `handler` as host `id` with default bounds, until `shutdown`. See [`HostServer::serve_with`].
    pub async fn serve(
        bus: Arc<dyn Bus>,
        id: HostId,
        handler: Arc<dyn HostHandler>,
        heartbeat_every: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), BusError> {
        let config = ServerConfig { heartbeat_every, ..ServerConfig::default() };
        HostServer::serve_with(bus, id, handler, config, shutdown).await
    }

    /// Serves `handler` as host `id`, until `shutdown`: commands still running are then cut and answered. Publishes a
    /// heartbeat at once, periodically, and when the bus is back after an outage. Dropping the future ends everything, too.
    ///
    /// # Errors
    /// When the bus refuses or closes a subscription.
    pub async fn serve_with(
        bus: Arc<dyn Bus>,
        id: HostId,
        handler: Arc<dyn HostHandler>,
        config: ServerConfig,
        shutdown: CancellationToken,
    ) -> Result<(), BusError> {
        let heartbeats = bus.subscribe(&subjects::command(id, subjects::HEARTBEAT)).await?;
        let commands = bus.subscribe(&subjects::command(id, ">")).await?;
        let syncs = bus.subscribe(&subjects::extension(id, subjects::SYNC)).await?;
        let extensions = bus.subscribe(&subjects::extension(id, ">")).await?;
        let lanes = Lanes::new(&config, &shutdown);
        let server = Arc::new(Server { bus, id, handler, config, lanes, shutdown });

        let mut loops = JoinSet::new();
        loops.spawn(publisher::publish(Arc::clone(&server)));
        loops.spawn(dispatch(Arc::clone(&server), heartbeats, Request::heartbeat));
        loops.spawn(dispatch(Arc::clone(&server), commands, Request::command));
        loops.spawn(dispatch(Arc::clone(&server), extensions, Request::extension));
        loops.spawn(sync::answer(server, syncs));
        while let Some(ended) = loops.join_next().await {
            match ended {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }
}

/// What all tasks of one server share.
struct Server {
    bus: Arc<dyn Bus>,
    id: HostId,
    handler: Arc<dyn HostHandler>,
    config: ServerConfig,
    lanes: Lanes,
    shutdown: CancellationToken,
}

struct Lanes {
    heartbeat: Lane,
    start: Lane,
    status: Lane,
    stop: Lane,
    other: Lane,
}

impl Lanes {
    fn new(config: &ServerConfig, shutdown: &CancellationToken) -> Lanes {
        Lanes {
            heartbeat: Lane::new(config.heartbeat, shutdown),
            start: Lane::new(config.start, shutdown),
            status: Lane::new(config.status, shutdown),
            stop: Lane::new(config.stop, shutdown),
            other: Lane::new(config.other, shutdown),
        }
    }
}

impl Server {
    /// The handler's heartbeat, as Berth's hosts announce themselves.
    async fn heartbeat(&self) -> Heartbeat {
        let mut heartbeat = self.handler.heartbeat().await;
        heartbeat.labels.insert(PROTOCOL_LABEL.to_owned(), PROTOCOL_VERSION.to_owned());
        heartbeat
    }

    /// Sends a reply, if one is waited for. When it can't be sent, the peer's own deadline tells it.
    async fn reply(&self, to: Option<String>, payload: Bytes) {
        let Some(to) = to else { return };
        match tokio::time::timeout(REPLY_DEADLINE, self.bus.publish(&to, payload)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(host = %self.id, error = describe(&error), "a reply was lost"),
            Err(_) => tracing::debug!(host = %self.id, "a reply was lost: the bus doesn't take messages"),
        }
    }

    /// Says that messages were dropped because this host was too slow to take them.
    fn tell_lost(&self, messages: &mut Subscription) {
        let lost = messages.take_lost();
        if lost > 0 {
            tracing::warn!(host = %self.id, lost, "the host was too slow for its commands, and some were dropped");
        }
    }
}

/// Gives each message its task, as far as its lane allows. `accept` says what a message asks for; none is another loop's.
async fn dispatch(
    server: Arc<Server>,
    mut messages: Subscription,
    accept: fn(HostId, &Message) -> Option<Request>,
) -> Result<(), BusError> {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = server.shutdown.cancelled() => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(host = %server.id, %error, "a command's task failed");
                }
            }
            message = messages.next() => {
                let Some(message) = message else {
                    return Err(BusError::Closed { pattern: subjects::command(server.id, ">") });
                };
                server.tell_lost(&mut messages);
                let Some(request) = accept(server.id, &message) else { continue };
                match request.lane(&server.lanes).enter() {
                    Some(ticket) => drop(tasks.spawn(commands::run(Arc::clone(&server), request, ticket, message))),
                    None => {
                        let refusal = commands::refuse(&request, &message.payload, "the host is busy with other commands; ask again later");
                        server.reply(message.reply, refusal).await;
                    }
                }
            }
        }
    }
    // Each task sees the shutdown itself and answers; one that can't is aborted with the set.
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(2 * REPLY_DEADLINE, all).await.is_err() {
        tracing::debug!(host = %server.id, "commands were aborted without a reply");
    }
    Ok(())
}
