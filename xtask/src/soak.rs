//! `cargo xtask soak`: berth under load for minutes, with rolling updates, deletions, guests at fault and kills.
//!
//! It knows berth from outside only: the command, HTTP and `/metrics`. What is random comes from one printed seed; how tasks interleave
//! isn't repeated by it.

mod asks;
mod churn;
mod client;
mod kills;
mod latency;
mod ledger;
mod load;
mod memory;
mod metrics;
mod outages;
mod plan;
mod process;
mod report;
mod site;
mod watch;
mod workloads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use berth_testkit::guests::Builder;
use clap::Args;
use tokio::process::Child;
use tokio::task::JoinSet;

use self::asks::Asker;
use self::plan::Plan;
use self::process::Seat;
use self::report::Report;
use self::site::Site;
use self::workloads::{BAD, Components, GUESTS, HELLO, PASSING, Rolling, SETTINGS, STEADY};
use crate::command;
use crate::workspace::Workspace;

/// Clients of the workloads that misbehave.
const TROUBLEMAKERS: u32 = 2;
/// A process that was told to stop must end within this.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Runs `berth up` under load: clients over HTTP/1.1 and HTTP/2 whose answers are checked byte by byte, some of which leave in the
/// middle; workloads that roll over, come, go, trap, spin and hoard; and SIGKILL now and then, after which berth must serve again.
///
/// Fails if any request of a well-behaved workload fails outside a killed moment (from a kill until every workload answers again), if a
/// process's memory grows by more than 20% and 32 MiB after 20 s of warm-up, or if anything is left of requests or deleted workloads.
/// Then the folder with berth's log is kept.
#[derive(Args)]
pub struct Options {
    /// How long the load lasts, minutes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// How often berth is killed, all in the first 60% of the time [default: once a minute]
    #[arg(long, value_name = "K")]
    kills: Option<u32>,
    /// Clients of the well-behaved workloads
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// Seed of everything random [default: from the clock; it is printed]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// The berth command to run [default: built now]
    #[arg(long, value_name = "FILE", env = "BERTH")]
    berth: Option<PathBuf>,
}

impl Options {
    /// A soak of so many minutes, as continuous integration does it.
    pub fn minutes(minutes: u32) -> Options {
        Options { minutes, kills: None, clients: 12, seed: None, berth: None }
    }
}

/// Does it all, prints the table, and fails if something is wrong.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let seed = options.seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64));
    let mut rng = fastrand::Rng::with_seed(seed);
    let length = Duration::from_secs(60 * u64::from(options.minutes));
    let plan = Plan::new(length, options.kills.unwrap_or(options.minutes), &mut rng)?;
    let components = components()?;
    let berth = match &options.berth {
        Some(berth) => std::path::absolute(berth).context("--berth is no path")?,
        None => build(workspace)?,
    };
    let folder = tempfile::Builder::new().prefix("berth-soak-").tempdir().context("cannot make a folder")?;
    println!("soak: {} s, {} kills, {} clients, seed {seed}: {}", length.as_secs(), plan.kills.len(), options.clients, berth.display());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start threads")?;
    let report = runtime.block_on(soak(&berth, folder.path(), components, plan, options.clients, rng));
    let wrong = match report {
        Ok(report) => {
            println!("\n{}", report.table());
            match report.wrongs() {
                wrongs if wrongs.is_empty() => return Ok(()),
                wrongs => anyhow!(wrongs.join("; ")),
            }
        }
        Err(error) => error.context("the soak broke off"),
    };
    Err(wrong.context(format!("seed {seed}, berth's log is {}", folder.keep().join(process::LOG).display())))
}

fn components() -> Result<Components> {
    let builder = Builder::from_env().context("the soak's guests can't be built")?;
    let path = |name: &str| builder.path(name).context("the soak's guests can't be built");
    Ok(Components { p2: path("p2")?, p3: path("p3")?, hello: path("p2-hello")? })
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    println!("soak: building berth (the engine takes some minutes the first time)");
    command::run(&mut command::cargo(workspace, &["build", "--locked", "--package", "berth-cli"]))?;
    Ok(workspace.target.join("debug/berth"))
}

