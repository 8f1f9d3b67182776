//! What a component is configured with: its environment, and its values of `wasi:config/store`.

use std::collections::BTreeMap;

use berth_model::workload::Resources;

use crate::harness::{Bench, workload};

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l38_each_component_reads_its_own_values_and_no_others() {
    let bench = Bench::start();
    for (name, config, environment) in
        [("a", [("color", "red"), ("empty", "")].as_slice(), [("NAME", "a")]), ("b", [("color", "blue")].as_slice(), [("NAME", "b")])]
    {
        let mut workload = workload(name, "p2-config", &[&format!("{name}.test")]);
        workload.components[0].resources = Resources { config: values(config), environment: values(&environment), ..Resources::default() };
        bench.run(workload).await;
    }
    let get = async |domain: &str, path: &str| bench.get_from(domain, path).await.body.trim().replace(' ', "");
    for path in ["/config", "/config-draft"] {
        assert_eq!(get("a.test", path).await, r#"{"color":"red","empty":""}"#, "{path}");
        assert_eq!(get("b.test", path).await, r#"{"color":"blue"}"#, "{path}");
        assert_eq!(get("a.test", &format!("{path}?key=color")).await, r#"Some("red")"#, "{path}");
        assert_eq!(get("a.test", &format!("{path}?key=empty")).await, r#"Some("")"#, "{path}");
        assert_eq!(get("b.test", &format!("{path}?key=empty")).await, "None", "{path}");
    }
    assert_eq!(get("b.test", "/").await, r#"{"NAME":"b"}"#);
}
