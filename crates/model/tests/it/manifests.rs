//! Manifests: what is read, and how faults are told.

mod faults;

use berth_model::manifest::{self, Document, MAX_BYTES, MAX_DEPTH, MAX_PROBLEMS, ManifestError};
use berth_model::resource::{Kind, Resource};
use berth_model::validate;
use proptest::prelude::*;

use crate::arbitrary;

fn parse(text: &str) -> Vec<Document> {
    manifest::parse(text, "test.yaml").unwrap_or_else(|error| panic!("{error}"))
}

fn fail(text: &str) -> ManifestError {
    manifest::parse(text, "test.yaml").expect_err(text)
}

/// `document`, `line`, `field` and a part of the message of each problem.
fn assert_problems(text: &str, expected: &[(usize, u64, &str, &str)]) {
    let error = fail(text);
    let found: Vec<_> = error.problems.iter().map(|p| (p.document, p.line, p.field.as_str())).collect();
    assert_eq!(found, expected.iter().map(|e| (e.0, e.1, e.2)).collect::<Vec<_>>(), "{error}");
    for (problem, (.., message)) in error.problems.iter().zip(expected) {
        assert!(problem.message.contains(message), "{problem} doesn't say {message}");
    }
}

fn kinds(documents: &[Document]) -> Vec<String> {
    documents
        .iter()
        .map(|document| match document {
            Document::Resource(resource) => format!("{}/{}", resource.kind(), resource.metadata().name),
            Document::Skipped { kind, name, .. } => format!("skipped {kind}/{name}"),
        })
        .collect()
}

/// A workload whose spec is `lines`, indented by two.
fn workload(lines: &str) -> String {
    format!("apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata:\n  name: a\nspec:\n{lines}")
}

#[test]
fn the_sample_that_users_have_applies_unchanged() {
    let mut documents = parse(include_str!("data/sample.yaml"));
    assert_eq!(kinds(&documents), ["WorkloadDeployment/hello-world", "skipped HorizontalPodAutoscaler/hello-world"]);
    let Document::Resource(resource) = &mut documents[0] else { unreachable!() };
    resource.metadata_mut().namespace = "default".into();
    validate::resource(resource).unwrap();
    let Resource::Deployment(deployment) = &**resource else { panic!("{resource:?}") };
    assert_eq!(deployment.spec.template.spec.host_selector["hostgroup"], "default");
    assert_eq!(deployment.spec.template.spec.host_interfaces[0].config["host"], "hello.localhost");
    let entry = validate::http_entry(&deployment.metadata, &deployment.spec.template.spec).unwrap().unwrap();
    assert_eq!(entry.domains[0].as_str(), "hello.localhost");
}

#[test]
fn documents_come_in_one_text_as_a_list_and_as_json() {
    let one = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}"#;
    let two = one.replace("\"a\"", "\"b\"");
    assert_eq!(kinds(&parse(one)), ["ConfigMap/a"]);
    assert_eq!(kinds(&parse(&format!("# first\n---\n{one}\n---\n\n---\n# nothing\n---\n{two}\n"))), ["ConfigMap/a", "ConfigMap/b"]);
    let list =
        format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{one}, {{"apiVersion": "v1", "kind": "List", "items": [{two}]}}]}}"#);
    assert_eq!(kinds(&parse(&list)), ["ConfigMap/a", "ConfigMap/b"]);
    assert_eq!(
        kinds(&parse("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"}\n}\n")),
        ["ConfigMap/a"]
    );
    assert_eq!(kinds(&parse(&format!("\u{feff}{one}"))), ["ConfigMap/a"]);
    assert_eq!(parse("apiVersion: v1\nkind: List\nitems: []\n"), []);
}

#[test]
fn a_text_without_a_document_is_an_error() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n", "~\n", "null"] {
        let error = fail(text);
        assert_eq!(error.to_string(), "test.yaml: it has no document", "{text}");
    }
}

