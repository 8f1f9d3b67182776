//! Time from a start to the first answer: of the whole command, of a component in a berth that runs, and of that the host's own part.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::client;
use super::figures::{median_time, parse_time, time};
use super::hello::PEER_P2;
use super::inner;
use super::lab::Lab;
use super::manifest::{Spec, variant};
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Launch, Server, Side};

/// Starts of each kind, unless the user says how many rounds.
const STARTS: u32 = 10;
/// A component must answer within this.
const WITHIN: Duration = Duration::from_secs(60);
/// The domain of a workload that runs all the time.
const OTHER: &str = "other.test";
/// Where a running berth listens for commands, in its home folder.
const SOCKET: &str = ".local/share/berth/berth.sock";

/// Starts of the whole command.
struct Command {
    side: Side,
    /// Each in a new home folder.
    cold: Vec<Duration>,
    /// Each in the home folder that the cold one before it left.
    warm: Vec<Duration>,
}

/// Starts of a component in a host that runs.
#[derive(Default)]
struct Component {
    /// Compiled by an earlier process.
    from_disk: Vec<Duration>,
    /// Another replica runs.
    beside_another: Vec<Duration>,
    /// The part of each of these until the local API had stored the workload.
    stored: Vec<Duration>,
}

/// The host's own part of the same, in a process without store, operator and bus: median, least and most.
struct Own {
    from_disk: [Duration; 3],
    beside_another: [Duration; 3],
}

/// Measures both sides.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let starts = lab.options.rounds.unwrap_or(STARTS);
    let guest = lab.guest("p2-hello")?;
    let launch = |side| -> Result<Launch> {
        let launch = lab.launch(side, "start")?;
        Ok(if side == Side::Peer { launch.words(PEER_P2) } else { launch }.path(&guest))
    };
    let mut commands = Side::BOTH.map(|side| Command { side, cold: Vec::new(), warm: Vec::new() });
    for round in 0..starts {
        for side in lab.order(round) {
            let launch = launch(side)?;
            let (cold, warm) = (answer(lab, &launch).await?, answer(lab, &launch).await?);
            println!("start {}: {} cold {}, warm {}", round + 1, side.name(), time(cold), time(warm));
            for command in commands.iter_mut().filter(|command| command.side == side) {
                command.cold.push(cold);
                command.warm.push(warm);
            }
        }
    }
    let component = components(lab, &guest, starts).await?;
    let own = own(&inner::run(lab, "start").await?).context("the benchmark printed another table")?;
    let lines = vec![launch(Side::Berth)?.line(), launch(Side::Peer)?.line(), "cargo bench -p berth-benches --bench start".into()];
    Ok(report(&commands, &component, &own, lines))
}

/// What the benchmark `start` of `benches/` printed.
fn own(lines: &[String]) -> Option<Own> {
    let times = |name: &str| -> Option<[Duration; 3]> {
        let rest = lines.iter().find_map(|line| line.strip_prefix(name))?;
        let times: Vec<Duration> = rest.split_whitespace().map_while(parse_time).collect();
        times.try_into().ok()
    };
    Some(Own { from_disk: times("from disk ")?, beside_another: times("beside another replica ")? })
}

/// Starts the command, waits for its first answer, and ends it.
async fn answer(lab: &Lab, launch: &Launch) -> Result<Duration> {
    let mut server = launch.start(lab)?;
    let took = server.answers("localhost", "/").await?;
    server.stop().await?;
    Ok(took)
}

