//! Manifests of what berth runs in the scenarios, and components that differ by a digest.

use std::path::Path;

/// What a workload is; everything else has its default.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// `WorkloadDeployment`, or `Workload` for one that no deployment owns.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The domain; absent: every domain.
    pub host: Option<&'a str>,
    /// Of a deployment.
    pub replicas: u32,
    /// The component's file.
    pub component: &'a Path,
    /// WASI 0.3 and not 0.2.
    pub p3: bool,
    /// Fields of the component, such as `poolSize: 4`.
    pub fields: &'a [&'a str],
}

impl Spec<'_> {
    /// The manifest. `shown` puts the file's name in the place of its path, for people.
    pub fn yaml(&self, shown: bool) -> String {
        let Spec { kind, name, replicas, p3, fields, .. } = self;
        let interface = if *p3 { "handler" } else { "incoming-handler" };
        let config = self.host.map_or_else(String::new, |host| format!(", config: {{host: {host}}}"));
        let path = if shown { self.component.file_name().map(Path::new).unwrap_or(self.component) } else { self.component };
        let fields: String = fields.iter().map(|field| format!(", {field}")).collect();
        let head = format!("apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n");
        let spec = [
            format!("hostInterfaces: [{{namespace: wasi, package: http, interfaces: [{interface}]{config}}}]\n"),
            format!("components: [{{name: main, image: \"file://{}\"{fields}}}]\n", path.display()),
        ];
        match *kind {
            "Workload" => format!("{head}  {}  {}", spec[0], spec[1]),
            _ => format!("{head}  replicas: {replicas}\n  template:\n    spec:\n      {}      {}", spec[0], spec[1]),
        }
    }
}

/// The same component with another digest: a custom section that says `number` is appended (section 0 of the binary format).
pub fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let name = b"variant";
    let mut content = vec![name.len() as u8];
    content.extend_from_slice(name);
    content.extend_from_slice(&number.to_le_bytes());
    // Under 128 bytes, a size in LEB128 is one byte.
    let mut bytes = component.to_vec();
    bytes.extend_from_slice(&[0, content.len() as u8]);
    bytes.extend_from_slice(&content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_was_asked_for() {
        let spec = Spec {
            kind: "WorkloadDeployment",
            name: "a",
            host: Some("a.test"),
            replicas: 3,
            component: Path::new("/x/p3-hello.wasm"),
            p3: true,
            fields: &["poolSize: 8"],
        };
        assert_eq!(
            spec.yaml(true),
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata: {name: a}\nspec:\n  replicas: 3\n  template:\n    \
             spec:\n      hostInterfaces: [{namespace: wasi, package: http, interfaces: [handler], config: {host: a.test}}]\n      \
             components: [{name: main, image: \"file://p3-hello.wasm\", poolSize: 8}]\n"
        );
        let alone = Spec { kind: "Workload", ..spec }.yaml(false);
        assert!(
            alone.contains("\n  components: [{name: main, image: \"file:///x/p3-hello.wasm\"") && !alone.contains("replicas"),
            "{alone}"
        );
    }

    #[test]
    fn variants_are_components_with_a_section_more() {
        let component = [&b"\0asm"[..], &[0x0d, 0, 1, 0]].concat();
        let bytes = variant(&component, 258);
        assert_eq!(bytes[..8], component[..]);
        assert_eq!(bytes[8..], [&[0, 12, 7][..], b"variant", &[2, 1, 0, 0]].concat());
    }
}