async fn soak(berth: &Path, folder: &Path, components: Components, plan: Plan, clients: u32, mut rng: fastrand::Rng) -> Result<Report> {
    let seat = Seat::new(berth, folder, &mut rng)?;
    let asker = Asker { settings: Arc::new(Rolling::new(SETTINGS, ["p2", "p2"])), guests: Arc::new(Rolling::new(GUESTS, ["p2", "p3"])) };
    let versions = [&asker.settings, &asker.guests].map(|rolling| components.version(rolling, 0));
    let manifests = seat.write("steady.yaml", &[components.steady(), versions.join("---\n")].join("---\n"))?;
    let mut child = seat.up(Some(&manifests))?;
    let site = Arc::new(Site::new(seat, asker, components));
    if let Err(what) = kills::answers(&site).await {
        process::kill(&mut child).await?;
        bail!("berth doesn't serve {:?} after its first start: {what}", kills::BACK_WITHIN);
    }
    let site = Arc::try_unwrap(site).ok().context("nobody else has the site yet")?;
    let site = Arc::new(Site::new(site.seat, site.asker, site.components));
    let child = load(&site, child, &plan, clients, &mut rng).await?;
    finish(&site, child).await
}

/// Everything at once until the time is over, or berth is.
async fn load(site: &Arc<Site>, child: Child, plan: &Plan, clients: u32, rng: &mut fastrand::Rng) -> Result<Child> {
    let mut tasks = JoinSet::new();
    for index in 0..clients {
        tasks.spawn(load::client(site.clone(), index, rng.fork()));
    }
    for _ in 0..TROUBLEMAKERS {
        tasks.spawn(load::troublemaker(site.clone(), rng.fork()));
    }
    for rolling in [&site.asker.settings, &site.asker.guests] {
        tasks.spawn(churn::roll(site.clone(), rolling.clone(), rng.fork()));
    }
    tasks.spawn(churn::come_and_go(site.clone(), rng.fork()));
    tasks.spawn(watch::watch(site.clone()));
    let timer = site.clone();
    let length = plan.length;
    tasks.spawn(async move {
        timer.pause(length).await;
        timer.stop.cancel();
    });
    let child = kills::kill_and_start(site.clone(), child, plan.kills.clone()).await;
    site.stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the soak failed")?;
    }
    child
}

/// Looks for leftovers, ends berth, and writes the report.
async fn finish(site: &Site, mut child: Child) -> Result<Report> {
    let mut report = Report::default();
    site.read(|ledger, outages, samples| report.read(ledger, outages.lengths(), memory::growth(samples)));
    let settled = watch::settled(site, |figures| figures.left_of_requests()).await;
    (report.idle, report.left_of_requests) = settled.map_err(|what| anyhow!("/metrics after the load: {what}"))?;

    let names = [HELLO, STEADY, SETTINGS, GUESTS, PASSING, BAD[0], BAD[1]].map(|name| name.0);
    let delete = [&["delete", "workloaddeployment", "--ignore-not-found"][..], &names[..]].concat();
    let deleted = site.seat.run(&delete).await.and_then(|said| said.ok());
    report.faults.extend(deleted.err().map(|what| format!("berth delete: {what}")));
    let settled = watch::settled(site, |figures| figures.left_of_workloads()).await;
    report.left_of_workloads = settled.map_err(|what| anyhow!("/metrics after the deletion: {what}"))?.1;

    let stopped = site.seat.run(&["stop"]).await.and_then(|said| said.ok());
    report.faults.extend(stopped.err().map(|what| format!("berth stop: {what}")));
    match tokio::time::timeout(STOP_WITHIN, child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => report.faults.push(format!("berth, told to stop, ended with {status}")),
        Ok(Err(error)) => report.faults.push(format!("berth's end: {error}")),
        Err(_) => report.faults.push(format!("berth runs on {STOP_WITHIN:?} after it was told to stop")),
    }
    let log = std::fs::read(site.seat.log()).context("cannot read berth's log")?;
    let panics = String::from_utf8_lossy(&log).lines().filter(|line| line.contains(" panicked at ")).count();
    if panics > 0 {
        report.faults.push(format!("berth panicked {panics} times"));
    }
    Ok(report)
}
