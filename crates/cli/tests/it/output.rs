//! What commands print.

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, Up, manifest};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(json).collect()
}

fn running(home: &Home) -> Up {
    let file = home.write("shop.yaml", manifest("shop", &path("p2"), "shop.test", "1"));
    let mut up = home.up(&["-f", file.to_str().unwrap()]);
    up.wait_for("curl ");
    assert_eq!(up.get("shop.test", "/log?lines=1").status, 200);
    up
}

/// L61: with `-o json`, standard output is JSON and nothing else, also with every log turned on.
#[test]
fn l61_with_o_json_standard_output_is_json_alone() {
    let home = Home::new();
    let _up = running(&home);
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json", "-vvv"]);
        let said = home.run(&all);
        assert_eq!(said.code, 0, "{said:#?}");
        said.out
    };
    let list = json(&run(&["get", "all", "-A"]));
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("List"), Some("v1")));
    assert!(list["items"].as_array().unwrap().len() >= 4, "{list}");
    assert_eq!(json(&run(&["get", "wd", "shop"]))["metadata"]["name"], "shop");
    assert_eq!(json(&run(&["apply", "-f", "shop.yaml", "--wait"]))["results"][0]["outcome"], "unchanged");
    assert_eq!(json(&run(&["top"]))["workloads"][0]["requests"], 1);
    assert!(json(&run(&["version"]))["running"]["pid"].is_u64());
    assert!(lines(&run(&["logs", "shop"])).iter().any(|line| line["stream"] == "stdout"));
    assert!(lines(&run(&["events"])).iter().any(|event| event["reason"] == "Started"));
    assert_eq!(lines(&run(&["stop"])).last().unwrap()["state"], "stopped");
}

#[test]
fn tables_have_the_columns_of_their_kind() {
    let home = Home::new();
    let _up = running(&home);
    home.run(&["apply", "-f", "shop.yaml", "--wait"]).ok();
    let header = |arguments: &[&str]| {
        let out = home.run(arguments).ok();
        let header = out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        (header, out)
    };
    let (host, text) = header(&["get", "hosts"]);
    assert_eq!(host, "NAME HOSTID HOSTGROUP ENVIRONMENT READY AGE");
    assert!(text.lines().nth(1).unwrap().starts_with("berth   ") && text.contains("True"), "{text}");
    let (deployment, text) = header(&["get", "wd"]);
    assert_eq!(deployment, "NAME READY STATUS AGE");
    assert!(text.contains("shop   1/1     Ready"), "{text}");
    assert_eq!(header(&["get", "ww", "-A"]).0, "NAMESPACE NAME HOSTID READY STATUS AGE");
    assert_eq!(header(&["get", "wrs"]).0, "NAME DESIRED CURRENT READY AGE");
    let (wide, text) = header(&["get", "wd", "-o", "wide"]);
    assert_eq!(wide, "NAME READY STATUS AGE REPLICASET IMAGES DOMAINS");
    assert!(text.contains("shop.test"), "{text}");
    assert_eq!(home.run(&["get", "wd", "-o", "name"]).ok(), "workloaddeployment.runtime.wasmcloud.dev/shop\n");
    assert_eq!(header(&["events"]).0, "LAST SEEN NAMESPACE TYPE REASON OBJECT MESSAGE");
    assert_eq!(header(&["top"]).0, "NAMESPACE NAME REQUESTS ERRORS IN-FLIGHT QUEUED MEMORY P50 P99");
}

#[test]
fn yaml_that_get_prints_can_be_applied_again() {
    let home = Home::new();
    let _up = running(&home);
    let yaml = home.run(&["get", "wd", "shop", "-o", "yaml"]).ok();
    assert!(yaml.starts_with("apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata:\n"), "{yaml}");
    let said = home.run_with_input(&["apply", "-f", "-"], &yaml).ok();
    assert_eq!(said, "workloaddeployment.runtime.wasmcloud.dev/shop unchanged\n");
    let list = home.run(&["get", "wd", "-o", "yaml"]).ok();
    assert_eq!(home.run_with_input(&["apply", "-f", "-"], &list).ok(), said);
}

