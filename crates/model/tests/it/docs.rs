//! What the documents say about manifests is so: their examples are valid, and they name every field there is and no other (L63).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_model::limits::Effective;
use berth_model::manifest::{self, Document};
use berth_model::quantity::{parse_bytes, parse_duration};
use berth_model::resource::{
    ArtifactReference, ArtifactSpec, ComponentSpec, ConfigLayer, DeployPolicy, DeploymentSpec, Empty, HostInterfaceSpec, HostPathSpec,
    Kubernetes, KubernetesService, LimitsSpec, LinkSpec, LocalObjectReference, LocalResources, Object, ObjectMeta, PullPolicy, Resource,
    ServiceSpec, Template, VolumeMountSpec, VolumeSpec, WorkloadSpec,
};
use berth_model::validate;
use serde_json::Value;

/// Stands for a key that users choose.
const CHOSEN: &str = "CHOSEN";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// README.md and every page in docs/, by name.
fn documents() -> Vec<(String, String)> {
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = pages.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    names.push("README.md".to_owned());
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// The fenced blocks of YAML in a Markdown text, without the fence's own indent, each with its line.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let fence = line.trim_start();
        if !fence.starts_with("```") {
            continue;
        }
        let indent = line.len() - fence.len();
        let is_end = |line: &str| line.trim() == "```";
        let body: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| !is_end(line)).collect();
        if ["yaml", "yml"].contains(&fence.trim_start_matches('`').trim()) {
            blocks.push((number + 1, body.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()));
        }
    }
    blocks
}

#[test]
fn l63_every_manifest_in_the_documents_is_valid() {
    let mut checked = BTreeSet::new();
    for (name, text) in documents() {
        for (line, block) in yaml_blocks(&text) {
            let place = format!("{name}:{line}");
            for document in manifest::parse(&block, &place).unwrap_or_else(|error| panic!("{error}")) {
                let Document::Resource(mut resource) = document else { panic!("{place}: {document:?} isn't served") };
                let namespace = &mut resource.metadata_mut().namespace;
                if namespace.is_empty() {
                    // As the store does.
                    "default".clone_into(namespace);
                }
                validate::resource(&resource).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            checked.insert(name.clone());
        }
    }
    for name in ["README.md", "docs/grants.md", "docs/limits.md", "docs/manifests.md"] {
        assert!(checked.contains(name), "{name} has no manifest, or it isn't found");
    }
}

fn reference() -> LocalObjectReference {
    LocalObjectReference { name: "a".into() }
}

fn chosen() -> std::collections::BTreeMap<String, String> {
    [(CHOSEN.to_owned(), "a".to_owned())].into()
}

fn limits() -> LimitsSpec {
    LimitsSpec {
        memory: Some("64Mi".into()),
        request_timeout: Some("1s".into()),
        max_in_flight: Some(1),
        max_queued: Some(1),
        queue_timeout: Some("1s".into()),
        max_request_body: Some("1Mi".into()),
        table_elements: Some(1),
    }
}

fn local() -> LocalResources {
    LocalResources {
        volume_mounts: vec![VolumeMountSpec { name: "a".into(), mount_path: "/a".into(), read_only: true }],
        environment: Some(ConfigLayer { config: chosen(), config_from: vec![reference()], secret_from: vec![reference()] }),
        config: chosen(),
        allowed_hosts: vec!["*".into()],
        allowed_ip_name_lookups: vec!["*".into()],
        allowed_host_loopback_ports: vec!["1".into()],
        limits: Some(limits()),
    }
}

fn links() -> Vec<LinkSpec> {
    vec![LinkSpec { import: "a:b/c".into(), component: Some("a".into()), fuse: true }]
}

fn component() -> ComponentSpec {
    ComponentSpec {
        name: "a".into(),
        image: "file:a.wasm".into(),
        image_pull_secret: Some(reference()),
        image_pull_policy: Some(PullPolicy::Never),
        pool_size: Some(1),
        max_invocations: Some(1),
        max_concurrency: Some(1),
        local_resources: Some(local()),
        links: links(),
    }
}

fn workload() -> WorkloadSpec {
    WorkloadSpec {
        host_selector: chosen(),
        host_id: Some("a".into()),
        environment: Some("a".into()),
        components: vec![component()],
        service: Some(ServiceSpec {
            image: "file:a.wasm".into(),
            image_pull_secret: Some(reference()),
            image_pull_policy: Some(PullPolicy::Never),
            max_restarts: Some(1),
            local_resources: Some(local()),
            links: links(),
        }),
        host_interfaces: vec![HostInterfaceSpec {
            namespace: "a".into(),
            package: "a".into(),
            interfaces: vec!["a".into()],
            version: Some("0.1.0".into()),
            name: Some("a".into()),
            config: chosen(),
            config_from: vec![reference()],
            secret_from: vec![reference()],
        }],
        volumes: vec![VolumeSpec { name: "a".into(), ephemeral: Some(Empty {}), host_path: Some(HostPathSpec { path: "/a".into() }) }],
        kubernetes: Some(Kubernetes { service: Some(KubernetesService { name: "a".into() }) }),
    }
}

/// A deployment and an artifact in which every field that users write is set. Without `..`, so that a new field is missed here first.
fn everything() -> [Resource; 2] {
    let metadata =
        || ObjectMeta { name: "a".into(), namespace: "a".into(), labels: chosen(), annotations: chosen(), ..ObjectMeta::default() };
    let deployment = DeploymentSpec {
        replicas: Some(1),
        template: Template { labels: chosen(), annotations: chosen(), spec: workload() },
        deploy_policy: Some(DeployPolicy::Recreate),
        artifacts: vec![ArtifactReference { name: "a".into(), artifact_from: reference() }],
        kubernetes: Some(Kubernetes { service: Some(KubernetesService { name: "a".into() }) }),
    };
    let artifact = ArtifactSpec { image: "file:a.wasm".into(), image_pull_secret: Some(reference()) };
    [
        Resource::Deployment(Object { metadata: metadata(), spec: deployment, status: Default::default() }),
        Resource::Artifact(Object { metadata: metadata(), spec: artifact, status: Default::default() }),
    ]
}

fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().filter(|(key, _)| *key != CHOSEN).for_each(|(key, value)| {
            found.insert(key.clone());
            fields(value, found);
        }),
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

fn fields_of(value: &impl serde::Serialize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    fields(&serde_json::to_value(value).unwrap(), &mut found);
    found
}

/// The words of a text that stand between backticks, also of such as `environment: {config}`.
fn code_words(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("```"));
    let code = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
    code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric())).filter(|word| !word.is_empty()).collect()
}

