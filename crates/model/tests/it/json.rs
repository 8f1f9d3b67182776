//! Resources as JSON.

use berth_model::resource::{Kind, Resource};
use proptest::prelude::*;
use serde_json::json;

use crate::arbitrary;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_resource_reads_back_from_its_json(resource in prop_oneof![arbitrary::resource().boxed(), arbitrary::workload_with_status().boxed()]) {
        let json = serde_json::to_string(&resource).unwrap();
        prop_assert_eq!(serde_json::from_str::<Resource>(&json).unwrap(), resource);
    }
}

#[test]
fn a_host_has_its_fields_beside_the_metadata() {
    let json = json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Host", "metadata": {"name": "a", "namespace": "berth"},
        "hostId": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "hostname": "10.0.0.1", "httpPort": 80, "environment": "prod",
        "status": {"version": "1"}
    });
    let resource: Resource = serde_json::from_value(json.clone()).unwrap();
    let Resource::Host(host) = &resource else { panic!("{resource:?}") };
    assert_eq!((host.spec.http_port, host.spec.environment.as_str(), host.status.version.as_str()), (80, "prod", "1"));
    let written = serde_json::to_value(&resource).unwrap();
    for field in ["hostId", "hostname", "httpPort", "environment"] {
        assert_eq!(written[field], json[field], "{field}");
    }
    assert_eq!(written.get("spec"), None);
}

#[test]
fn a_config_map_belongs_to_the_core_api() {
    let json = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": {"k": "v"}});
    let resource: Resource = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(resource.kind(), Kind::ConfigMap);
    assert_eq!(serde_json::to_value(&resource).unwrap(), json);
}

#[test]
fn what_lacks_a_part_or_has_an_unknown_kind_is_refused_by_name() {
    let api = "runtime.wasmcloud.dev/v1alpha1";
    let cases = [
        (json!({"kind": "Workload"}), "`apiVersion` is missing"),
        (json!({"apiVersion": api}), "`kind` is missing"),
        (json!({"apiVersion": api, "kind": "Pod"}), "no kind `Pod`"),
        (json!({"apiVersion": "v1", "kind": "Workload"}), "no kind `Workload` of `v1`"),
        (json!({"apiVersion": api, "kind": "Workload"}), "`metadata` is missing"),
        (json!({"apiVersion": api, "kind": "Workload", "metadata": {}}), "`spec` is missing"),
        (json!({"apiVersion": api, "kind": "Workload", "metadata": {}, "spec": {"component": []}}), "spec: unknown field `component`"),
    ];
    for (json, reason) in cases {
        let error = serde_json::from_value::<Resource>(json).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
