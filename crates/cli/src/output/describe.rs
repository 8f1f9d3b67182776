//! `describe`: one object as a person reads it, from top to bottom.

use std::fmt::Write;
use std::io;

use berth_node::model::event::{Event, Severity};
use berth_node::model::resource::Resource;
use jiff::Timestamp;
use serde_json::Value;

use super::{Table, age, object_name, ready, status, yaml};

/// The object, what it owns, and what happened to it and to those.
pub(crate) fn describe(object: &Resource, owned: &[Resource], events: &[Event], now: Timestamp) -> io::Result<String> {
    let meta = object.metadata();
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let head = if name.is_empty() { String::new() } else { format!("{name}:") };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{head:<13}{}", super::printable(value));
    };
    field("Name", &meta.name);
    field("Namespace", &meta.namespace);
    field("Kind", object.kind().as_str());
    pairs(&mut field, "Labels", &meta.labels);
    pairs(&mut field, "Annotations", &meta.annotations);
    field("Created", &meta.creation_timestamp.map_or_else(String::new, |t| format!("{t} ({} ago)", age(Some(t), now))));
    if let Some(owner) = meta.controller() {
        field("Owner", &format!("{}/{}", owner.kind.to_ascii_lowercase(), owner.name));
    }
    field("Generation", &meta.generation.to_string());
    field("Status", &status(object));
    let value = serde_json::to_value(object).map_err(io::Error::other)?;
    section(&mut text, "Spec", &spec(&value))?;
    conditions(&mut text, &value, now);
    if !owned.is_empty() {
        let mut table = Table::new(["  NAME", "READY", "STATUS", "AGE"]);
        for child in owned {
            let meta = child.metadata();
            let name = format!("  {}", object_name(child.kind(), &meta.name));
            table.row([name, ready(child), status(child), age(meta.creation_timestamp, now)].map(|cell| (cell, None)));
        }
        text.push_str("Owns:\n");
        text.push_str(&table.render(|_, cell| cell.to_owned()));
    }
    happened(&mut text, events, now);
    Ok(text)
}

fn pairs(field: &mut impl FnMut(&str, &str), name: &str, map: &std::collections::BTreeMap<String, String>) {
    let mut name = name;
    for (key, value) in map {
        field(name, &format!("{key}={value}"));
        // Further pairs stand below the first.
        name = "";
    }
}

/// `spec`; for objects without one, what stands beside their metadata.
fn spec(value: &Value) -> Value {
    if let Some(spec) = value.get("spec") {
        return spec.clone();
    }
    let mut rest = value.clone();
    if let Some(map) = rest.as_object_mut() {
        map.retain(|key, _| !["apiVersion", "kind", "metadata", "status"].contains(&key.as_str()));
    }
    rest
}

fn section(text: &mut String, name: &str, value: &Value) -> io::Result<()> {
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    let _ = writeln!(text, "{name}:");
    for line in yaml(value)?.lines() {
        let _ = writeln!(text, "  {line}");
    }
    Ok(())
}

fn conditions(text: &mut String, value: &Value, now: Timestamp) {
    let Some(conditions) = value.pointer("/status/conditions").and_then(Value::as_array).filter(|c| !c.is_empty()) else { return };
    let mut table = Table::new(["  TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in conditions {
        let get = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let since = age(get("lastTransitionTime").parse().ok(), now);
        table.row([format!("  {}", get("type")), get("status"), get("reason"), since, get("message")].map(|cell| (cell, None)));
    }
    text.push_str("Conditions:\n");
    text.push_str(&table.render(|_, cell| cell.to_owned()));
}

fn happened(text: &mut String, events: &[Event], now: Timestamp) {
    if events.is_empty() {
        text.push_str("Events:      none\n");
        return;
    }
    let mut table = Table::new(["  TYPE", "REASON", "AGE", "OBJECT", "MESSAGE"]);
    for event in events {
        let severity = if event.severity == Severity::Warning { "Warning" } else { "Normal" };
        let times = if event.count > 1 { format!("{} (x{})", age(Some(event.time), now), event.count) } else { age(Some(event.time), now) };
        let object = format!("{}/{}", event.kind.as_str().to_ascii_lowercase(), event.name);
        table.row([format!("  {severity}"), event.reason.clone(), times, object, event.message.clone()].map(|cell| (cell, None)));
    }
    text.push_str("Events:\n");
    text.push_str(&table.render(|_, cell| cell.to_owned()));
}
