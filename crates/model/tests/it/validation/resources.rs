//! Components, the service, and what they are given.

use std::time::Duration;

use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::resource::PullPolicy;
use berth_model::validate::DEFAULT_MAX_RESTARTS;
use berth_model::workload::{Mount, VolumeSource};

use super::{Objects, assert_invalid, check, check_with, with_component};

/// A component with `yaml` among its local resources.
fn local(yaml: &str) -> String {
    format!(
        "components: [{{name: a, image: 'file:a.wasm', localResources: {{{yaml}}}}}]\nvolumes: [{{name: v, ephemeral: {{}}}}, {{name: h, hostPath: {{path: /srv}}}}]\n"
    )
}

#[test]
fn a_workload_has_at_least_one_component_or_a_service() {
    assert_invalid(check("{}"), &[("spec.components", "at least one component or a service")]);
    assert!(check("service: {image: 'file:s.wasm'}").unwrap().components.is_empty());
    assert!(check(&with_component("")).unwrap().service.is_none());
}

#[test]
fn components_have_names_of_their_own_and_images() {
    assert_invalid(
        check(
            "components: [{name: a, image: 'file:a'}, {name: a, image: ''}, {name: '', image: './b.wasm'}, {name: 'a b', image: 'file:a'}]",
        ),
        &[
            ("spec.components[1].name", "another component is named `a`"),
            ("spec.components[1].image", "is missing"),
            ("spec.components[2].name", "is missing"),
            ("spec.components[2].image", "file://PATH"),
            ("spec.components[3].name", "without spaces"),
        ],
    );
}

#[test]
fn l11_negative_numbers_are_refused() {
    assert_invalid(
        check(
            "components: [{name: a, image: 'file:a', poolSize: -1, maxInvocations: -2, maxConcurrency: -3}]\nservice: {image: 'file:s', maxRestarts: -1}",
        ),
        &[
            ("spec.components[0].poolSize", "0 or more, but is -1"),
            ("spec.components[0].maxInvocations", "but is -2"),
            ("spec.components[0].maxConcurrency", "but is -3"),
            ("spec.service.maxRestarts", "but is -1"),
        ],
    );
    let workload = check("components: [{name: a, image: 'file:a', poolSize: 1, maxInvocations: 2, maxConcurrency: 3}]\nservice: {image: 'file:s', maxRestarts: 0}").unwrap();
    let reuse = workload.components[0].reuse;
    assert_eq!((reuse.pool_size, reuse.max_invocations, reuse.max_concurrency), (1, 2, 3));
    assert_eq!(workload.service.unwrap().max_restarts, 0);
    assert_eq!(check("service: {image: 'file:s'}").unwrap().service.unwrap().max_restarts, DEFAULT_MAX_RESTARTS);
}

#[test]
fn a_moving_tag_is_pulled_always_and_anything_else_when_it_is_not_there() {
    let policy = |rest: &str| check(&format!("components: [{{name: a, {rest}}}]")).unwrap().components[0].pull_policy;
    assert_eq!(policy("image: ghcr.io/a/b"), PullPolicy::Always);
    assert_eq!(policy("image: 'ghcr.io/a/b:latest'"), PullPolicy::Always);
    assert_eq!(policy("image: 'ghcr.io/a/b:1'"), PullPolicy::IfNotPresent);
    assert_eq!(policy(&format!("image: 'ghcr.io/a/b:latest@sha256:{}'", "0".repeat(64))), PullPolicy::IfNotPresent);
    assert_eq!(policy("image: 'file:a.wasm'"), PullPolicy::IfNotPresent);
    assert_eq!(policy("image: 'ghcr.io/a/b', imagePullPolicy: Never"), PullPolicy::Never);
}

#[test]
fn an_artifacts_name_leads_to_its_image() {
    let yaml = "components: [{name: a, image: 'artifact://hello'}]";
    let image = |image: &str| check_with(yaml, &Objects::default().artifact("hello", image));
    assert_eq!(image("file:a.wasm").unwrap().components[0].image, ImageRef::File("a.wasm".into()));
    assert_invalid(check(yaml), &[("spec.components[0].image", "artifact `hello` doesn't exist in namespace `default`")]);
    assert_invalid(image("artifact://other"), &[("spec.components[0].image", "leads to another artifact")]);
    assert_invalid(image("./x"), &[("spec.components[0].image", "of artifact `hello`")]);
}

