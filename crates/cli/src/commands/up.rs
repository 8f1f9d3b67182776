//! `berth up`: runs a local process until it is told to end, and says what happens.

mod progress;
mod voice;

use std::net::SocketAddr;
use std::time::Duration;

use berth_node::api::Outcome;
use berth_node::intake::{self, Input, Intake};
use berth_node::model::resource::Kind;
use berth_node::roles::local::Local;
use berth_node::telemetry::LogFormat;
use berth_node::{data, runtime, system};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;

use super::apply::manifests;
use super::usage;
use crate::args::Up;
use crate::config::{self, Common};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use voice::Voice;

/// Time for the runtime's last blocking calls; what matters has ended before.
const RUNTIME_END: Duration = Duration::from_secs(2);

/// Signals that follow one another within this time are one: nobody presses Ctrl-C twice as fast.
const ECHO: Duration = Duration::from_millis(200);

pub(super) fn run(args: &Up, mut settings: config::Up, common: &Common, out: &mut Output) -> Result<Exit, Failure> {
    let mut inputs = manifests(&args.files);
    inputs.extend(args.paths.iter().cloned().map(Input::Path));
    let intake = intake::read(&inputs, &mut std::io::stdin())?;
    settings.local.host.expected = intake.expected();
    // Before the host, which counts with what there is.
    let files = system::allow_open_files(settings.open_files);
    files.map_err(|error| usage(format!("--open-files: {error}")))?;
    let runtime = runtime::control().map_err(|error| Failure::new(Exit::Failure, format!("can't start threads: {error}")))?;
    let json = common.log.format == LogFormat::Json;
    let exit = runtime.block_on(serve(intake, settings, json, out));
    runtime.shutdown_timeout(RUNTIME_END);
    exit
}

async fn serve(intake: Intake, settings: config::Up, json: bool, out: &mut Output) -> Result<Exit, Failure> {
    // Before anything that must be undone.
    let mut signals = Signals::new()?;
    let grace = settings.local.host.drain_grace;
    let mut local = Local::start(settings.local).await?;
    let mut notices = local.notices();
    let mut pulls = local.pulls();
    let mut voice = Voice::new(out, json, local.http_addr(), local.tls());
    voice.started(local.data_dir(), local.is_ephemeral(), local.admin_addr().map(|a: SocketAddr| a.to_string()));
    match local.caches().summary() {
        Ok(summary) => voice.cached(&summary),
        Err(error) => tracing::warn!(error = %error, "the caches can't be read"),
    }

    if let Err(failure) = take(intake, &local, &mut voice).await {
        local.shutdown().await;
        return Err(failure);
    }
    let broken = loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => voice.notice(&notice),
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "notices came faster than they were told"),
                Err(RecvError::Closed) => break Some("the local process"),
            },
            true = pulls.changed() => voice.pulling(&pulls.now()),
            ended = local.ended() => break ended,
            () = signals.next() => break None,
        }
    };
    voice.draining(grace);
    let data_dir = local.data_dir().to_owned();
    let ephemeral = local.is_ephemeral();
    tokio::select! {
        () = local.shutdown() => {}
        () = signals.again() => {
            voice.cut_short();
            data::abandon(&data_dir, ephemeral);
            // At once: requests under way and their guests end with the process.
            std::process::exit(Exit::Interrupted as i32);
        }
    }
    voice.stopped();
    match broken {
        None => Ok(Exit::Ok),
        Some(task) => Err(Failure::new(Exit::Failure, format!("the {task} ended by itself, so everything was stopped; the log says why"))),
    }
}

/// Applies what was given, or says what there is from before.
async fn take(intake: Intake, local: &Local, voice: &mut Voice<'_>) -> Result<(), Failure> {
    let given = intake.resources.len();
    for skipped in &intake.skipped {
        voice.skipped(skipped);
    }
    for warning in &intake.warnings {
        voice.warning(warning);
    }
    let results = local.apply(intake.resources).await.results;
    for change in &results {
        voice.applied(change);
    }
    let stored = stored(local).await?;
    let refused = results.iter().filter(|change| change.outcome == Outcome::Refused).count();
    if refused > 0 && refused == given && stored == 0 {
        return Err(Failure::told(Exit::Refused));
    }
    if given == 0 {
        voice.resumed(stored);
    }
    Ok(())
}

/// Workloads of users' own, from before and from now.
async fn stored(local: &Local) -> Result<usize, Failure> {
    let mut count = 0;
    for kind in [Kind::WorkloadDeployment, Kind::WorkloadReplicaSet, Kind::Workload] {
        let list = local.store().list(kind, None).await;
        let list = list.map_err(|error| Failure::new(Exit::Failure, berth_node::chain(&error)))?;
        count += list.iter().filter(|resource| resource.metadata().owner_references.is_empty()).count();
    }
    Ok(count)
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Exit::Failure, format!("can't listen for signals: {error}")));
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Another one, a moment after the one before. Wrappers pass a signal on that the terminal sent to all of the group, so one
    /// Ctrl-C can arrive twice within milliseconds.
    async fn again(&mut self) {
        let begin = tokio::time::Instant::now();
        loop {
            self.next().await;
            if begin.elapsed() >= ECHO {
                return;
            }
        }
    }

    /// The next of either. Cancel safe.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