#[test]
fn describe_tells_spec_conditions_children_and_events() {
    let home = Home::new();
    let _up = running(&home);
    let text = home.run(&["describe", "deployment/shop"]).ok();
    for part in [
        "Name:        shop",
        "Spec:",
        "host: shop.test",
        "Conditions:",
        "Ready",
        "Owns:",
        "workload.runtime.wasmcloud.dev/shop-",
        "Events:",
        "Started",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(home.run(&["describe", "host", "berth"]).ok().contains("hostId:"));
}

/// L44: log lines carry time, workload, component, request and stream, and can't move a terminal's cursor.
#[test]
fn l44_logs_say_who_wrote_each_line() {
    let home = Home::new();
    let up = running(&home);
    let out = home.run(&["logs", "shop"]).ok();
    let line = out.lines().find(|line| line.contains(" stdout: ")).unwrap_or_else(|| panic!("no line of stdout in:\n{out}"));
    let words: Vec<_> = line.split(' ').collect();
    assert!(words[0].ends_with('Z') && words[1].starts_with("shop-") && words[1].ends_with("/main"), "{line}");
    assert_eq!(words[3], "stdout:", "{line}");
    up.get("shop.test", "/log?lines=5");
    assert_eq!(home.run(&["logs", "--tail", "2", "shop"]).ok().lines().count(), 2);
}

#[test]
fn logs_take_a_name_in_every_form() {
    let home = Home::new();
    let _up = running(&home);
    let all = home.run(&["logs", "shop"]).ok();
    for arguments in [&["logs", "wd/shop"][..], &["logs", "deployment", "shop"], &["logs", "workloaddeployment.runtime.wasmcloud.dev/shop"]]
    {
        assert_eq!(home.run(arguments).ok(), all, "{arguments:?}");
    }
    let workload = home.run(&["get", "ww", "-o", "name"]).ok();
    assert_eq!(home.run(&["logs", workload.trim()]).ok(), all);
    // A name of one kind is none of another.
    let err = home.run(&["logs", "ww/shop"]).failed(3);
    assert!(err.contains("there is no Workload shop"), "{err}");
    let err = home.run(&["logs", "host/berth"]).failed(2);
    assert!(err.contains("a Host has no logs"), "{err}");
    let said = home.run(&["logs", "shop", "--tail", "5000"]);
    assert_eq!((said.code, said.out, said.err.as_str()), (0, all, "of each workload the last 1000 lines are kept\n"));
}

#[test]
fn describe_puts_further_labels_below_the_first() {
    let home = Home::new();
    let _up = home.up(&[]);
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {one: '1', two: '2'}}\n";
    home.run_with_input(&["apply", "-f", "-"], map).ok();
    let text = home.run(&["describe", "cm", "a"]).ok();
    assert!(text.contains("Labels:      one=1\n             two=2\n"), "{text}");
}

#[test]
fn watching_ends_well_when_the_berth_stops() {
    let home = Home::new();
    let mut up = running(&home);
    let watch = home.command(&["get", "wd", "--watch"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0), "{}", up.said());
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_empty() || text.starts_with("NAME"), "{text}");
}

#[test]
fn with_json_logs_up_says_the_same_as_json_on_standard_error() {
    let home = Home::new();
    let mut up = home.up(&["--log-format", "json", path("p2-hello").to_str().unwrap()]);
    let line = up.wait_for("ready in ");
    let value = json(line.strip_prefix("! ").unwrap_or_else(|| panic!("not on standard error: {line}")));
    assert_eq!(value["level"], "INFO");
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0));
    for line in up.said().lines() {
        json(line.strip_prefix("! ").unwrap_or_else(|| panic!("on standard output: {line}")));
    }
}