#[test]
fn credentials_come_from_the_secret_and_show_in_no_debug_output() {
    let yaml = "components: [{name: a, image: 'ghcr.io/acme/a:1', imagePullSecret: {name: pull}}]";
    let objects = Objects::default().secret("pull", &[("username", "user"), ("password", "hunter2")]);
    let workload = check_with(yaml, &objects).unwrap();
    assert_eq!(workload.components[0].pull_credentials.as_ref().unwrap().password, "hunter2");
    assert!(!format!("{workload:?}").contains("hunter2"));
    assert_invalid(check(yaml), &[("spec.components[0].imagePullSecret.name", "Secret `pull` doesn't exist")]);
    let unusable = Objects::default().secret("pull", &[("token", "hunter2")]);
    let error = check_with(yaml, &unusable).unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
    assert_invalid(Err::<(), _>(error), &[("spec.components[0].imagePullSecret.name", "neither `.dockerconfigjson` nor")]);
    let file = "components: [{name: a, image: 'file:a', imagePullSecret: {name: pull}}]";
    assert_eq!(check(file).unwrap().components[0].pull_credentials, None, "a file needs none");
}

#[test]
fn environment_variables_are_merged_and_have_names_that_can_be_carried() {
    let objects = Objects::default().config_map("more", &[("B", "2")]).secret("secret", &[("C", "3")]);
    let yaml = local("environment: {config: {A: '1', B: '1'}, configFrom: [{name: more}], secretFrom: [{name: secret}]}, config: {k: v}");
    let workload = check_with(&yaml, &objects).unwrap();
    let resources = &workload.components[0].resources;
    assert_eq!(resources.environment.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1", "B=2", "C=3"]);
    assert_eq!(resources.config["k"], "v");
    assert_invalid(
        check(&local(r#"environment: {config: {"A=B": '1', "": '2', C: "a\0b"}, configFrom: [{name: Bad_Name}]}"#)),
        &[
            ("spec.components[0].localResources.environment.configFrom[0].name", "not a name"),
            ("spec.components[0].localResources.environment.configFrom[0].name", "doesn't exist"),
            ("spec.components[0].localResources.environment", "must have a character"),
            ("spec.components[0].localResources.environment", "`A=B` is not a variable's name"),
            ("spec.components[0].localResources.environment", "NUL"),
        ],
    );
}

#[test]
fn l39_grants_are_what_the_lists_say_and_nothing_else() {
    let workload =
        check(&local("allowedHosts: ['*.example.com'], allowedIpNameLookups: [a.com], allowedHostLoopbackPorts: ['53/udp']")).unwrap();
    let grants = &workload.components[0].resources.grants;
    assert!(grants.allows_http("https", "a.example.com", 443) && grants.allows_lookup("a.com"));
    assert!(!grants.allows_http("https", "a.com", 443));
    let bare = check(&local("")).unwrap();
    assert_eq!(bare.components[0].resources, Default::default());
    assert_invalid(
        check(&local("allowedHosts: [ok.com, '*foo', 'a.com/path'], allowedIpNameLookups: ['a.com:80'], allowedHostLoopbackPorts: ['0']")),
        &[
            ("spec.components[0].localResources.allowedHosts[1]", "`*foo` is not an allowed host"),
            ("spec.components[0].localResources.allowedHosts[2]", "paths"),
            ("spec.components[0].localResources.allowedIpNameLookups[0]", "port"),
            ("spec.components[0].localResources.allowedHostLoopbackPorts[0]", "1 to 65535"),
        ],
    );
}

#[test]
fn limits_are_amounts_within_their_bounds() {
    let limits = |yaml: &str| check(&local(&format!("limits: {{{yaml}}}")));
    let all =
        "memory: 64Mi, requestTimeout: 5s, maxInFlight: 10, maxQueued: 0, queueTimeout: 500ms, maxRequestBody: 1Mi, tableElements: 1000";
    let expected = Limits {
        memory_bytes: Some(64 << 20),
        request_timeout: Some(Duration::from_secs(5)),
        max_in_flight: Some(10),
        max_queued: Some(0),
        queue_timeout: Some(Duration::from_millis(500)),
        max_request_body_bytes: Some(1 << 20),
        table_elements: Some(1000),
    };
    assert_eq!(limits(all).unwrap().components[0].resources.limits, expected);
    assert_eq!(limits("").unwrap().components[0].resources.limits, Limits::default());
    for edge in [
        "memory: 64Ki, requestTimeout: 1ms, maxInFlight: 1, maxQueued: 0, queueTimeout: '0', maxRequestBody: '0', tableElements: 0",
        "memory: 4Gi, requestTimeout: 24h, maxInFlight: 65536, maxQueued: 65536, queueTimeout: 1h, maxRequestBody: 1Ti, tableElements: 10000000",
    ] {
        assert!(limits(edge).is_ok(), "{edge}");
    }
    let at = |field: &str| format!("spec.components[0].localResources.limits.{field}");
    for (yaml, field, message) in [
        ("memory: 63Ki", "memory", "must be 64Ki to 4Gi, but is 63Ki"),
        ("memory: 5Gi", "memory", "64Ki to 4Gi"),
        ("memory: lots", "memory", "amount of bytes"),
        ("requestTimeout: '0'", "requestTimeout", "1ms to 24h"),
        ("requestTimeout: 25h", "requestTimeout", "1ms to 24h"),
        ("requestTimeout: '30'", "requestTimeout", "duration"),
        ("maxInFlight: 0", "maxInFlight", "1 to 65536"),
        ("maxInFlight: 65537", "maxInFlight", "1 to 65536"),
        ("maxQueued: 65537", "maxQueued", "0 to 65536"),
        ("queueTimeout: 61m", "queueTimeout", "0s to 1h"),
        ("maxRequestBody: 2Ti", "maxRequestBody", "0 to 1Ti"),
        ("tableElements: 10000001", "tableElements", "0 to 10000000"),
    ] {
        assert_invalid(limits(yaml), &[(at(field).as_str(), message)]);
    }
}

#[test]
fn l41_a_volume_has_exactly_one_source_and_leads_nowhere_else() {
    let workload = check(&local("volumeMounts: [{name: v, mountPath: /data, readOnly: true}, {name: h, mountPath: /host}]")).unwrap();
    assert_eq!(workload.volumes[0].source, VolumeSource::Ephemeral);
    assert_eq!(workload.volumes[1].source, VolumeSource::HostPath("/srv".into()));
    assert_eq!(workload.components[0].resources.mounts[0], Mount { volume: "v".into(), path: "/data".into(), read_only: true });
    let volumes = "volumes: [{name: a}, {name: b, ephemeral: {}, hostPath: {path: /x}}, {name: c, hostPath: {path: x}}, \
                   {name: c, hostPath: {path: /a/../b}}, {name: '', ephemeral: {}}]";
    assert_invalid(
        check(&with_component(volumes)),
        &[
            ("spec.volumes[0]", "no source; write `ephemeral: {}`"),
            ("spec.volumes[1]", "keep one"),
            ("spec.volumes[2].hostPath.path", "absolute"),
            ("spec.volumes[3].name", "another volume is named `c`"),
            ("spec.volumes[3].hostPath.path", "`..`"),
            ("spec.volumes[4].name", "is missing"),
        ],
    );
    assert_invalid(
        check(&local(
            "volumeMounts: [{name: w, mountPath: /a}, {name: v, mountPath: a}, {name: v, mountPath: /a/}, {name: v, mountPath: /b/../c}]",
        )),
        &[
            ("spec.components[0].localResources.volumeMounts[0].name", "has no `w`; did you mean `v`?"),
            ("spec.components[0].localResources.volumeMounts[1].mountPath", "absolute"),
            ("spec.components[0].localResources.volumeMounts[2].mountPath", "mounted at `/a/` too"),
            ("spec.components[0].localResources.volumeMounts[3].mountPath", "`..`"),
        ],
    );
}

#[test]
fn the_services_resources_follow_the_same_rules() {
    assert_invalid(
        check("service: {image: 'x:', localResources: {allowedHosts: ['*x'], limits: {memory: '1'}}}"),
        &[
            ("spec.service.image", "tag"),
            ("spec.service.localResources.allowedHosts[0]", "wildcard"),
            ("spec.service.localResources.limits.memory", "64Ki to 4Gi"),
        ],
    );
}
