//! Watches berth's own figures: memory once a second, and at the end what is left although nothing runs any more.

use std::sync::Arc;
use std::time::Duration;

use super::client;
use super::ledger::Kind;
use super::memory::Sample;
use super::metrics::{Figures, Leftovers};
use super::site::Site;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two lines on the screen.
const LOOKS_PER_LINE: u32 = 15;
/// What is left must be gone within this after the last request, or the last deletion.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// Looks once a second until the load ends.
pub async fn watch(site: Arc<Site>) {
    let mut looks = 0;
    while site.pause(EVERY).await {
        let serving = site.state();
        let Some(since) = serving.since else { continue };
        let from = site.now();
        let figures = look(&site).await;
        if let Ok(figures) = &figures {
            site.sample(Sample { life: serving.life, age: from.saturating_sub(since), resident_bytes: figures.resident_bytes });
            looks += 1;
            if looks % LOOKS_PER_LINE == 0 {
                let (entries, lost) = site.read(|ledger, _, _| (ledger.entries(), ledger.lost()));
                let mib = figures.resident_bytes >> 20;
                println!("soak: {:>6.1} s  {entries} requests, {lost} lost, {mib} MiB", from.as_secs_f64());
            }
        }
        site.enter(Kind::Metrics, from, figures.map(drop));
    }
}

/// One look.
pub async fn look(site: &Site) -> Result<Figures, String> {
    let answer = client::get(site.seat.admin, "/metrics").await?;
    Figures::parse(&String::from_utf8_lossy(&answer.body))
}

/// Looks until nothing is left, or the time for that is over; the last figures and what is left then.
pub async fn settled(site: &Site, left: impl Fn(&Figures) -> Leftovers) -> Result<(Figures, Leftovers), String> {
    let deadline = site.now() + GONE_WITHIN;
    loop {
        let figures = look(site).await?;
        let leftovers = left(&figures);
        if leftovers.is_empty() || site.now() > deadline {
            return Ok((figures, leftovers));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
