//! Secrets: what may be stored, what layers make of them, and that nothing said of them shows a value.

use berth_model::manifest;
use berth_model::resource::{Kind, Resource, SecretValue};
use berth_model::validate;

use super::{Objects, assert_invalid, check_with, resource, with_component};

fn secret(yaml: &str) -> Resource {
    resource(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{yaml}"))
}

#[test]
fn a_secret_is_written_in_base64_or_as_text_which_goes_before_it() {
    let Resource::Secret(read) = secret("data: {a: aHVudGVyMg==, b: /w==, c: eA==}\nstringData: {c: plain}\nimmutable: true\n") else {
        panic!()
    };
    assert_eq!(read.kind, "Opaque");
    assert_eq!(read.data["a"], "hunter2".into());
    assert_eq!(read.data["b"], SecretValue::Known(vec![0xff]));
    assert_eq!(read.data["c"], "plain".into());
    assert_eq!(validate::resource(&Resource::Secret(read)), Ok(()));
}

#[test]
fn faults_of_a_secret_are_told_without_a_value() {
    let cases = [
        ("data: {a: hunter2!}", "data.a", "must be base64"),
        ("data: {a: 5432}", "data.a", "put quotes around it"),
        ("data: {a: [hunter2]}", "data.a", "must be text"),
        ("data: {a: null}", "data.a", "berth secret get --reveal"),
        ("data: hunter2", "data", "must be a map"),
        ("data: 5432", "data", "must be a map"),
        ("stringData: {a: 5432}", "stringData.a", "put quotes around it"),
        ("type: 5432", "type", "must be text like `Opaque`"),
        ("stringdata: {a: hunter2}", "stringdata", "did you mean `stringData`"),
    ];
    for (yaml, field, message) in cases {
        let error = manifest::parse(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n{yaml}\n"), "test").unwrap_err();
        let text = error.to_string();
        assert!(error.problems[0].field == field && text.contains(message), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("5432"), "{text}");
    }
}

#[test]
fn a_secret_has_the_bounds_of_kubernetes() {
    let check = |yaml: &str| validate::resource(&secret(yaml));
    assert_eq!(check(""), Ok(()));
    assert_invalid(check("stringData: {'a b': x}\n"), &[("data.a b", "is not a key")]);
    assert_invalid(check(&format!("stringData: {{a: {}}}\n", "x".repeat(1 << 20))), &[("data", "at most 1048576 bytes")]);
    let docker = "type: kubernetes.io/dockerconfigjson\n";
    assert_invalid(check(docker), &[("data", "has no `.dockerconfigjson`")]);
    assert_invalid(check(&format!("{docker}stringData: {{.dockerconfigjson: hunter2}}\n")), &[("data", "not a Docker configuration")]);
    assert_eq!(check(&format!("{docker}stringData: {{.dockerconfigjson: '{{}}'}}\n")), Ok(()));
    let Resource::Secret(kept) = secret("stringData: {a: x}\n") else { panic!() };
    assert_invalid(validate::resource(&Resource::Secret(kept.withheld())), &[("data.a", "has no value")]);
    assert!(Kind::Secret.is_data() && Kind::from_word("secrets") == Some(Kind::Secret));
}

#[test]
fn secrets_go_before_config_maps_and_those_before_the_manifest() {
    let objects = Objects::default()
        .config_map("settings", &[("A", "map"), ("B", "map")])
        .secret("first", &[("A", "hunter2"), ("C", "one")])
        .secret("second", &[("C", "two")]);
    let layer = "{config: {A: own, B: own, D: own}, configFrom: [{name: settings}], secretFrom: [{name: first}, {name: second}]}";
    let yaml = format!("components: [{{name: a, image: 'file:a', localResources: {{environment: {layer}}}}}]");
    let workload = check_with(&yaml, &objects).unwrap();
    let found: Vec<_> = workload.components[0].resources.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(found, ["A=hunter2", "B=map", "C=two", "D=own"]);
    let text = format!("{workload:?}");
    assert!(!text.contains("hunter2") && text.contains("\"A\""), "{text}");
}

#[test]
fn a_value_that_no_layer_can_carry_is_named_by_its_key() {
    let mut objects = Objects::default().secret("db", &[("URL", "hunter2\0")]);
    let yaml = "components: [{name: a, image: 'file:a', localResources: {environment: {secretFrom: [{name: db}]}}}]";
    let error = check_with(yaml, &objects).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_invalid(Err::<(), _>(error), &[("spec.components[0].localResources.environment", "value of `URL` has a NUL")]);
    objects.secrets.get_mut("db").unwrap().insert("URL".into(), SecretValue::Known(vec![0xff]));
    assert_invalid(
        check_with(yaml, &objects),
        &[("spec.components[0].localResources.environment.secretFrom[0].name", "key `URL` of Secret `db` isn't UTF-8")],
    );
}

#[test]
fn what_an_http_entry_takes_from_a_secret_is_not_shown_when_it_is_wrong() {
    let objects = Objects::default().secret("db", &[("host", "hunter2 x"), ("host-aliases", "a b"), ("component", "hunter2")]);
    let yaml = with_component("hostInterfaces: [{namespace: wasi, package: http, interfaces: [handler], secretFrom: [{name: db}]}]");
    let error = check_with(&yaml, &objects).unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
    assert!(!error.to_string().contains("hunter2") && error.to_string().contains("may come from a Secret"), "{error}");
}

#[test]
fn values_of_the_config_entry_are_every_components_and_its_own_go_before_them() {
    let objects = Objects::default().config_map("settings", &[("a", "map"), ("b", "map")]).secret("db", &[("b", "hunter2")]);
    let entry = "{namespace: wasi, package: config, interfaces: [store], config: {c: entry}, configFrom: [{name: settings}], secretFrom: [{name: db}]}";
    let other = "{namespace: wasi, package: config, interfaces: [store], name: other, config: {z: other}}";
    let yaml = format!(
        "components: [{{name: a, image: 'file:a', localResources: {{config: {{a: own}}}}}}, {{name: b, image: 'file:b'}}]\n\
         service: {{image: 'file:s', localResources: {{config: {{c: own}}}}}}\nhostInterfaces: [{entry}, {other}]\n"
    );
    let workload = check_with(&yaml, &objects).unwrap();
    let text = |resources: &berth_model::workload::Resources| {
        resources.config.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(text(&workload.components[0].resources), "a=own b=hunter2 c=entry");
    assert_eq!(text(&workload.components[1].resources), "a=map b=hunter2 c=entry");
    assert_eq!(text(&workload.service.as_ref().unwrap().resources), "a=map b=hunter2 c=own");
    assert!(!format!("{workload:?}").contains("hunter2"));
}

#[test]
fn the_pull_secret_of_an_artifact_is_used_where_the_component_names_none() {
    let login = |user: &'static str| [("username", user), ("password", "x")];
    let mut objects =
        Objects::default().artifact("hello", "ghcr.io/acme/hello:1").secret("pull", &login("artifact")).secret("own", &login("own"));
    objects.artifact_secrets.insert("hello".into(), "pull".into());
    let user = |yaml: &str| {
        let workload = check_with(yaml, &objects).unwrap();
        workload.components[0].pull_credentials.as_ref().unwrap().username.clone()
    };
    assert_eq!(user("components: [{name: a, image: 'artifact://hello'}]"), "artifact");
    assert_eq!(user("components: [{name: a, image: 'artifact://hello', imagePullSecret: {name: own}}]"), "own");
}
