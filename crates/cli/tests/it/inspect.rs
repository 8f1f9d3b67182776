//! `berth inspect`: of files without a running berth, and of what is applied.

use berth_testkit::guests::path;
use berth_testkit::registry::Registry;

use crate::cache::push;
use crate::process::Home;
use crate::volumes::with_volumes;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

/// A front that calls others, with what `more` adds to the components.
fn linked(more: &str) -> String {
    let image = |guest: &str| path(guest).display().to_string();
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata: {{name: shop}}
spec:
  template:
    spec:
      hostInterfaces:
      - {{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: shop.test}}}}
      components:
      - {{name: back, image: \"file://{0}\"}}
      - name: front
        image: file://{1}
        localResources:
          environment: {{config: {{LEVEL: never-shown-level}}, secretFrom: [{{name: db}}]}}
          allowedHosts: [https://api.example.com]
          limits: {{memory: 64Mi}}
      - {{name: middle, image: \"file://{2}\"}}
{more}",
        image("link-back"),
        image("link-front"),
        image("link-middle"),
    )
}

const SECRET: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {PASSWORD: never-shown-password}\n";

#[test]
fn a_component_is_inspected_without_a_running_berth() {
    let home = Home::new();
    home.write("hello.wasm", std::fs::read(path("p2")).unwrap());
    let text = home.run(&["inspect", "hello.wasm"]).ok();
    for part in [
        "Name:        hello\n",
        "Domains:     all that no other workload claims\n",
        "Entry:       hello\n",
        "Kind:      WASI 0.2, answers HTTP",
        "wasi:http/incoming-handler@0.2",
        "the host, its own",
        "Denied:",
        "outgoing HTTP",
        "allow by allowedHosts: [\"https://HOST\"]",
        "memory 256Mi",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(!text.contains("Problems") && !text.contains('\x1b'), "{text}");
    assert!(home.run(&["--color", "always", "inspect", "hello.wasm"]).ok().contains("\x1b[1mComponent hello\x1b[0m"));
    assert!(!home.path(".local").exists(), "nothing is kept");
}

/// L61: also with every log turned on.
#[test]
fn l61_a_manifest_is_inspected_with_who_provides_what_to_whom() {
    let home = Home::new();
    home.write("shop.yaml", format!("{}{SECRET}", linked("")));
    let said = home.run(&["inspect", "shop.yaml", "-o", "json", "-vvv"]);
    let value = json(&said.ok());
    let shop = &value["workloads"][0];
    assert_eq!((shop["kind"].as_str(), shop["name"].as_str()), (Some("WorkloadDeployment"), Some("shop")));
    assert_eq!((&shop["http"]["entry"], &shop["problems"]), (&"front".into(), &serde_json::json!([])));
    let links = shop["links"].as_array().unwrap();
    assert!(links.len() >= 2 && links.iter().all(|link| link["way"] == "fused" && link["exporter"] != "front"), "{links:?}");
    assert!(shop["units"].as_array().unwrap().iter().any(|unit| unit["root"] == "front" && unit["with"].as_array().unwrap().len() == 2));
    let front = &shop["components"][1];
    assert_eq!(front["granted"]["environment"], serde_json::json!([{"name": "LEVEL"}, {"name": "PASSWORD", "from": "Secret db"}]));
    assert_eq!(front["granted"]["allowedHosts"], serde_json::json!(["https://api.example.com"]));
    assert_eq!(front["granted"]["limits"]["memoryBytes"], 64 << 20);
    let denied =
        |component: &serde_json::Value| component["denied"].as_array().unwrap().iter().any(|denied| denied["what"] == "outgoing HTTP");
    assert!(denied(&shop["components"][0]) && !denied(front), "each has grants of its own");

    let yaml = home.run(&["inspect", "shop.yaml", "-o", "yaml"]).ok();
    assert!(yaml.starts_with("workloads:\n"), "{yaml}");
    let text = home.run(&["inspect", "shop.yaml"]).ok();
    for part in ["Links:\n  IMPORTER", "Run as one:\n  front with back, middle\n", "LEVEL, PASSWORD (Secret db)", "component back"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!([text, yaml, value.to_string()].iter().all(|told| !told.contains("never-shown")));
}

#[test]
fn what_keeps_a_workload_from_running_is_told_with_its_place_and_fails() {
    let home = Home::new();
    let twice = format!("      - {{name: back-two, image: \"file://{}\"}}\n", path("link-back").display());
    home.write("twice.yaml", linked(&twice));
    let said = home.run(&["inspect", "twice.yaml"]);
    assert_eq!(said.code, 1, "{said:#?}");
    for part in [
        "AmbiguousImport: ",
        "component `front` imports",
        "`back` and `back-two`",
        "links: [{import:",
        "Not found:   Secret db",
        "not decided",
    ] {
        assert!(said.out.contains(part), "{part} is missing in:\n{}", said.out);
    }

    home.write("no.wasm", b"(component)");
    let said = home.run(&["inspect", "no.wasm", "-o", "json"]);
    let problem = &json(&said.out)["workloads"][0]["problems"][0];
    assert_eq!((said.code, problem["reason"].as_str()), (1, Some("InvalidComponent")), "{problem}");

    home.write("lonely.wasm", std::fs::read(path("p2-missing-import")).unwrap());
    let said = home.run(&["inspect", "./lonely.wasm"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("MissingImport: ") && said.out.contains("acme:widgets/store@1.2.0"), "{}", said.out);
    let nobody = said.out.lines().find(|line| line.trim_start().starts_with("acme:widgets/store")).unwrap();
    assert!(nobody.ends_with("nobody"), "{nobody}");
}

/// A component that imports or exports `acme:NAME/api` with a function `get` of this type.
enum Api<'a> {
    Imports(&'a str, &'a str),
    Exports(&'a str, &'a str),
}

/// A workload of such components.
fn workload_of(home: &Home, components: &[(&str, &[Api<'_>])]) {
    let mut manifest =
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {name: kv}\nspec:\n  components:\n".to_owned();
    for (name, apis) in components {
        let mut text = String::from("(component\n");
        for api in *apis {
            text += &match api {
                Api::Imports(api, of) => format!("(import \"acme:{api}/api\" (instance (export \"get\" (func {of}))))\n"),
                Api::Exports(api, of) => format!(
                    "(core module $m (func (export \"get\") (param i32) (result i32) (i32.const 7)))
                     (core instance $i (instantiate $m))
                     (func $get {of} (canon lift (core func $i \"get\")))
                     (instance $api (export \"get\" (func $get)))
                     (export \"acme:{api}/api\" (instance $api))\n"
                ),
            };
        }
        home.write(&format!("{name}.wasm"), wat::parse_str(text + ")").unwrap());
        manifest += &format!("  - {{name: {name}, image: \"file://./{name}.wasm\"}}\n");
    }
    home.write("kv.yaml", manifest);
}

#[test]
fn components_that_import_from_each_other_in_a_circle_are_told_in_its_order() {
    use Api::{Exports, Imports};
    let home = Home::new();
    let get = "(param \"key\" u32) (result u32)";
    workload_of(
        &home,
        &[
            ("front", &[Imports("a", get)]),
            ("a", &[Imports("b", get), Exports("a", get)]),
            ("b", &[Imports("c", get), Exports("b", get)]),
            ("c", &[Imports("a", get), Exports("c", get)]),
        ],
    );
    let said = home.run(&["inspect", "kv.yaml"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("LinkCycle: components import from each other in a circle: `a` -> `b` -> `c` -> `a`"), "{}", said.out);
    let import = said.out.lines().find(|line| line.trim_start().starts_with("acme:b/api")).unwrap();
    assert!(import.ends_with("not decided") && !said.out.contains("Links:"), "{}", said.out);
}

#[test]
fn two_components_of_different_types_are_told_with_the_place_and_both() {
    use Api::{Exports, Imports};
    let home = Home::new();
    let of = |key: &str| format!("(param \"key\" {key}) (result u32)");
    workload_of(&home, &[("front", &[Imports("kv", &of("u32"))]), ("back", &[Exports("kv", &of("s32"))])]);
    let said = home.run(&["inspect", "kv.yaml", "-o", "json"]);
    let inspected = json(&said.out);
    let problem = &inspected["workloads"][0]["problems"][0];
    assert_eq!((said.code, problem["reason"].as_str()), (1, Some("ImportMismatch")), "{inspected}");
    let message = problem["message"].as_str().unwrap();
    for part in
        ["`front` imports `acme:kv/api` from `back`", "function `get`, parameter `key`", "`front` expects `u32`", "`back` has `s32`"]
    {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    // Built alike they fit.
    workload_of(&home, &[("front", &[Imports("kv", &of("u32"))]), ("back", &[Exports("kv", &of("u32"))])]);
    assert!(home.run(&["inspect", "kv.yaml"]).ok().contains("front with back"));
}

#[test]
fn l35_an_image_of_a_registry_is_pulled_to_be_inspected_and_needs_no_registry_the_next_time() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = Home::new();
    let registry = runtime.block_on(Registry::plain());
    let image = format!("{}/shop/hello:1", registry.name());
    runtime.block_on(push(&image, "p2-hello"));
    let inspect = |image: &str| {
        let output = home.command(&["inspect", image]).env("BERTH_INSECURE_REGISTRY", registry.name()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = inspect(&image);
    for part in ["Name:        hello\n", &format!("Image:     {image}\n"), "Digest:    sha256:", "WASI 0.2, answers HTTP"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(code, Some(0), "{text}");
    let (code, none) = inspect(&image.replace("hello", "none"));
    assert!(code == Some(1) && none.contains("ImagePullFailed: component none: ") && !none.contains("Digest:"), "{none}");
    drop(registry);
    assert_eq!(home.run(&["inspect", &image]).ok(), text);
}

#[test]
fn l41_a_volume_that_the_host_would_refuse_is_told_by_the_settings_that_a_start_would_have() {
    let home = Home::new();
    let data = home.path("shared/data");
    std::fs::create_dir_all(&data).unwrap();
    home.write("files.yaml", with_volumes(&data));
    let granted = format!("/tmp (scratch), /data (data, {} of the host, read-only)", data.display());
    let said = home.run(&["inspect", "files.yaml"]);
    let refused = format!("VolumeNotAllowed: volume data: hostPath {} is not allowed", data.display());
    for part in [refused.as_str(), "Denied:", "volume data", &format!("allow by --volume-root {} of the host", data.display())] {
        assert!(said.out.contains(part), "{part} is missing in:\n{}", said.out);
    }
    assert!(said.code == 1 && said.out.contains("/tmp (scratch)") && !said.out.contains("/data (data"), "{said:#?}");
    assert!(said.err.contains("BERTH_VOLUME_ROOT") && said.err.contains("`berth inspect NAME`"), "{}", said.err);

    let with_root = |name: &str| home.command(&["inspect", "files.yaml"]).env(name, home.path("shared")).output().unwrap();
    let output = with_root("BERTH_VOLUME_ROOT");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(&granted) && output.stderr.is_empty(), "{text}");
    let file = home.write(".config/berth/config.toml", format!("volume-root = [{:?}]\n", home.path("shared")));
    assert_eq!(home.run(&["inspect", "files.yaml"]).ok(), text);
    std::fs::remove_dir(&data).unwrap();
    let said = home.run(&["inspect", "files.yaml"]);
    assert!(said.code == 1 && said.out.contains("VolumeFailed: volume data: ") && said.err.is_empty(), "{said:#?}");
    std::fs::create_dir(&data).unwrap();
    std::fs::remove_file(file).unwrap();
    let output = home.command(&["inspect", "files.yaml"]).env("BERTH_VOLUME_BUDGET", "0").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("VolumeLimit: volume scratch: "));

    // A berth that runs knows by itself.
    let mut up = home.up(&["--volume-root", "shared", "-f", "files.yaml"]);
    up.wait_for("ready in");
    assert!(home.run(&["inspect", "wd/files"]).ok().contains(&granted));
    drop(up);
    let _up = home.up(&[]);
    let said = home.run(&["inspect", "wd/files"]);
    assert!(said.code == 1 && said.out.contains(&refused) && said.err.is_empty(), "{said:#?}");
}

#[test]
fn settings_of_the_environment_count_as_for_a_start() {
    let home = Home::new();
    let hello = path("p3-hello");
    home.run(&["inspect", hello.to_str().unwrap()]).ok();
    let output = home.command(&["inspect", hello.to_str().unwrap()]).env("BERTH_NO_WASI_P3", "true").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("WasiP3Disabled"), "{text}");
}

#[test]
fn an_object_of_the_running_berth_is_inspected_by_its_name() {
    let home = Home::new();
    home.write("shop.yaml", format!("{}{SECRET}", linked("")));
    let err = home.run(&["inspect", "shop"]).failed(4);
    assert!(err.contains("there is no file `shop` here, and no berth is running"), "{err}");
    let mut up = home.up(&["-f", "shop.yaml"]);
    up.wait_for("curl ");
    let text = home.run(&["inspect", "shop"]).ok();
    for part in ["Kind:        WorkloadDeployment\n", "Entry:       front\n", "front with back, middle", "PASSWORD (Secret db)"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let workload = home.run(&["get", "ww", "-o", "name"]).ok();
    let of_workload = home.run(&["inspect", workload.trim(), "-o", "json"]).ok();
    assert_eq!(json(&of_workload)["workloads"][0]["http"]["entry"], "front");
    assert!(!text.contains("never-shown") && !of_workload.contains("never-shown"));

    // A path goes before a name, unless the kind is said.
    home.write("shop/hello.wasm", std::fs::read(path("p2")).unwrap());
    assert!(home.run(&["inspect", "shop"]).ok().contains("Name:        hello\n"));
    assert_eq!(home.run(&["inspect", "wd/shop"]).ok(), text);
    assert!(home.run(&["inspect", "ww", "shop"]).failed(3).contains("there is no Workload shop"));
    assert!(home.run(&["inspect", "nothing"]).failed(3).contains("nor a deployment, replica set or workload nothing"));
    assert!(home.run(&["inspect", "secret/db"]).failed(2).contains("no workload to inspect"));

    home.run(&["secret", "delete", "db"]).ok();
    let said = home.run(&["inspect", "wd/shop"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("ReferenceNotFound: Secret db doesn't exist"), "{}", said.out);
}
