use super::*;

fn take(input: Input) -> Result<Intake, IntakeErrors> {
    read(&[input], &mut std::io::empty())
}

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    \
         spec:\n      components:\n      - name: main\n        image: {image}\n"
    )
}

fn image_of(resource: &Resource) -> String {
    match resource {
        Resource::Deployment(d) => d.spec.template.spec.components[0].image.clone(),
        other => panic!("not a deployment: {other:?}"),
    }
}

#[test]
fn images_are_relative_to_their_manifest() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("app");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("manifest.yaml"), manifest("hello", "file://./hello.wasm")).unwrap();
    let expected = format!("file://{}", dir.join("hello.wasm").display());
    for input in [Input::Path(dir.clone()), Input::Manifests(dir.clone()), Input::Manifests(dir.join("manifest.yaml"))] {
        assert_eq!(image_of(&take(input).unwrap().resources[0]), expected);
    }
}

#[test]
fn standard_input_is_a_manifest_with_images_relative_to_the_working_folder() {
    let text = manifest("hello", "file://hello.wasm");
    let intake = read(&[Input::Stdin], &mut text.as_bytes()).unwrap();
    let expected = std::env::current_dir().unwrap().join("hello.wasm");
    assert_eq!(image_of(&intake.resources[0]), format!("file://{}", expected.display()));
}

#[test]
fn a_bare_component_becomes_a_deployment_that_serves_every_host() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("Hello World_2.wasm");
    std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
    let intake = take(Input::Path(path)).unwrap();
    let Resource::Deployment(deployment) = &intake.resources[0] else { panic!("{intake:?}") };
    assert_eq!(deployment.metadata.name, "hello-world-2");
    assert_eq!(deployment.metadata.namespace, "default");
    let entry = &deployment.spec.template.spec.host_interfaces[0];
    assert_eq!((entry.namespace.as_str(), entry.package.as_str(), entry.config.len()), ("wasi", "http", 0));
}

#[test]
fn a_component_that_is_built_again_is_a_new_version() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("hello.wasm");
    std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
    let first = take(Input::Path(path.clone())).unwrap();
    assert_eq!(first, take(Input::Path(path.clone())).unwrap());
    std::fs::write(&path, b"\0asm\x0d\0\x01\0 ").unwrap();
    assert_ne!(first, take(Input::Path(path)).unwrap());
}

#[test]
fn every_fault_of_every_file_is_told() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("a.yaml"), "kind: [").unwrap();
    std::fs::write(tmp.path().join("b.yaml"), manifest("hello", "x").replace("template", "tmplate")).unwrap();
    let inputs = [Input::Path(tmp.path().into()), Input::Path(tmp.path().join("none.wasm"))];
    let error = read(&inputs, &mut std::io::empty()).unwrap_err().to_string();
    for part in ["a.yaml", "b.yaml", "did you mean `template`?", "none.wasm", "No such file"] {
        assert!(error.contains(part), "{part} is missing in:\n{error}");
    }
}

#[test]
fn a_folder_without_anything_to_run_says_what_is_expected() {
    let tmp = tempfile::tempdir().unwrap();
    let text = |path: &Path| take(Input::Path(path.into())).unwrap_err().to_string();
    assert!(text(tmp.path()).contains("manifest.yaml"));
    std::fs::write(tmp.path().join("Cargo.toml"), "").unwrap();
    assert!(text(tmp.path()).contains("cargo build"));
    for name in ["a.wasm", "b.wasm"] {
        std::fs::write(tmp.path().join(name), "").unwrap();
    }
    assert!(text(tmp.path()).contains("2 components (a.wasm, b.wasm)"));
}

#[test]
fn a_component_given_as_a_manifest_is_told_apart() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("hello.wasm");
    std::fs::write(&path, b"\0asm\xff\xff").unwrap();
    let error = take(Input::Manifests(path)).unwrap_err().to_string();
    assert!(error.contains("without -f"), "{error}");
}

#[test]
fn any_file_name_gives_a_dns_label() {
    for (path, name) in [
        ("/x/hello.wasm", "hello"),
        ("/x/Hello_World.WASM", "hello-world"),
        ("/x/2048.wasm", "c-2048"),
        ("/x/--.wasm", "component"),
        ("/x/ünï.wasm", "n"),
        ("/", "component"),
    ] {
        assert_eq!(name_from(Path::new(path)), name);
    }
    let long = name_from(Path::new(&"x-".repeat(60)));
    assert!(long.len() <= 40 && !long.ends_with('-'), "{long}");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once_and_stops_no_manifest() {
    let tmp = tempfile::tempdir().unwrap();
    let endless = tmp.path().join("endless.wasm");
    std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
    let error = take(Input::Path(endless.clone())).unwrap_err().to_string();
    assert!(error.contains("isn't a regular file") && error.contains("endless.wasm"), "{error}");
    std::fs::write(tmp.path().join("app.yaml"), manifest("app", "file://endless.wasm")).unwrap();
    let intake = take(Input::Manifests(tmp.path().join("app.yaml"))).unwrap();
    assert_eq!(image_of(&intake.resources[0]), format!("file://{}", endless.display()));
}