#[test]
fn kinds_of_others_are_skipped_and_named() {
    let skipped =
        |api: &str, kind: &str| parse(&format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: x}}\nanything: [1, true, ~]\n"));
    for (api, kind) in [
        ("v1", "Service"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("getambassador.io/v3", "Host"),
        ("kueue.x-k8s.io/v1", "Workload"),
    ] {
        assert_eq!(skipped(api, kind), [Document::Skipped { api_version: api.into(), kind: kind.into(), name: "x".into() }]);
    }
}

#[test]
fn l60_an_unknown_field_is_told_with_its_place_and_a_suggestion() {
    let text =
        format!("{}\n---\n{}", include_str!("data/sample.yaml"), workload("  components:\n    - name: a\n      imge: x\n      image: b\n"));
    let line = text.lines().position(|line| line.contains("imge")).unwrap() as u64 + 1;
    assert_problems(&text, &[(3, line, "spec.components[0].imge", "unknown field; did you mean `image`?")]);
    let error = fail(&text).to_string();
    assert_eq!(error, format!("test.yaml: document 3, line {line}: spec.components[0].imge: unknown field; did you mean `image`?"));
}

#[test]
fn a_field_of_the_wrong_kind_says_what_it_must_be() {
    let cases = [
        ("  components: {}\n", "spec.components", "must be a list, but is a map"),
        ("  components: [1]\n", "spec.components[0]", "must be a map, but is the number 1"),
        ("  components: [{name: a}]\n", "spec.components[0].image", "is missing"),
        ("  components: [{name: a, image: }]\n", "spec.components[0].image", "is missing"),
        ("  components: [{name: a, image: b, poolSize: many}]\n", "spec.components[0].poolSize", "must be a whole number, but is text"),
        ("  components: [{name: a, image: b, poolSize: 1.5}]\n", "spec.components[0].poolSize", "whole number"),
        (
            "  components: [{name: a, image: b, poolSize: 3000000000}]\n",
            "spec.components[0].poolSize",
            "must be a whole number from 0 to 2147483647, but is",
        ),
        (
            "  components: [{name: a, image: b, localResources: {limits: {maxInFlight: -1}}}]\n",
            "spec.components[0].localResources.limits.maxInFlight",
            "from 0 to",
        ),
        ("  components: [{name: a, image: b, imagePullPolicy: always}]\n", "spec.components[0].imagePullPolicy", "did you mean `Always`?"),
        ("  components: [{name: a, image: b, imagePullPolicy: {}}]\n", "spec.components[0].imagePullPolicy", "one of `Always`"),
        (
            "  hostInterfaces: [{namespace: a, package: b, interfaces: [c], version: 0.2}]\n",
            "spec.hostInterfaces[0].version",
            "put it in quotes",
        ),
        ("  hostSelector: {a: yes}\n", "spec.hostSelector.a", "truth value true; put it in quotes"),
        ("  hostSelector: {a: }\n", "spec.hostSelector.a", "must be text, but is empty"),
        ("  hostSelector: [a]\n", "spec.hostSelector", "must be a map, but is a list"),
        ("  volumes: [{name: a, ephemeral: {size: 1}}]\n", "spec.volumes[0].ephemeral.size", "no field is known here"),
    ];
    for (spec, field, message) in cases {
        assert_problems(&workload(spec), &[(1, 6, field, message)]);
    }
}

