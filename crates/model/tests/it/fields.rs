//! Every field of release 2.7.0 has its place in the types (docs/compatibility.md).

use std::collections::BTreeMap;

use berth_model::manifest::{self, Document};
use berth_model::resource::Resource;
use serde_json::{Map, Value, json};

const FIELDS: &str = include_str!("fields-2.7.0.txt");

/// `spec.components[].image` as `["spec", "components", "[]", "image"]`.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for part in path.split('.') {
        let name = part.trim_end_matches("[]").trim_end_matches("{}");
        segments.push(name);
        segments.extend((name.len() < part.len()).then(|| &part[name.len()..]));
    }
    segments
}

/// A value that every rule of form accepts.
fn example(kind: &str, segments: &[&str], type_name: &str) -> Value {
    match (*segments.last().unwrap(), type_name) {
        ("apiVersion", _) => json!("runtime.wasmcloud.dev/v1alpha1"),
        ("kind", _) => json!(kind),
        ("imagePullPolicy", _) => json!("Always"),
        ("deployPolicy", _) => json!("Recreate"),
        ("status", "string") => json!("True"),
        ("lastTransitionTime" | "lastSeen", _) => json!("2026-01-02T03:04:05Z"),
        ("metadata", _) => json!({"name": "example", "namespace": "default"}),
        (_, "string") => json!("example"),
        (_, "integer") => json!(7),
        (_, "boolean") => json!(true),
        (_, "object") => json!({}),
        (_, "array") => json!([]),
        (name, other) => panic!("{name} has type {other}"),
    }
}

fn insert(at: &mut Value, segments: &[&str], value: Value) {
    let Some((first, rest)) = segments.split_first() else {
        // A parent's line may come after a child made it.
        if at.is_null() {
            *at = value;
        }
        return;
    };
    let child = match *first {
        "[]" => {
            if at.as_array().is_none_or(Vec::is_empty) {
                *at = json!([null]);
            }
            &mut at[0]
        }
        key => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            &mut at[if key == "{}" { "key" } else { key }]
        }
    };
    insert(child, rest, value);
}

fn find<'a>(at: &'a Value, segments: &[&str]) -> Option<&'a Value> {
    segments.iter().try_fold(at, |at, segment| match *segment {
        "[]" => at.get(0),
        "{}" => at.get("key"),
        key => at.get(key),
    })
}

fn by_kind() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in FIELDS.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        kinds.entry(words[0]).or_default().push((words[1], words[2]));
    }
    kinds
}

fn object(kind: &str, fields: &[(&str, &str)]) -> Value {
    let mut object = Value::Null;
    for (path, type_name) in fields {
        let segments = segments(path);
        insert(&mut object, &segments, example(kind, &segments, type_name));
    }
    object
}

#[test]
fn every_field_of_release_2_7_0_is_read_and_written_back() {
    let kinds = by_kind();
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), ["Artifact", "Host", "Workload", "WorkloadDeployment", "WorkloadReplicaSet"]);
    for (kind, fields) in kinds {
        let object = object(kind, &fields);
        let resource: Resource = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(resource.kind().as_str(), kind);
        let written = serde_json::to_value(&resource).unwrap();
        for (path, _) in fields {
            let segments = segments(path);
            assert_eq!(find(&written, &segments), find(&object, &segments), "{kind}: {path} was lost");
        }
    }
}

#[test]
fn a_manifest_with_every_field_of_release_2_7_0_is_accepted() {
    for (kind, fields) in by_kind() {
        let text = object(kind, &fields).to_string();
        let documents = manifest::parse(&text, kind).unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(&documents[..], [Document::Resource(resource)] if resource.kind().as_str() == kind), "{documents:?}");
    }
}
