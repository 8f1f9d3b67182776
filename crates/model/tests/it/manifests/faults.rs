//! All that is wrong with a manifest is told at once.

use berth_model::manifest::MAX_PROBLEMS;

use super::{assert_problems, fail, workload};

#[test]
fn every_problem_of_every_document_is_told_at_once() {
    let text = "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  nmae: a
spec:
  replcas: 1
  template:
    specs: {}
    spec:
      components: []
foo: 1
---
kind: Workload
---
: [
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ok}
data: {port: 80}
";
    assert_problems(
        text,
        &[
            (1, 11, "foo", "unknown field"),
            (1, 4, "metadata.nmae", "did you mean `name`?"),
            (1, 3, "metadata.name", "is missing"),
            (1, 6, "spec.replcas", "did you mean `replicas`?"),
            (1, 8, "spec.template.specs", "did you mean `spec`?"),
            (2, 13, "apiVersion", "is missing"),
            (3, 15, "", "can't be read as YAML"),
            (4, 20, "data.port", "must be text, but is the number 80; put it in quotes"),
        ],
    );
}

#[test]
fn every_fault_of_one_spec_is_told_at_once() {
    let text = "\
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: 5
  namespace: true
spec:
  replicas: many
  deployPolicy: rolling
  template:
    spec:
      hostInterfaces:
        - namespace: wasi
          pakage: http
          interfaces: handler
      components:
        - name: a
          image: 7
          poolSize: 99999999999
        - 3
        - name: b
          localResources:
            environment: {config: {PORT: 80, DEBUG: true}}
";
    assert_problems(
        text,
        &[
            (1, 4, "metadata.name", "put it in quotes"),
            (1, 5, "metadata.namespace", "put it in quotes"),
            (1, 7, "spec.replicas", "whole number"),
            (1, 8, "spec.deployPolicy", "not one of `RollingUpdate`"),
            (1, 12, "spec.template.spec.hostInterfaces[0].package", "is missing"),
            (1, 13, "spec.template.spec.hostInterfaces[0].pakage", "did you mean `package`?"),
            (1, 14, "spec.template.spec.hostInterfaces[0].interfaces", "must be a list"),
            (1, 17, "spec.template.spec.components[0].image", "put it in quotes"),
            (1, 18, "spec.template.spec.components[0].poolSize", "from 0 to 2147483647"),
            (1, 19, "spec.template.spec.components[1]", "must be a map"),
            (1, 20, "spec.template.spec.components[2].image", "is missing"),
            (1, 22, "spec.template.spec.components[2].localResources.environment.config.PORT", "put it in quotes"),
            (1, 22, "spec.template.spec.components[2].localResources.environment.config.DEBUG", "put it in quotes"),
        ],
    );
    let many: String = (0..1000).map(|index| format!("  - {index}\n")).collect();
    assert_eq!(fail(&workload(&format!("  components:\n{many}"))).problems.len(), MAX_PROBLEMS);
}

#[test]
fn where_one_document_has_the_wrong_form_the_values_of_the_others_are_told_too() {
    let wrong = "  components: [{name: a b, image: 'http://x'}]\n";
    let text = format!("{}---\n{}", workload("  componets: []\n"), workload(wrong).replace("name: a\n", "name: b\n"));
    assert_problems(
        &text,
        &[
            (1, 6, "spec.componets", "did you mean `components`?"),
            (2, 8, "spec.components[0].name", "is not a component's name"),
            (2, 8, "spec.components[0].image", "is not an image reference"),
        ],
    );
}

#[test]
fn an_object_that_stands_twice_is_refused_with_both_lines() {
    let map = |name: &str, namespace: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{namespace}}}\n");
    let text = [map("a", ""), map("b", ""), map("a", ", namespace: other"), map("a", ", namespace: default")].join("---\n");
    assert_problems(&text, &[(4, 13, "metadata.name", "the ConfigMap `a` is in line 1 already")]);
    let json = "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}\n}\n";
    let error = fail(&format!("{json}---\n{json}"));
    assert!(error.problems.len() == 1 && error.problems[0].message.contains("already"), "{error}");
}