#[test]
fn what_names_an_object_must_be_there_and_right() {
    let api = "runtime.wasmcloud.dev/v1alpha1";
    let cases = [
        ("42\n".to_owned(), "", "must be a map with `apiVersion`, `kind` and `metadata`, but is the number 42"),
        ("- a\n".to_owned(), "", "but is a list"),
        (format!("apiVersion: {api}\nmetadata: {{name: a}}\n"), "kind", "is missing"),
        ("kind: Workload\nmetadata: {name: a}\n".to_owned(), "apiVersion", "is missing"),
        ("apiVersion: 1\nkind: Workload\n".to_owned(), "apiVersion", "must be text like"),
        (format!("apiVersion: {api}\nkind: Workload\nspec: {{}}\n"), "metadata", "is missing"),
        (format!("apiVersion: {api}\nkind: Workload\nmetadata: {{}}\nspec: {{}}\n"), "metadata.name", "is missing"),
        (format!("apiVersion: {api}\nkind: Workload\nmetadata: {{generateName: a-}}\nspec: {{}}\n"), "metadata.name", "aren't generated"),
        (format!("apiVersion: {api}\nkind: Workload\nmetadata: {{name: 5}}\nspec: {{}}\n"), "metadata.name", "put it in quotes"),
        (format!("apiVersion: {api}\nkind: Workload\nmetadata: {{name: a}}\n"), "spec", "is missing"),
        (format!("apiVersion: {api}\nkind: Host\nmetadata: {{name: a}}\n"), "hostId", "is missing"),
        (format!("apiVersion: {api}\nkind: WorkloadDeploymnt\nmetadata: {{name: a}}\n"), "kind", "did you mean `WorkloadDeployment`?"),
        (
            "apiVersion: apps/v1\nkind: WorkloadDeployment\nmetadata: {name: a}\n".to_owned(),
            "apiVersion",
            "must be `runtime.wasmcloud.dev/v1alpha1` for a WorkloadDeployment",
        ),
        (
            "apiVersion: runtime.wasmcloud.dev/v1\nkind: Workload\nmetadata: {name: a}\n".to_owned(),
            "apiVersion",
            "must be `runtime.wasmcloud.dev/v1alpha1`",
        ),
        ("apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: ConfigMap\nmetadata: {name: a}\n".to_owned(), "apiVersion", "must be `v1`"),
        ("apiVersion: v1\nkind: List\nitems: {}\n".to_owned(), "items", "must be a list"),
        ("apiVersion: v1\nkind: List\n".to_owned(), "items", "is missing"),
        ("apiVersion: v1\nkind: List\nitems: [{kind: Workload}]\n".to_owned(), "items[0].apiVersion", "is missing"),
    ];
    for (text, field, message) in cases {
        let error = fail(&text);
        assert_eq!(error.problems.len(), 1, "{text}: {error}");
        assert_eq!(error.problems[0].field, field, "{error}");
        assert!(error.problems[0].message.contains(message), "{error}");
    }
}

#[test]
fn a_status_and_what_a_server_wrote_into_the_metadata_are_no_mistakes() {
    let text = workload("  components: [{name: a, image: b}]\nstatus:\n  nonsense: 1\n  conditions: 5\n")
        .replace("  name: a\n", "  name: a\n  creationTimestamp: null\n  managedFields: [{manager: kubectl}]\n  selfLink: /x\n  uid: u\n");
    let documents = parse(&text);
    let Document::Resource(resource) = &documents[0] else { unreachable!() };
    let Resource::Workload(workload) = &**resource else { unreachable!() };
    assert_eq!((workload.metadata.uid.as_str(), &workload.status), ("u", &Default::default()));
}

#[test]
fn an_absent_value_is_taken_as_kubernetes_takes_it() {
    let documents = parse(&workload("  components: [{name: a, image: b, localResources: }]\n  volumes: ~\n  service: null\n"));
    assert_eq!(kinds(&documents), ["Workload/a"]);
}

#[test]
fn keys_that_stand_twice_are_refused() {
    assert_problems(&workload("  hostSelector:\n    a: b\n    a: c\n"), &[(1, 8, "", "`a` stands twice")]);
    let json = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v", "k": "w"}}"#;
    assert_problems(json, &[(1, 1, "", "`k` stands twice")]);
}

#[test]
fn anchors_work_within_a_document() {
    let documents =
        parse(&workload("  hostSelector: &s {a: b}\n  components:\n    - name: a\n      image: b\n      localResources: {config: *s}\n"));
    let Document::Resource(resource) = &documents[0] else { unreachable!() };
    let Resource::Workload(workload) = &**resource else { unreachable!() };
    assert_eq!(workload.spec.components[0].local_resources.as_ref().unwrap().config["a"], "b");
}