/// Compiles components in one process, then starts each twice in a new one.
async fn components(lab: &Lab, guest: &Path, starts: u32) -> Result<Component> {
    let paths = write_components(lab, guest, starts)?;
    // A workload with a domain: one without would answer for those that aren't there yet.
    let spec = Spec { kind: "Workload", name: "other", host: Some(OTHER), replicas: 1, component: guest, p3: false, fields: &[] };
    let other = lab.write("start-other.yaml", spec.yaml(false))?;
    let launch = lab.launch(Side::Berth, "start-component")?;
    let mut server = launch.clone().words(&["-f"]).path(&other).start(lab)?;
    server.answers(OTHER, "/").await?;
    let mut api = Api::connect(&server).await?;
    for (number, path) in paths.iter().enumerate() {
        start(&mut api, &server, &format!("first-{number}"), path).await?;
    }
    let names: Vec<String> = (0..paths.len()).map(|number| format!("workload/first-{number}")).collect();
    let delete: Vec<&str> = ["delete"].into_iter().chain(names.iter().map(String::as_str)).collect();
    server.berth(lab, &delete).await?;
    server.stop().await?;

    // With nothing on the command line it runs what was applied and not deleted: the one that was started with it.
    let mut server = launch.start(lab)?;
    server.answers(OTHER, "/").await?;
    let mut api = Api::connect(&server).await?;
    let mut component = Component::default();
    for (number, path) in paths.iter().enumerate() {
        let (from_disk, first) = start(&mut api, &server, &format!("again-{number}"), path).await?;
        let (beside_another, second) = start(&mut api, &server, &format!("another-{number}"), path).await?;
        component.stored.extend([first, second]);
        println!("component {}: from disk {}, beside another replica {}", number + 1, time(from_disk), time(beside_another));
        component.from_disk.push(from_disk);
        component.beside_another.push(beside_another);
    }
    server.stop().await?;
    Ok(component)
}

fn write_components(lab: &Lab, guest: &Path, count: u32) -> Result<Vec<PathBuf>> {
    let content = fs::read(guest).with_context(|| format!("cannot read {}", guest.display()))?;
    (0..count).map(|number| lab.write(&format!("start-{number}.wasm"), variant(&content, number))).collect()
}

/// Applies a workload of this component and waits for its first answer: how long that took, and until the workload was stored.
async fn start(api: &mut Api, server: &Server, name: &str, component: &Path) -> Result<(Duration, Duration)> {
    let domain = format!("{name}.test");
    if server.status_of(&domain).await? != 404 {
        bail!("{domain} is answered before it was started");
    }
    let start = Instant::now();
    api.apply(workload(name, &domain, component)).await?;
    let stored = start.elapsed();
    client::first_answer(server.addr(), &domain, WITHIN).await?;
    Ok((start.elapsed(), stored))
}

fn workload(name: &str, domain: &str, component: &Path) -> Value {
    json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hostInterfaces": [{"namespace": "wasi", "package": "http", "interfaces": ["incoming-handler"], "config": {"host": domain}}],
            "components": [{"name": "main", "image": format!("file://{}", component.display())}],
        },
    })
}

/// The local API of a running berth, on an open connection: the process start of `berth apply` would be most of what is measured.
struct Api {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Api {
    async fn connect(server: &Server) -> Result<Api> {
        let socket = server.home().join(SOCKET);
        let stream = UnixStream::connect(&socket).await.with_context(|| format!("cannot connect to {}", socket.display()))?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.context("the local API doesn't speak HTTP")?;
        Ok(Api { sender, _driver: AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) })) })
    }

    async fn apply(&mut self, resource: Value) -> Result<()> {
        let body = json!({"resources": [resource]}).to_string();
        let request = Request::post("/v1/apply").header(header::HOST, "berth").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body.into())).context("the request is well formed")?;
        let response = tokio::time::timeout(WITHIN, self.sender.send_request(request)).await.context("the local API is silent")?;
        let (head, body) = response.context("the local API closed the connection")?.into_parts();
        let said = body.collect().await.context("the local API closed the connection")?.to_bytes();
        let applied: Value = serde_json::from_slice(&said).unwrap_or_default();
        if head.status != 200 || applied["results"][0]["outcome"] != "created" {
            bail!("the local API answered {}: {}", head.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }
}

