//! `berth cache`: what is kept of images and compiled code. It works on the folder itself, whether a berth runs or not.

use std::time::SystemTime;

use berth_node::caches::{Caches, CachesConfig};
use berth_node::host::CodeEntry;
use berth_node::oci::{CacheError, Entry, EntryKind, Prune, Verified};
use jiff::Timestamp;
use serde_json::json;

use super::{is_json, usage};
use crate::args::{self, TextOrJson};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, age, size};

const HEADERS: [&str; 5] = ["KIND", "DIGEST", "SIZE", "USED", "REFERENCES"];

pub(super) fn run(command: &args::Cache, config: &CachesConfig, out: &mut Output) -> Result<Exit, Failure> {
    let Some(dir) = &config.dir else {
        return Err(usage("there is neither XDG_CACHE_HOME nor HOME to find the caches by: name their folder with --cache-dir".to_owned()));
    };
    // Looking removes nothing: a berth may have been given larger bounds.
    let caches = Caches::open(&CachesConfig { required: true, image_bytes: u64::MAX, code_bytes: u64::MAX, ..config.clone() }, dir)?;
    match command {
        args::Cache::Ls(args) => list(&caches, args.output, out),
        args::Cache::Prune(args) => prune(&caches, args, out),
        args::Cache::Verify(args) => verify(&caches, args.output, out),
    }
}

/// One line of the list.
struct Line {
    kind: &'static str,
    digest: String,
    bytes: u64,
    used: SystemTime,
    references: Vec<String>,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Line {
        let kind = match entry.kind {
            EntryKind::Component => "image",
            EntryKind::Manifest => "manifest",
            EntryKind::Unreferenced => "unreferenced",
        };
        Line { kind, digest: entry.digest.to_string(), bytes: entry.bytes, used: entry.last_used, references: entry.references }
    }
}

impl From<CodeEntry> for Line {
    fn from(entry: CodeEntry) -> Line {
        let digest = entry.component.map_or_else(|| "not authentic".to_owned(), |digest| digest.to_string());
        Line {
            kind: if entry.is_plan { "plan" } else { "code" },
            digest,
            bytes: entry.bytes,
            used: entry.last_used,
            references: Vec::new(),
        }
    }
}

fn list(caches: &Caches, format: TextOrJson, out: &mut Output) -> Result<Exit, Failure> {
    let images = caches.images.entries()?.into_iter().map(Line::from);
    let mut lines: Vec<Line> = images.chain(caches.code.entries()?.into_iter().map(Line::from)).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.used));
    if is_json(format) {
        let one = |line: &Line| {
            let used = Timestamp::try_from(line.used).ok().map(|used| used.to_string());
            json!({"kind": line.kind, "digest": line.digest, "bytes": line.bytes, "lastUsed": used, "references": line.references})
        };
        out.json(&lines.iter().map(one).collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    if lines.is_empty() {
        super::note("nothing is cached");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(HEADERS);
    let now = Timestamp::now();
    for line in &lines {
        let used = age(Timestamp::try_from(line.used).ok(), now);
        let cells = [line.kind.to_owned(), short(&line.digest), size(line.bytes), used, line.references.join(", ")];
        table.row(cells.map(|cell| (cell, None)));
    }
    out.table(&table)?;
    Ok(Exit::Ok)
}

/// Twelve digits of a digest tell components apart; `-o json` has them all.
fn short(digest: &str) -> String {
    digest
        .char_indices()
        .nth("sha256:".len() + 12)
        .filter(|_| digest.starts_with("sha256:"))
        .map_or(digest, |(end, _)| &digest[..end])
        .into()
}

fn prune(caches: &Caches, args: &args::Prune, out: &mut Output) -> Result<Exit, Failure> {
    let what = match (args.unused_for, args.to) {
        (Some(age), _) => Prune::UnusedFor(age),
        (None, Some(bytes)) => Prune::ToBytes(bytes),
        (None, None) => Prune::All,
    };
    let (images, code) = (caches.images.prune(what)?, caches.code.prune(what)?);
    if is_json(args.output) {
        out.json(&json!({
            "images": {"files": images.entries, "bytes": images.bytes, "inUse": images.in_use},
            "code": {"files": code.entries, "bytes": code.bytes},
        }))?;
        return Ok(Exit::Ok);
    }
    let in_use = if images.in_use > 0 { format!(" ({} in use stay)", images.in_use) } else { String::new() };
    out.line(format!("removed {} of images{in_use}", files(images.entries, images.bytes)))?;
    out.line(format!("removed {} of compiled code", files(code.entries, code.bytes)))?;
    Ok(Exit::Ok)
}

/// Damage isn't this command's failure: what was damaged is gone, and comes anew when it is needed. Files that can't be read are.
fn verify(caches: &Caches, format: TextOrJson, out: &mut Output) -> Result<Exit, Failure> {
    let found = [("images", caches.images.verify()?), ("compiled code", caches.code.verify()?)];
    if is_json(format) {
        let [images, code] = found.each_ref().map(|(_, verified)| verified_json(verified));
        out.json(&json!({"images": images, "code": code}))?;
    } else {
        for (what, verified) in &found {
            out.line(format!("{} of {what} as they should be", files(verified.good, verified.good_bytes)))?;
            for name in &verified.removed {
                out.line(format!("removed {name} of {what}: it was damaged, or not made here"))?;
            }
        }
    }
    let unreadable: Vec<String> = found
        .iter()
        .flat_map(|(what, verified)| verified.unreadable.iter().map(move |(name, why)| format!("can't read {name} of {what}: {why}")))
        .collect();
    if unreadable.is_empty() { Ok(Exit::Ok) } else { Err(Failure::new(Exit::Failure, unreadable.join("\n"))) }
}

fn verified_json(verified: &Verified) -> serde_json::Value {
    let unreadable: Vec<&String> = verified.unreadable.iter().map(|(name, _)| name).collect();
    json!({"files": verified.good, "bytes": verified.good_bytes, "removed": verified.removed, "unreadable": unreadable})
}

fn files(count: u64, bytes: u64) -> String {
    format!("{count} {} ({})", if count == 1 { "file" } else { "files" }, size(bytes))
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Failure {
        Failure::new(Exit::Failure, format!("{}; the caches' folder is --cache-dir", berth_node::chain(&error)))
    }
}
