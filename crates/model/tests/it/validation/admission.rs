//! What may be stored.

use berth_model::validate;

use super::{assert_invalid, check, resource, with_component};

const API: &str = "apiVersion: runtime.wasmcloud.dev/v1alpha1";

fn deployment(spec: &str) -> String {
    format!(
        "{API}\nkind: WorkloadDeployment\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{components: [{{name: a, image: 'file:a'}}]}}}}, {spec}}}\n"
    )
}

#[test]
fn names_labels_and_annotations_follow_kubernetes() {
    let at = |metadata: &str| validate::resource(&resource(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{{metadata}}}\n")));
    for good in ["name: a", "name: a.b-c.1", "name: a, labels: {a: '', app.kubernetes.io/name: A_b.c-1}, annotations: {a.dev/b: any text}"]
    {
        assert_eq!(at(good), Ok(()), "{good}");
    }
    let long = format!("name: {}", "a".repeat(254));
    for bad in ["name: A", "name: a_b", "name: -a", "name: a.", "name: a..b", &long] {
        assert_invalid(at(bad), &[("metadata.name", "is not a name")]);
    }
    assert_invalid(at("name: a, namespace: a.b"), &[("metadata.namespace", "is not a name")]);
    assert_invalid(
        at("name: a, labels: {'a b': c, d: 'e f', /x: z}, annotations: {'': z}"),
        &[
            ("metadata.labels./x", "is not a key"),
            ("metadata.labels.a b", "is not a key"),
            ("metadata.labels.d", "not a label value"),
            ("metadata.annotations.", "is not a key"),
        ],
    );
    let large = format!("name: a, annotations: {{a: {}}}", "x".repeat(256 << 10));
    assert_invalid(at(&large), &[("metadata.annotations", "at most 262144 bytes")]);
}

#[test]
fn a_namespace_must_be_decided_before_an_object_is_stored() {
    let mut resource = resource("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    resource.metadata_mut().namespace.clear();
    assert_invalid(validate::resource(&resource), &[("metadata.namespace", "is missing")]);
}

#[test]
fn l11_replicas_may_be_none_but_not_fewer() {
    assert_eq!(validate::resource(&resource(&deployment("replicas: 0"))), Ok(()));
    assert_invalid(validate::resource(&resource(&deployment("replicas: -1"))), &[("spec.replicas", "0 or more, but is -1")]);
    let set = format!("{API}\nkind: WorkloadReplicaSet\nmetadata: {{name: a}}\nspec: {{replicas: -1, template: {{spec: {{}}}}}}\n");
    assert_invalid(
        validate::resource(&resource(&set)),
        &[("spec.replicas", "0 or more"), ("spec.template.spec.components", "at least one component")],
    );
}

#[test]
fn replicas_have_a_bound_because_each_is_an_object_of_its_own() {
    assert_eq!(validate::resource(&resource(&deployment("replicas: 10000"))), Ok(()));
    let message = "must be at most 10000, but is 2000000000";
    assert_invalid(validate::resource(&resource(&deployment("replicas: 2000000000"))), &[("spec.replicas", message)]);
    let template = "template: {spec: {components: [{name: a, image: \"file:a\"}]}}";
    let set = format!("{API}\nkind: WorkloadReplicaSet\nmetadata: {{name: a}}\nspec: {{replicas: 2000000000, {template}}}\n");
    assert_invalid(validate::resource(&resource(&set)), &[("spec.replicas", message)]);
}

#[test]
fn references_need_not_resolve_yet_but_must_be_names() {
    let yaml = format!(
        "{API}\nkind: Workload\nmetadata: {{name: a}}\nspec:\n  components:\n    - name: a\n      image: artifact://later\n      imagePullSecret: {{name: later}}\n      localResources: {{environment: {{configFrom: [{{name: later}}], secretFrom: [{{name: later}}]}}}}\n"
    );
    assert_eq!(validate::resource(&resource(&yaml)), Ok(()));
    assert_invalid(
        validate::resource(&resource(&yaml.replace("configFrom: [{name: later}]", "configFrom: [{name: La_ter}]"))),
        &[("spec.components[0].localResources.environment.configFrom[0].name", "not a name")],
    );
}

#[test]
fn a_templates_faults_are_told_with_the_whole_path() {
    let yaml = deployment(
        "kubernetes: {service: {name: A}}, artifacts: [{name: 'a b', artifactFrom: {name: ''}}, {name: 'a b', artifactFrom: {name: x}}]",
    )
    .replace("image: 'file:a'", "image: 'file:a', poolSize: -1")
    .replace("template: {", "template: {labels: {'a b': c}, ");
    assert_invalid(
        validate::resource(&resource(&yaml)),
        &[
            ("spec.template.labels.a b", "is not a key"),
            ("spec.template.spec.components[0].poolSize", "0 or more"),
            ("spec.kubernetes.service.name", "not a name"),
            ("spec.artifacts[0].name", "letters, digits"),
            ("spec.artifacts[0].artifactFrom.name", "is missing"),
            ("spec.artifacts[1].name", "letters, digits"),
            ("spec.artifacts[1].name", "another artifact"),
        ],
    );
}

#[test]
fn an_artifact_leads_to_an_image() {
    let at = |spec: &str| validate::resource(&resource(&format!("{API}\nkind: Artifact\nmetadata: {{name: a}}\nspec: {{{spec}}}\n")));
    assert_eq!(at("image: 'ghcr.io/acme/a:1', imagePullSecret: {name: s}"), Ok(()));
    assert_invalid(at("image: 'artifact://b'"), &[("spec.image", "not to another artifact")]);
    assert_invalid(
        at("image: '', imagePullSecret: {name: ''}"),
        &[("spec.image", "is missing"), ("spec.imagePullSecret.name", "is missing")],
    );
}

#[test]
fn placement_names_a_host_by_its_id_and_labels() {
    let id = "hostId: 6f9619ff-8b86-4011-b42d-00c04fc964ff";
    assert!(check(&with_component(&format!("{id}\nhostSelector: {{hostgroup: default}}\nenvironment: prod\n"))).is_ok());
    assert!(check(&with_component("hostId: ''\nenvironment: ''\n")).is_ok(), "an empty text is none");
    assert_invalid(
        check(&with_component("hostId: mine\nhostSelector: {a: 'b c'}\nenvironment: a b\n")),
        &[("spec.hostSelector.a", "not a label value"), ("spec.hostId", "must be a UUID"), ("spec.environment", "without spaces")],
    );
}

#[test]
fn a_host_and_a_config_map_have_rules_of_their_own() {
    let host = format!("{API}\nkind: Host\nmetadata: {{name: a}}\nhostId: x\nhttpPort: 65536\n");
    assert_invalid(validate::resource(&resource(&host)), &[("hostId", "a UUID"), ("httpPort", "0 to 65535")]);
    let map =
        |data: &str| validate::resource(&resource(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{{data}}}\n")));
    assert_eq!(map("A_b.c-1: x"), Ok(()));
    assert_invalid(map("'a b': x"), &[("data.a b", "is not a key")]);
    assert_invalid(map(&format!("a: {}", "x".repeat(1 << 20))), &[("data", "at most 1048576 bytes")]);
}

#[test]
fn all_faults_are_in_one_line_of_the_error() {
    let error = check("components: [{name: '', image: ''}]").unwrap_err();
    assert_eq!(error.to_string(), "spec.components[0].name: is missing; spec.components[0].image: is missing");
}