/// The rows of every table whose header begins with `first`, as their cells.
fn rows<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let row = if line.starts_with('|') { cells(line) } else { Vec::new() };
        match row.first() {
            None => inside = false,
            Some(cell) if *cell == first => inside = true,
            Some(cell) if inside && !cell.starts_with('-') => found.push(row),
            Some(_) => {}
        }
    }
    found
}

#[test]
fn l63_the_page_on_manifests_names_every_field_and_no_other() {
    let text = read("docs/manifests.md");
    let words = code_words(&text);
    let known: BTreeSet<String> = everything().iter().flat_map(fields_of).collect();
    for field in known.iter().filter(|field| !["apiVersion", "kind", "metadata"].contains(&field.as_str())) {
        assert!(words.contains(field.as_str()), "docs/manifests.md doesn't name `{field}`");
    }
    for row in rows(&text, "field") {
        for field in code_words(row[0]) {
            assert!(known.contains(field), "docs/manifests.md has a row for `{field}`, and there is no such field");
        }
    }
}

/// `requestTimeout` as `--request-timeout`.
fn flag(field: &str) -> String {
    let kebab = field.chars().map(|c| if c.is_ascii_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() });
    format!("`--{}`", kebab.collect::<String>())
}

/// Whether `text` is the default of `field`.
fn is_default(field: &str, text: &str) -> bool {
    let defaults = Effective::default();
    let (bytes, time, number) = (parse_bytes(text), parse_duration(text), text.parse::<u32>());
    match field {
        "memory" => bytes == Ok(defaults.memory_bytes),
        "maxRequestBody" => bytes == Ok(defaults.max_request_body_bytes),
        "requestTimeout" => time == Ok(defaults.request_timeout),
        "queueTimeout" => time == Ok(defaults.queue_timeout),
        "maxInFlight" => number == Ok(defaults.max_in_flight),
        "maxQueued" => number == Ok(defaults.max_queued),
        "tableElements" => number == Ok(defaults.table_elements),
        other => panic!("{other} is new: say here which default it has"),
    }
}

