//! Manifests that tests write again and again.

use std::fmt::Write;
use std::path::Path;

/// A WorkloadDeployment of one component that answers HTTP.
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    image: String,
    domain: Option<String>,
    replicas: u32,
    interface: &'static str,
    environment: Vec<(String, String)>,
    resources: Vec<String>,
    component: Vec<String>,
}

impl Manifest {
    /// A deployment `name` of the component in the file at `path`, for WASI 0.2 and every host.
    pub fn new(name: &str, path: &Path) -> Manifest {
        Manifest {
            name: name.into(),
            image: format!("file://{}", path.display()),
            domain: None,
            replicas: 1,
            interface: "incoming-handler",
            environment: Vec::new(),
            resources: Vec::new(),
            component: Vec::new(),
        }
    }

    /// Answers one domain.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Manifest {
        self.domain = Some(domain.into());
        self
    }

    /// So many replicas.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Manifest {
        self.replicas = replicas;
        self
    }

    /// The component exports WASI 0.3's handler.
    #[must_use]
    pub fn p3(mut self) -> Manifest {
        self.interface = "handler";
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Manifest {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A line of `localResources`, in YAML's flow style: `limits: {requestTimeout: 1s}`.
    #[must_use]
    pub fn resource(mut self, line: &str) -> Manifest {
        self.resources.push(line.into());
        self
    }

    /// A line of the component, in YAML's flow style: `poolSize: 2`.
    #[must_use]
    pub fn component(mut self, line: &str) -> Manifest {
        self.component.push(line.into());
        self
    }

    /// The manifest's text.
    pub fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata:\n  name: {}\nspec:\n  replicas: {}\n  template:\n    \
             spec:\n      hostInterfaces:\n      - namespace: wasi\n        package: http\n        interfaces: [{}]\n",
            self.name, self.replicas, self.interface
        );
        if let Some(domain) = &self.domain {
            push(&mut text, 8, &format!("config: {{host: {domain}}}"));
        }
        push(&mut text, 6, "components:");
        push(&mut text, 6, "- name: main");
        push(&mut text, 8, &format!("image: {:?}", self.image));
        for line in &self.component {
            push(&mut text, 8, line);
        }
        if !self.environment.is_empty() || !self.resources.is_empty() {
            push(&mut text, 8, "localResources:");
        }
        if !self.environment.is_empty() {
            push(&mut text, 10, "environment:");
            push(&mut text, 12, "config:");
            for (name, value) in &self.environment {
                push(&mut text, 14, &format!("{name}: {value:?}"));
            }
        }
        for line in &self.resources {
            push(&mut text, 10, line);
        }
        text
    }
}

fn push(text: &mut String, indent: usize, line: &str) {
    writeln!(text, "{:indent$}{line}", "").expect("writing to a String can't fail");
}