fn report(commands: &[Command; 2], component: &Component, own: &Own, lines: Vec<String>) -> Report {
    let range = |all: &[Duration]| {
        let (low, high) = (all.iter().min().copied().unwrap_or_default(), all.iter().max().copied().unwrap_or_default());
        format!("{} ({} to {})", time(median_time(all)), time(low), time(high))
    };
    let mut table = Table::new(&["from a start to the first answer", "berth", "wasmtime serve"]);
    let [ours, theirs] = commands;
    table.row(["the command, nothing kept from before".into(), range(&ours.cold), range(&theirs.cold)]);
    table.row(["the command, started before".into(), range(&ours.warm), range(&theirs.warm)]);
    let none = || "a start of the command".to_owned();
    let known = "a component compiled by an earlier process";
    let own_range = |[median, least, most]: [Duration; 3]| format!("{} ({} to {})", time(median), time(least), time(most));
    table.row([format!("{known}: the host's own part"), own_range(own.from_disk), none()]);
    table.row(["the same, another replica of it runs".into(), own_range(own.beside_another), none()]);
    table.row([format!("{known}: the whole way through the local API"), range(&component.from_disk), none()]);
    table.row(["the same, another replica of it runs".into(), range(&component.beside_another), none()]);
    table.row(["of the last two, until the Workload was stored".into(), range(&component.stored), "-".into()]);

    let at_most = |what: &str, middle: Duration, bound: Duration| {
        let verdict = Verdict::of(middle <= bound);
        Target { what: what.into(), wanted: format!("{} at most", time(bound)), measured: time(middle), verdict }
    };
    let cold = [&ours.cold, &theirs.cold].map(|all| median_time(all));
    let targets = vec![
        at_most("the host's own part of a component's start, from disk", own.from_disk[0], Duration::from_millis(5)),
        at_most("the same beside another replica", own.beside_another[0], Duration::from_millis(1)),
        at_most("a component's start through the local API, from disk", median_time(&component.from_disk), Duration::from_millis(5)),
        at_most("`berth up hello.wasm` with a warm cache", median_time(&ours.warm), Duration::from_millis(50)),
        Target {
            what: "`berth up hello.wasm` with nothing cached".into(),
            wanted: format!("not above the peer's {}", time(cold[1])),
            measured: time(cold[0]),
            verdict: Verdict::of(cold[0] <= cold[1]),
        },
    ];
    let notes = vec![
        "Medians and ranges. Of a command, from before its process is made to a whole answer with status 200, asked for every 0.1 ms or so; \
         of a component, from before a Workload is sent to the local API, through a commit to disk, operator and host, to the same; the \
         host's own part is measured in a process of its own, from before the host is told of the workload. Files are in the page cache. \
         Both programs keep compiled code in the home folder, by default."
            .to_owned(),
    ];
    let micros = |all: &[Duration]| all.iter().map(|took| took.as_micros() as u64).collect::<Vec<_>>();
    let raw = json!({
        "berth": {"cold": micros(&ours.cold), "warm": micros(&ours.warm)},
        "peer": {"cold": micros(&theirs.cold), "warm": micros(&theirs.warm)},
        "component": {"from_disk": micros(&component.from_disk), "beside_another": micros(&component.beside_another), "stored": micros(&component.stored)},
        "own": {"from_disk": micros(&own.from_disk), "beside_another": micros(&own.beside_another)},
    });
    Report { commands: lines, notes, tables: vec![table], targets, raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_is_held_against_its_own_bound() {
        let ms = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let commands = [
            Command { side: Side::Berth, cold: ms(&[300]), warm: ms(&[40, 51, 45]) },
            Command { side: Side::Peer, cold: ms(&[200]), warm: ms(&[30]) },
        ];
        let component = Component { from_disk: ms(&[4, 5, 9]), beside_another: ms(&[2]), stored: ms(&[1, 1]) };
        let own = Own { from_disk: [2, 1, 6].map(Duration::from_millis), beside_another: [2, 1, 3].map(Duration::from_millis) };
        let report = report(&commands, &component, &own, Vec::new());
        let verdicts: Vec<Verdict> = report.targets.iter().map(|target| target.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed, Verdict::Met, Verdict::Met, Verdict::Missed]);
        assert_eq!(report.tables[0].rows[1][1], "45.0 ms (40.0 ms to 51.0 ms)");
    }

    #[test]
    fn the_host_s_own_part_is_read_from_its_table() {
        let lines = [
            "from told to answered  median  least  most",
            "from disk  1.9ms  1.8ms  2.4ms",
            "beside another replica  612.3µs  0.5ms  1.0ms",
        ];
        let own = own(&lines.map(String::from)).expect("it is the table");
        assert_eq!((own.from_disk[2], own.beside_another[0]), (Duration::from_micros(2400), Duration::from_nanos(612_300)));
        assert!(super::own(&[]).is_none());
    }
}
