//! What `berth up` says: lines for a person, or, with `--log-format json`, log lines that mean the same.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_node::api::{Change, Outcome};
use berth_node::caches::CachesSummary;
use berth_node::intake::{Skipped, Warning};
use berth_node::notice::Notice;
use berth_node::oci::Pulling;
use berth_node::url;

use crate::commands::apply::{skip_line, warning_line};
use crate::commands::{tell, warn};
use crate::output::{Output, Tone, duration, object_name, printable, size};

use super::progress::Progress;

/// Speaks; that nobody listens is no reason to stop serving.
pub(super) struct Voice<'a> {
    out: &'a mut Output,
    json: bool,
    addr: SocketAddr,
    tls: bool,
    progress: Progress,
}

impl<'a> Voice<'a> {
    pub(super) fn new(out: &'a mut Output, json: bool, addr: SocketAddr, tls: bool) -> Voice<'a> {
        Voice { out, json, addr, tls, progress: Progress::new(json) }
    }

    fn line(&mut self, text: &str) {
        self.progress.clear();
        if self.json {
            tracing::info!("{text}");
        } else {
            let _ = self.out.line(text);
        }
    }

    fn error(&mut self, text: &str) {
        self.progress.clear();
        if self.json {
            tracing::error!("{text}");
        } else {
            tell(text);
        }
    }

    fn tone(&self, tone: Tone, text: &str) -> String {
        if self.json { text.to_owned() } else { self.out.paint(tone, text) }
    }

    pub(super) fn started(&mut self, data_dir: &Path, ephemeral: bool, admin: Option<String>) {
        let base = url::base(self.addr, self.tls);
        let base = self.tone(Tone::Strong, &base);
        self.line(&format!("berth {} answers on {base}", env!("CARGO_PKG_VERSION")));
        if let Some(admin) = admin {
            self.line(&format!("/livez, /readyz and /metrics on http://{admin}"));
        }
        if ephemeral {
            self.line(&format!("nothing is kept; other commands reach it with --data-dir {}", data_dir.display()));
        } else {
            self.line(&format!("data folder {}", data_dir.display()));
        }
    }

    /// What is kept from before; nothing is said of empty caches.
    pub(super) fn cached(&mut self, summary: &CachesSummary) {
        if summary.image_bytes == 0 && summary.compiled == 0 {
            return;
        }
        let components = if summary.compiled == 1 { "component" } else { "components" };
        let (code, images) = (size(summary.code_bytes), size(summary.image_bytes));
        let dir = summary.dir.display();
        self.line(&format!("caches: {} compiled {components} ({code}), {images} of images, in {dir}", summary.compiled));
    }

    pub(super) fn pulling(&mut self, pulls: &[Pulling]) {
        for line in self.progress.show(pulls, Instant::now()) {
            self.line(&line);
        }
    }

    pub(super) fn skipped(&mut self, skipped: &Skipped) {
        self.line(&skip_line(skipped));
    }

    pub(super) fn warning(&mut self, warning: &Warning) {
        let text = warning_line(warning);
        if self.json {
            tracing::warn!("{text}");
        } else {
            warn(&text);
        }
    }

    pub(super) fn applied(&mut self, change: &Change) {
        let name = object_name(change.object.kind, &change.object.name);
        let word = match change.outcome {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => {
                let why = change.error.as_ref().map_or("", |error| error.message.as_str());
                self.error(&format!("{name} is refused: {why}"));
                return;
            }
        };
        self.line(&format!("{name} {word}"));
    }

    pub(super) fn resumed(&mut self, stored: usize) {
        match stored {
            0 => self.line("nothing to run yet: `berth apply -f FILE` gives it something, or start it with `berth up PATH`"),
            1 => self.line("1 workload from before starts again"),
            n => self.line(&format!("{n} workloads from before start again")),
        }
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Prepared { owner, component, compiled: Some(Duration::ZERO) } => {
                self.line(&format!("{}: component {component} read, compiled with what calls it", short(owner)));
            }
            Notice::Prepared { owner, component, compiled: Some(took) } => {
                self.line(&format!("{}: component {component} read, compiled in {}", short(owner), duration(*took)));
            }
            Notice::Prepared { owner, component, compiled: None } => {
                self.line(&format!("{}: component {component} read, compiled before", short(owner)));
            }
            Notice::Ready { owner, took, domains, http } => self.ready(owner, *took, domains, *http),
            Notice::Failed { owner, reason, message } => self.error(&format!("{}: {}", short(owner), explained(reason, message))),
            Notice::Restarting { owner, message } => self.error(&format!("{}: {message}", short(owner))),
            Notice::Recovered { owner, restarts } => {
                let runs = self.tone(Tone::Good, "runs again");
                let times = if *restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
                self.line(&format!("{}: the service {runs}, after {times}", short(owner)));
            }
            Notice::Completed { owner } => self.line(&format!("{}: the service has ended by itself, with success", short(owner))),
            Notice::Waiting { owner, reason, message } => {
                let wait = self.tone(Tone::Warn, "waits");
                self.line(&format!("{} {wait}: {}", short(owner), explained(reason, message)));
            }
            Notice::Conflict { owner, domain, holder } => {
                let way_out = "give one of them another config.host, or delete that one";
                self.error(&format!("{}: the domain {domain} is served by {holder}, which is older: {way_out}", short(owner)));
            }
        }
    }

    fn ready(&mut self, owner: &str, took: Duration, domains: &[String], http: bool) {
        let word = self.tone(Tone::Good, "ready");
        self.line(&format!("{}: {word} in {}", short(owner), duration(took)));
        if !http {
            return;
        }
        let domains: Vec<Option<&str>> = if domains.is_empty() { vec![None] } else { domains.iter().map(|d| Some(d.as_str())).collect() };
        for domain in domains {
            let command = url::curl(self.addr, self.tls, domain);
            let command = self.tone(Tone::Strong, &command);
            self.line(&format!("  {command}"));
        }
    }

    pub(super) fn draining(&mut self, grace: Duration) {
        self.line(&format!("finishing requests, at most {} (Ctrl-C again ends at once)", duration(grace)));
    }

    pub(super) fn cut_short(&mut self) {
        self.line("ended at once");
    }

    pub(super) fn stopped(&mut self) {
        self.line("stopped");
    }
}

/// `default/hello` is `hello`: the namespace that nobody chose isn't worth the words.
fn short(owner: &str) -> String {
    printable(owner.strip_prefix("default/").unwrap_or(owner))
}

fn explained(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (_, true) => reason.to_owned(),
        (true, false) => message.to_owned(),
        (false, false) => format!("{message} ({reason})"),
    }
}