#[test]
fn l31_size_depth_aliases_and_the_number_of_problems_are_bounded() {
    let error = fail(&"#".repeat(MAX_BYTES + 1)).to_string();
    assert!(error.contains("split it"), "{error}");
    for text in ["[".repeat(MAX_DEPTH + 1), "[".repeat(100_000), "{a: ".repeat(10_000), "- ".repeat(10_000)] {
        assert_eq!(fail(&text).problems.len(), 1);
    }
    let managed = "metadata:\n  name: a\n  managedFields:\n  - manager: kubectl\n    fieldsV1:\n";
    let fields: String = (0..20).map(|level| format!("{}f:a:\n", " ".repeat(level + 6))).collect();
    parse(&workload("  components: [{name: a, image: b}]\n").replace("metadata:\n  name: a\n", &format!("{managed}{fields}")));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let indented: String = (0..=MAX_DEPTH).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    for text in [nested(MAX_DEPTH + 1), nested(10_000), "- ".repeat(MAX_DEPTH + 1), indented] {
        let error = fail(&text);
        assert!(error.problems[0].message.contains("within each other more than 32 deep"), "{error}");
    }
    // A billion laughs.
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = [format!("*a{}", level - 1).as_str(); 10].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let error = fail(&text).to_string();
    assert!(error.contains("more than 500000 values") && error.contains("aliases"), "{error}");

    let many: String = (0..1000).map(|index| format!("  field{index}: 1\n")).collect();
    let error = fail(&workload(&many));
    assert_eq!((error.problems.len(), error.omitted), (MAX_PROBLEMS, 1000 - MAX_PROBLEMS));
    assert!(error.to_string().ends_with("test.yaml: 900 more problems"));
}

#[test]
fn a_strange_name_breaks_no_line_of_an_error() {
    let text = workload(&format!("  \"a\\nb{}\": 1\n", "x".repeat(500)));
    let error = fail(&text).to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.len() < 500, "{error}");
}

proptest! {
    #[test]
    fn any_text_is_a_manifest_or_an_error(text in any::<String>()) {
        let _ = manifest::parse(&text, "test");
    }

    #[test]
    fn text_that_looks_like_yaml_is_a_manifest_or_an_error(text in "([ \\-]{0,4}[a-c&*!|>'\"{}\\[\\]#%~?:,0-9]{0,6}(: |\n|---\n| |\t)){0,20}") {
        if let Err(error) = manifest::parse(&text, "test") {
            prop_assert!(!error.problems.is_empty());
            let lines = text.lines().count() as u64 + 1;
            prop_assert!(error.problems.iter().all(|problem| problem.line <= lines), "{}", error);
        }
    }

    #[test]
    fn a_manifest_with_a_hole_or_a_splinter_is_a_manifest_or_an_error(at in 0usize..1500, length in 0usize..40, splinter in "[ \\-a:{}\\[\\]\n\"'&*#0]{0,5}") {
        let mut text = include_str!("data/sample.yaml").to_owned();
        let (start, end) = (at.min(text.len()), (at + length).min(text.len()));
        text.replace_range(start..end, &splinter);
        let _ = manifest::parse(&text, "test");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_printed_resource_reads_back_as_itself(mut resources in proptest::collection::vec(arbitrary::resource(), 1..4)) {
        let mut seen = std::collections::HashSet::new();
        resources.retain(|resource| seen.insert((resource.kind(), resource.metadata().name.clone())));
        let yaml: Vec<String> = resources.iter().map(|resource| serde_saphyr::to_string(resource).unwrap()).collect();
        let json: Vec<String> = resources.iter().map(|resource| serde_json::to_string_pretty(resource).unwrap()).collect();
        let expected: Vec<Document> = resources.into_iter().map(|resource| Document::Resource(Box::new(resource))).collect();
        for texts in [yaml, json] {
            let text = texts.join("\n---\n");
            let documents = manifest::parse(&text, "test");
            prop_assert_eq!(documents.as_ref(), Ok(&expected), "{}", text);
        }
    }
}

#[test]
fn every_kind_can_be_written_in_a_manifest() {
    let served: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| {
            let text = format!("apiVersion: {}\nkind: {kind}\nmetadata: {{name: a}}\nspec: 1\n", kind.api_version());
            !matches!(manifest::parse(&text, "test").as_deref(), Ok([Document::Skipped { .. }]))
        })
        .collect();
    assert_eq!(served, Kind::ALL);
}
