//! What is valid and deserves a word.

use berth_model::validate;

use super::resource;

const API: &str = "apiVersion: runtime.wasmcloud.dev/v1alpha1";

fn remarks(yaml: &str) -> Vec<(String, String)> {
    let mut resource = resource(yaml);
    resource.metadata_mut().namespace = "default".into();
    validate::resource(&resource).unwrap();
    validate::remarks(&resource).into_iter().map(|remark| (remark.field, remark.message)).collect()
}

#[test]
fn what_has_no_effect_yet_is_valid_and_remarked_on() {
    let found = remarks(&format!(
        "{API}\nkind: WorkloadDeployment\nmetadata: {{name: a}}\nspec:\n  template:\n    spec:\n      hostInterfaces:\n        \
         - {{namespace: wasi, package: http, interfaces: [incoming-handler]}}\n        \
         - {{namespace: wasi, package: keyvalue, interfaces: [store]}}\n        \
         - {{namespace: wasi, package: clocks, interfaces: [wall-clock]}}\n        \
         - {{namespace: acme, package: http, interfaces: [handler]}}\n        \
         - {{namespace: wasi, package: config, interfaces: [store], config: {{a: b}}}}\n        \
         - {{namespace: wasi, package: config, interfaces: [store], name: other}}\n      components:\n        \
         - {{name: a, image: 'file:a', localResources: {{config: {{a: b}}, environment: {{config: {{c: d}}}}}}}}\n        \
         - {{name: b, image: hello.wasm}}\n"
    ));
    let expected = [
        ("spec.template.spec.components[1].image", "file://hello.wasm"),
        ("spec.template.spec.hostInterfaces[1]", "imports wasi:keyvalue isn't started"),
        ("spec.template.spec.hostInterfaces[3]", "imports acme:http isn't started"),
        ("spec.template.spec.hostInterfaces[5]", "components read the values of an entry"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((field, message), (at, words)) in found.iter().zip(expected) {
        assert!(field == at && message.contains(words), "{field}: {message}");
    }
}

#[test]
fn fusing_is_for_handlers_alone_and_said_to_be_so() {
    let found = remarks(&format!(
        "{API}\nkind: Workload\nmetadata: {{name: a}}\nspec:\n  components:\n    \
         - {{name: a, image: 'file:a', links: [{{import: 'wasi:http/handler@0.3.0', fuse: true}}, {{import: 'acme:kv/store', fuse: true}}]}}\n  \
         service: {{image: 'file:s', links: [{{import: get, fuse: true}}, {{import: 'acme:kv/store', fuse: false}}]}}\n"
    ));
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["spec.components[0].links[1].fuse", "spec.service.links[0].fuse"]);
    assert!(found[0].1.contains("no effect on `acme:kv/store`"), "{}", found[0].1);
}

#[test]
fn a_grant_of_a_loopback_address_leads_nowhere_and_the_way_to_the_hosts_is_told() {
    let hosts = "['127.0.0.1:5432', 'http://localhost', 'db.localhost', '[::1]:80', '[::ffff:127.0.0.1]', 10.0.0.1, notlocalhost, '*']";
    let found = remarks(&format!(
        "{API}\nkind: Workload\nmetadata: {{name: a}}\nspec:\n  components:\n    \
         - {{name: a, image: 'file:a', localResources: {{allowedHosts: {hosts}}}}}\n  \
         service: {{image: 'file:s', localResources: {{allowedHosts: ['127.0.0.1']}}}}\n"
    ));
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    let mut expected: Vec<String> = (0..5).map(|index| format!("spec.components[0].localResources.allowedHosts[{index}]")).collect();
    expected.push("spec.service.localResources.allowedHosts[0]".into());
    assert_eq!(fields, expected);
    assert!(found.iter().all(|(_, message)| message.contains("allowedHostLoopbackPorts") && message.contains("host.wasmcloud.internal")));
}

#[test]
fn a_service_and_an_artifact_are_looked_at_too() {
    let service = "spec: {service: {image: a.wasm, localResources: {config: {a: b}}}}";
    let fields: Vec<_> = remarks(&format!("{API}\nkind: Workload\nmetadata: {{name: a}}\n{service}\n")).into_iter().map(|r| r.0).collect();
    assert_eq!(fields, ["spec.service.image"]);
    let artifact = remarks(&format!("{API}\nkind: Artifact\nmetadata: {{name: a}}\nspec: {{image: a.wasm}}\n"));
    assert_eq!(artifact[0].0, "spec.image");
    assert_eq!(remarks("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"), []);
}
