//! `berth config` and `berth secret`, and that a Secret's value is nowhere but where it was asked for.

use berth_testkit::guests::path;

use crate::process::Home;

/// The values that must not show, and how else they could: base64, hex.
const VALUES: [&str; 3] = ["correct-horse-battery", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "636f72726563742d686f727365"];

fn shop() -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: shop}}
spec:
  replicas: 2
  template:
    spec:
      hostInterfaces:
      - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: shop.test}}}}
      - {{namespace: wasi, package: config, interfaces: [store], secretFrom: [{{name: db}}]}}
      components:
      - name: main
        image: file://{}
        localResources:
          environment: {{configFrom: [{{name: settings}}], secretFrom: [{{name: db}}]}}
",
        path("p2-config").display()
    )
}

/// L12, L14: also with all that can be logged, no output of a run has a Secret's value, nor has any file.
#[test]
fn l14_a_secrets_value_is_in_no_output_and_in_no_file() {
    let home = Home::new();
    let documents = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {COLOR: red}\n---\napiVersion: v1\nkind: Secret\n\
                     metadata: {name: db}\nstringData: {PASSWORD: correct-horse-battery}\n";
    let file = home.write("shop.yaml", shop() + documents);
    let mut command = home.command(&["up", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "-f", file.to_str().unwrap()]);
    let mut up = crate::process::Up::spawn(command.env("BERTH_LOG", "trace"));
    up.wait_for("curl ");
    assert!(up.get("shop.test", "/").text.contains(r#""PASSWORD":"correct-horse-battery""#), "a manifest's Secret reaches the guest");
    assert!(up.get("shop.test", "/config?key=PASSWORD").text.contains("correct-horse-battery"));

    let mut said = String::new();
    let mut note = |arguments: &[&str]| {
        let result = home.run(arguments);
        said.push_str(&format!("{arguments:?}: {result:?}\n"));
        result
    };
    for arguments in [
        &["get", "all", "-A", "-o", "yaml"][..],
        &["get", "all", "-A", "-o", "json"],
        &["get", "all", "-A", "-o", "wide"],
        &["get", "secret", "db", "-o", "json"],
        &["describe", "secret", "db"],
        &["describe", "wd", "shop"],
        &["events"],
        &["logs", "shop"],
        &["top", "-o", "json"],
        &["secret", "get", "db"],
        &["secret", "get", "db", "-o", "yaml"],
        &["secret", "list", "-A", "-o", "json"],
        &["secret", "set", "db", "OTHER=x"],
        &["secret", "set", "db", "PASSWORD=correct-horse-battery", "-o", "json"],
        &["apply", "-f", file.to_str().unwrap(), "--wait"],
    ] {
        assert_eq!(note(arguments).code, 0, "{arguments:?}");
    }
    home.write("bad.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {PASSWORD: correct-horse-battery}\n");
    home.write("bad.env", "correct-horse-battery\n");
    for arguments in [
        &["apply", "-f", "bad.yaml"][..],
        &["secret", "set", "db", "correct-horse-battery"],
        &["secret", "set", "db", "--from-env-file", "bad.env"],
        &["secret", "set", "db", "a b=correct-horse-battery"],
        &["secret", "set", "db", "--type", "kubernetes.io/dockerconfigjson", ".dockerconfigjson=correct-horse-battery"],
        &["secret", "get", "db", "--reveal", "NONE"],
    ] {
        assert_ne!(note(arguments).code, 0, "{arguments:?}");
    }
    let shown: Vec<&str> = said.lines().filter(|line| VALUES.iter().any(|value| line.contains(value))).collect();
    // Who gave it on the command line has it there; that is all.
    assert!(
        shown.iter().all(|line| line.split_once("]: ").is_some_and(|(_, said)| VALUES.iter().all(|v| !said.contains(v)))),
        "{shown:#?}"
    );

    let metrics = home.run(&["version", "-o", "json"]).ok();
    let admin = metrics.split("\"adminAddr\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
    let metrics = crate::process::get(admin, "admin", "/metrics").unwrap().text;
    home.run(&["stop"]).ok();
    up.ended();
    for (name, text) in [("metrics", metrics), ("log", up.said())] {
        assert!(text.len() > 1000, "{name}");
        assert!(VALUES.iter().all(|value| !text.contains(value)), "the {name} shows it");
    }
    // The manifest that it came from is the user's own.
    for given in ["shop.yaml", "bad.yaml", "bad.env"] {
        std::fs::remove_file(home.path(given)).unwrap();
    }
    let mut folders = vec![home.dir.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if let Ok(bytes) = std::fs::read(&entry) {
                files += 1;
                let has = |value: &str| bytes.windows(value.len()).any(|window| window == value.as_bytes());
                assert!(!VALUES.iter().any(|value| has(value)), "{} has it", entry.display());
            }
        }
    }
    assert!(files >= 3, "store, key and lock are among them");
}

#[test]
fn values_are_set_shown_listed_and_deleted() {
    let home = Home::new();
    let mut up = home.up(&[]);
    up.wait_for("nothing to run yet");
    let run = |arguments: &str| home.run(&arguments.split(' ').collect::<Vec<_>>());
    home.write("app.env", "# colors\nCOLOR=red\nSIZE=2\n");
    home.write("rates.json", "{}\n");
    assert_eq!(run("config set shop --from-env-file app.env --from-file rates.json MODE=a=b").ok(), "configmap/shop created\n");
    assert_eq!(run("config set shop COLOR=red").ok(), "configmap/shop unchanged\n");
    assert_eq!(run("config get shop COLOR").ok(), "red");
    assert_eq!(run("config get shop").ok(), "KEY          VALUE\nCOLOR        red\nMODE         a=b\nSIZE         2\nrates.json   {}\\n\n");
    let json: serde_json::Value = serde_json::from_str(&run("config get shop -o json").ok()).unwrap();
    assert_eq!(json, serde_json::json!({"COLOR": "red", "MODE": "a=b", "SIZE": "2", "rates.json": "{}\n"}));
    assert_eq!(run("config delete shop SIZE rates.json").ok(), "configmap/shop configured\n");
    assert_eq!(run("config get shop -o yaml").ok(), "COLOR: red\nMODE: a=b\n");
    assert!(run("config list").ok().starts_with("NAME   DATA   AGE\nshop   2      "));

    let piped = home.run_with_input(&["secret", "set", "db", "--from-file", "PASSWORD=-", "USER=me", "-n", "other"], "hunter2").ok();
    assert_eq!(piped, "secret/db created\n");
    assert_eq!(run("secret get db -n other").ok(), "KEY\nPASSWORD\nUSER\n");
    assert_eq!(run("secret get db -n other -o json").ok(), "{\n  \"PASSWORD\": null,\n  \"USER\": null\n}\n");
    assert_eq!(run("secret get db -n other --reveal PASSWORD").ok(), "hunter2");
    assert_eq!(run("secret get db -n other --reveal USER -o yaml").ok(), "USER: me\n");
    assert!(run("secret list -A").ok().contains("other       db     Opaque   2 "));
    assert_eq!(run("secret set db -n other USER=you --replace -o json").ok().matches("configured").count(), 1);
    assert!(run("secret get db -n other --reveal PASSWORD").failed(3).contains("has no key `PASSWORD`"));
    assert!(run("secret get db").failed(3).contains("no Secret db in namespace default"));
    assert!(run("secret delete db -n other NONE").failed(3).contains("NONE"));
    assert_eq!(run("secret delete db -n other NONE --ignore-not-found").ok(), "secret/db unchanged\n");
    assert_eq!(run("secret delete db -n other").ok(), "secret/db deleted\n");
    assert_eq!(run("secret delete db -n other --ignore-not-found").ok(), "");

    assert!(run("config set shop").failed(2).contains("no value is given"));
    assert!(run("config set shop COLOR").failed(2).contains("KEY=VALUE"));
    assert!(run("config set Shop A=b").failed(5).contains("metadata.name"));
    assert!(run("secret set db --from-file none").failed(1).contains("can't read none"));
    home.write("large", vec![b'x'; (1 << 20) + 1]);
    assert!(run("secret set db --from-file large").failed(5).contains("1048576 bytes"));
    home.write("bytes", [0xff]);
    assert!(run("config set shop --from-file bytes").failed(5).contains("put it into a Secret"));
}

#[test]
fn a_lost_key_is_told_with_its_file_and_the_way_out_which_works() {
    let home = Home::new();
    let mut up = home.up(&[]);
    up.wait_for("nothing to run yet");
    home.run(&["secret", "set", "db", "PASSWORD=x"]).ok();
    home.run(&["config", "set", "shop", "COLOR=red"]).ok();
    let err = home.run(&["secret", "discard"]).failed(6);
    assert!(err.contains("in use by another `berth up`"), "{err}");
    home.run(&["stop"]).ok();
    up.ended();

    let key = home.path(".local/share/berth/secrets.key");
    let kept = home.path("kept.key");
    std::fs::rename(&key, &kept).unwrap();
    let err = home.run(&["up", "--http-addr", "127.0.0.1:0"]).failed(1);
    assert!(
        err.contains("1 Secret in ") && err.contains("secrets.key, which isn't there") && err.contains("berth secret discard"),
        "{err}"
    );
    std::fs::rename(&kept, &key).unwrap();
    assert!(home.run(&["secret", "discard"]).ok().is_empty(), "nothing was lost");
    std::fs::remove_file(&key).unwrap();
    assert_eq!(home.run(&["secret", "discard"]).ok(), "secret/db in namespace default removed\n");
    let mut up = home.up(&[]);
    up.wait_for("nothing to run yet");
    assert_eq!(home.run(&["config", "get", "shop", "COLOR"]).ok(), "red");
    assert!(home.run(&["secret", "get", "db"]).failed(3).contains("no Secret"));
}
