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
fn a_link_is_what_the_person_typed_and_its_target_is_read_anew() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path().canonicalize().unwrap();
    for (folder, content) in [("one", b"\0asm\x0d\0\x01\0"), ("two", b"\0asm\x0d\0\x01\x01")] {
        std::fs::create_dir(root.join(folder)).unwrap();
        std::fs::write(root.join(folder).join("release.wasm"), content).unwrap();
    }
    let link = |target: &str, link: &str| {
        let _ = std::fs::remove_file(root.join(link));
        std::os::unix::fs::symlink(root.join(target), root.join(link)).unwrap();
    };
    let annotations = |resource: &Resource| match resource {
        Resource::Deployment(d) => d.spec.template.annotations.clone(),
        other => panic!("not a deployment: {other:?}"),
    };
    // A link to the file, and one to the folder above it.
    for (target, typed, name) in [("one/release.wasm", "current.wasm", "current"), ("one", "live", "release")] {
        link(target, typed);
        let path = if name == "release" { root.join(typed).join("release.wasm") } else { root.join(typed) };
        let first = take(Input::Path(path.clone())).unwrap().resources.remove(0);
        assert_eq!((first.metadata().name.as_str(), image_of(&first)), (name, format!("file://{}", path.display())));
        link(&target.replace("one", "two"), typed);
        let second = take(Input::Path(path.clone())).unwrap().resources.remove(0);
        assert_eq!(image_of(&second), image_of(&first));
        assert_ne!(annotations(&second), annotations(&first));
    }
    let around = take(Input::Path(root.join("one/../two/release.wasm"))).unwrap().resources.remove(0);
    assert_eq!(image_of(&around), format!("file://{}", root.join("two/release.wasm").display()));
}

#[test]
fn an_object_that_two_inputs_have_is_refused_with_both() {
    let tmp = tempfile::tempdir().unwrap();
    for folder in ["a", "b"] {
        std::fs::create_dir(tmp.path().join(folder)).unwrap();
        std::fs::write(tmp.path().join(folder).join("hello.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    }
    std::fs::write(tmp.path().join("c.yaml"), manifest("hello", "file://hello.wasm")).unwrap();
    let inputs = ["a", "b/hello.wasm", "c.yaml"].map(|path| Input::Path(tmp.path().join(path)));
    let error = read(&inputs, &mut std::io::empty()).unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
    for part in ["WorkloadDeployment `hello` of namespace default comes from", "a/hello.wasm", "b/hello.wasm", "c.yaml"] {
        assert!(error.to_string().contains(part), "{part} is missing in:\n{error}");
    }
}

#[test]
fn what_is_hardly_meant_is_a_warning_with_its_field() {
    let tmp = tempfile::tempdir().unwrap();
    let warnings = |image: &str| {
        let path = tmp.path().join("a.yaml");
        std::fs::write(&path, manifest("hello", image)).unwrap();
        let warnings = take(Input::Manifests(path)).unwrap().warnings;
        warnings.iter().map(|w| format!("{} {}: {}", w.kind, w.name, w.remark)).collect::<Vec<_>>()
    };
    let field = "WorkloadDeployment hello: spec.template.spec.components[0].image: ";
    let [missing] = &warnings("file://none.wasm")[..] else { panic!("one warning") };
    assert!(missing.starts_with(field) && missing.contains("none.wasm can't be read: No such file"), "{missing}");
    let [missing] = &warnings("oci:none")[..] else { panic!("one warning") };
    assert!(missing.contains("none/index.json can't be read"), "{missing}");
    let [scheme] = &warnings("hello.wasm")[..] else { panic!("one warning") };
    assert!(scheme.contains("file://hello.wasm"), "{scheme}");
    std::fs::write(tmp.path().join("hello.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    assert_eq!(warnings("file://hello.wasm"), Vec::<String>::new());
    assert_eq!(warnings("ghcr.io/acme/hello:1"), Vec::<String>::new());
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

#[test]
fn l12_what_local_images_hold_is_noted_on_workloads_and_artifacts_too() {
    let tmp = tempfile::tempdir().unwrap();
    let text = "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {name: app}\n\
                spec: {components: [{name: main, image: \"file://a.wasm\"}]}\n---\n\
                apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Artifact\nmetadata: {name: art}\nspec: {image: \"file://a.wasm\"}\n";
    std::fs::write(tmp.path().join("manifest.yaml"), text).unwrap();
    let noted = |bytes: &[u8]| -> Vec<String> {
        std::fs::write(tmp.path().join("a.wasm"), bytes).unwrap();
        let intake = take(Input::Path(tmp.path().to_owned())).unwrap();
        intake.resources.iter().map(|r| r.metadata().annotations["berth.dev/images"].clone()).collect()
    };
    let (before, same, after) = (noted(b"one"), noted(b"one"), noted(b"two"));
    assert_eq!((before.len(), &before), (2, &same));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
}

#[test]
fn an_image_in_a_registry_is_deployed_by_its_repository_where_no_such_file_is() {
    let read = |text: &str| super::read(&[Input::Path(text.into())], &mut std::io::empty());
    for (text, name) in
        [("ghcr.io/me/hello:1.0", "hello"), ("localhost:5000/shop/Front:2", ""), ("localhost/shop/front-end:2", "front-end")]
    {
        match read(text) {
            Ok(taken) => {
                let Resource::Deployment(deployment) = &taken.resources[0] else { panic!("a deployment") };
                assert_eq!(deployment.metadata.name, name);
                assert_eq!(deployment.spec.template.spec.components[0].image, text);
                assert_eq!(deployment.spec.template.spec.host_interfaces[0].interfaces, ["incoming-handler", "handler"]);
            }
            Err(error) => assert!(name.is_empty() && error.to_string().contains("lower-case letters"), "{text}: {error}"),
        }
    }
    for path in ["hello", "hello.wasm", "./shop/hello", "../hello.v1/x", "build.d/hello.wasm", "shop.v1/manifest.yaml", "me/hello:1.0"] {
        assert!(read(path).unwrap_err().to_string().contains("can't read"), "{path}");
    }
}

#[test]
fn what_a_host_will_be_asked_for_says_whose_instances_last() {
    let tmp = tempfile::tempdir().unwrap();
    let expected = |more: &str| {
        let file = tmp.path().join("manifest.yaml");
        std::fs::write(&file, format!("{}{more}", manifest("hello", "file:///hello.wasm"))).unwrap();
        let expected = take(Input::Manifests(file)).unwrap().expected();
        expected.into_iter().map(|Expected { image, lasting }| (image.to_string(), lasting)).collect::<Vec<_>>()
    };
    for (more, lasting) in
        [("", false), ("        maxInvocations: 1\n", false), ("        poolSize: 1\n", true), ("        maxConcurrency: 2\n", true)]
    {
        assert_eq!(expected(more), [("file:///hello.wasm".to_owned(), lasting)], "{more}");
    }
    assert_eq!(expected("      - name: other\n        image: file:///other.wasm\n"), [], "what is composed isn't compiled as it is");
}
