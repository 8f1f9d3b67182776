//! Changes under load: workloads that roll over to other versions, and one that comes and goes, by `berth apply` and `berth delete`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::asks;
use super::client::{Connection, Protocol};
use super::ledger::Kind;
use super::site::Site;
use super::workloads::{PASSING, Rolling};

/// A deleted workload must be out of the route within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Rolls a workload over to its next version again and again.
pub async fn roll(site: Arc<Site>, rolling: Arc<Rolling>, mut rng: fastrand::Rng) {
    let file = format!("{}.yaml", rolling.name.0);
    let mut version = 0;
    while site.pause(Duration::from_millis(rng.u64(1500..5000))).await {
        version += 1;
        let text = site.components.version(&rolling, version);
        rolling.applying(version);
        let path = match site.seat.write(&file, &text) {
            Ok(path) => path,
            Err(error) => return site.lose(Kind::Command, format!("{error:#}")),
        };
        if apply(&site, &path).await {
            rolling.is_ready(version);
        }
    }
}

/// Deletes a workload and applies it again, again and again.
pub async fn come_and_go(site: Arc<Site>, mut rng: fastrand::Rng) {
    let path = match site.seat.write("passing.yaml", &site.components.passing()) {
        Ok(path) => path,
        Err(error) => return site.lose(Kind::Command, format!("{error:#}")),
    };
    while site.pause(Duration::from_millis(rng.u64(500..3000))).await {
        let life = site.state();
        if !apply(&site, &path).await {
            continue;
        }
        let from = site.now();
        let here = ask_passing(&site).await;
        site.enter(Kind::Passing, from, here);
        if !site.pause(Duration::from_millis(rng.u64(200..3000))).await {
            return;
        }
        let deleted = command(&site, &["delete", "workloaddeployment", PASSING.0]).await;
        if deleted.is_some() && life == site.state() {
            await_gone(&site).await;
        }
    }
}

/// Applies a file and waits until it is ready. If berth is killed meanwhile: what it has acknowledged before, it must still know, and make ready.
/// Whether the file is ready now; `false` when the load ends, or after a failure.
async fn apply(site: &Site, path: &Path) -> bool {
    let path = path.to_string_lossy();
    let mut acknowledged = false;
    loop {
        if site.serving().await.is_none() {
            return false;
        }
        let from = site.now();
        let said = site.seat.run(&["apply", "--wait", "-f", &path]).await;
        let out = said.as_ref().map_or("", |said| said.out.as_str());
        let forgotten = acknowledged && [" created", " configured"].iter().any(|word| out.contains(word));
        let heard = [" created", " configured", " unchanged"].iter().any(|word| out.contains(word));
        if forgotten {
            site.lose(Kind::Command, format!("berth apply -f {path}: what was applied before the kill was forgotten: {}", out.trim()));
        }
        let killed = site.read(|_, outages, _| outages.touch(from, site.now()));
        let ended = said.and_then(|said| said.ok()).map(drop).map_err(|what| format!("berth apply -f {path}: {what}"));
        let ready = ended.is_ok();
        site.enter(Kind::Command, from, ended);
        if ready || !killed {
            return ready;
        }
        acknowledged |= heard;
    }
}

/// Runs a command that must work; what it printed, if it did.
async fn command(site: &Site, arguments: &[&str]) -> Option<String> {
    site.serving().await?;
    let from = site.now();
    let said = site.seat.run(arguments).await.and_then(|said| said.ok());
    let ended = said.as_ref().map(drop).map_err(|what| format!("berth {}: {what}", arguments.join(" ")));
    site.enter(Kind::Command, from, ended);
    said.ok()
}

/// Waits until the passing workload is out of the route.
async fn await_gone(site: &Site) {
    let from = site.now();
    let gone = async {
        while ask_passing(site).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(GONE_WITHIN, gone).await;
    site.enter(Kind::Passing, from, gone.map_err(|_| format!("still answers {GONE_WITHIN:?} after it was deleted")));
}

async fn ask_passing(site: &Site) -> Result<(), String> {
    let mut connection = Connection::open(site.seat.http, Protocol::Fresh).await?;
    connection.sender().ask(&asks::passing_here(), site.seat.http.port()).await
}