/// What the validation says of a limit with this value.
fn check(field: &str, value: &str) -> Result<(), String> {
    let value = if serde_json::to_value(limits()).unwrap()[field].is_number() { value.to_owned() } else { format!("{value:?}") };
    let manifest = format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {{name: a, namespace: a}}\nspec:\n  components:\n    \
         - {{name: a, image: \"file:a\", localResources: {{limits: {{{field}: {value}}}}}}}\n"
    );
    let documents = manifest::parse(&manifest, field).map_err(|error| error.to_string())?;
    let [Document::Resource(resource)] = documents.as_slice() else { panic!("{documents:?}") };
    validate::resource(resource).map_err(|error| error.to_string())
}

#[test]
fn l63_each_limit_is_documented_with_its_flag_its_default_and_its_bounds() {
    let known = fields_of(&limits());
    let name = |row: &[&str]| row[0].trim_matches('`').to_owned();
    let limits: Vec<Vec<String>> =
        rows(&read("docs/limits.md"), "manifest").iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
    assert_eq!(limits.iter().map(|row| row[0].trim_matches('`').to_owned()).collect::<BTreeSet<_>>(), known);
    let manifests = read("docs/manifests.md");
    let in_manifests: Vec<_> = rows(&manifests, "field").into_iter().filter(|row| known.contains(&name(row))).collect();
    assert_eq!(in_manifests.iter().map(|row| name(row)).collect::<BTreeSet<_>>(), known);
    for row in &limits {
        let [field, flag_cell, default, bounds, ..] = row.as_slice() else { panic!("{row:?}") };
        let field = field.trim_matches('`');
        assert_eq!(*flag_cell, flag(field), "docs/limits.md, {field}");
        assert!(is_default(field, default), "docs/limits.md says that {field} is {default} by default");
        let (least, most) = bounds.split_once(" to ").unwrap_or_else(|| panic!("{field}: `{bounds}` are no bounds"));
        for bound in [least, most] {
            assert_eq!(check(field, bound), Ok(()), "docs/limits.md, {field}");
        }
        // What is more by the smallest step that its notation has.
        let more = match most.strip_suffix('h') {
            Some(_) => format!("{most}1ms"),
            None => (parse_bytes(most).unwrap() + 1).to_string(),
        };
        let refusal = check(field, &more).expect_err("docs/limits.md bounds it");
        assert!(refusal.contains(bounds.as_str()), "docs/limits.md, {field}: {bounds}; the check says: {refusal}");
        let there = in_manifests.iter().find(|row| name(row) == field).unwrap();
        assert_eq!((there[2], there[3]), (default.as_str(), bounds.as_str()), "docs/manifests.md, {field}");
    }
}

#[test]
fn l63_the_bounds_of_replicas_are_documented() {
    let manifests = read("docs/manifests.md");
    let table = rows(&manifests, "field");
    let row = table.iter().find(|row| row[0] == "`replicas`").expect("there is a row for it");
    assert_eq!(row[1], format!("number, 0 to {}", validate::MAX_REPLICAS));
}

#[test]
fn l63_flags_that_the_pages_name_are_those_of_the_command() {
    let reference = read("docs/cli.md");
    let known: BTreeSet<&str> = flags(&reference).collect();
    // The page of benchmarks has the commands that were run: also the peer's, and those of development.
    let others = ["docs/cli.md", "README.md", "docs/benchmarks.md"];
    for (name, text) in documents().iter().filter(|(name, _)| !others.contains(&name.as_str())) {
        for flag in flags(text) {
            assert!(known.contains(flag), "{name} names `{flag}`, which docs/cli.md doesn't have");
        }
    }
}

fn flags(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.as_bytes().get(2).is_some_and(u8::is_ascii_lowercase))
}
