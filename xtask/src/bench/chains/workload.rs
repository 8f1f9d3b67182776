//! What the chains are made of, and their manifests.

use std::fmt::Write;
use std::path::Path;

/// The path by which a caller asks the other component.
pub const VIA: &str = "/via?to=back&path=/";
/// The path at which the middleware passes requests and responses on as they are.
pub const AS_IS: &str = "/?as-is";
/// What a component gets that is used again.
const REUSE: &str = ", poolSize: 8";
/// The same where one instance may serve several requests at once.
const REUSE_P3: &str = ", poolSize: 8, maxConcurrency: 16";
/// Which of [`CHAINS`] the others are compared with.
pub const HELLO_P3: usize = 0;

/// One component, or one that calls another.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// For tables.
    pub name: &'static str,
    /// For files.
    pub id: &'static str,
    /// The guests: the one that answers, and the one that it calls.
    pub guests: &'static [&'static str],
    /// Who calls by import is linked, and composed if this says so.
    pub fuse: bool,
    /// What the client asks for.
    pub path: &'static str,
    /// Requests per second to be reached, as a part of those of the handler alone.
    pub wanted_fresh: Option<f64>,
    /// The same with reuse.
    pub wanted_reused: Option<f64>,
}

const PLAIN: Chain = Chain { name: "", id: "", guests: &["p3-hello"], fuse: false, path: "/", wanted_fresh: None, wanted_reused: None };
const NAMED: Chain = Chain { path: VIA, ..PLAIN };

const BEFORE_P2: Chain = Chain { guests: &["p3-middleware", "p2-hello"], wanted_fresh: Some(0.8), wanted_reused: Some(0.75), ..PLAIN };
const BEFORE_P3: Chain = Chain { guests: &["p3-middleware", "p3-hello"], wanted_fresh: Some(0.65), wanted_reused: Some(0.75), ..PLAIN };

/// The handler alone, and every direction.
pub const CHAINS: [Chain; 10] = [
    Chain { name: "0.3 handler alone", id: "alone", ..PLAIN },
    Chain { name: "0.3 middleware, 0.2 handler by import", id: "middleware-p2", ..BEFORE_P2 },
    Chain { name: "0.3 middleware, 0.3 handler by import", id: "middleware-p3", ..BEFORE_P3 },
    Chain { name: "0.3 middleware that changes nothing, 0.2 handler by import", id: "as-is-p2", path: AS_IS, ..BEFORE_P2 },
    Chain { name: "0.3 middleware that changes nothing, 0.3 handler by import", id: "as-is-p3", path: AS_IS, ..BEFORE_P3 },
    Chain { name: "0.3 middleware, 0.3 handler fused", id: "fused", guests: &["p3-middleware", "p3-hello"], fuse: true, ..PLAIN },
    Chain { name: "0.2 caller, 0.2 handler by name", id: "p2-p2", guests: &["p2", "p2-hello"], ..NAMED },
    Chain { name: "0.2 caller, 0.3 handler by name", id: "p2-p3", guests: &["p2", "p3-hello"], ..NAMED },
    Chain { name: "0.3 caller, 0.2 handler by name", id: "p3-p2", guests: &["p3", "p2-hello"], ..NAMED },
    Chain { name: "0.3 caller, 0.3 handler by name", id: "p3-p3", guests: &["p3", "p3-hello"], ..NAMED },
];

impl Chain {
    /// What the last guest says.
    pub fn answer(&self) -> &'static str {
        if self.guests.last().is_some_and(|guest| is_p3(guest)) { "Hello from WASI 0.3!\n" } else { "Hello from WASI 0.2!\n" }
    }

    /// The manifest; `files` are the guests'. `shown` puts the files' names in the place of their paths, for people.
    pub fn manifest(&self, name: &str, files: &[&Path], reuse: bool, shown: bool) -> String {
        let interface = if is_p3(self.guests[0]) { "handler" } else { "incoming-handler" };
        let mut text = format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}}}\nspec:\n  \
             hostInterfaces: [{{namespace: wasi, package: http, interfaces: [{interface}], config: {{component: front}}}}]\n  components:\n"
        );
        let imports = self.path != VIA && self.guests.len() > 1;
        for ((at, guest), file) in self.guests.iter().enumerate().zip(files) {
            let path = if shown { file.file_name().map(Path::new).unwrap_or(file) } else { file };
            let role = if at == 0 { "front" } else { "back" };
            let reuse = match (reuse, is_p3(guest)) {
                (false, _) => "",
                (true, false) => REUSE,
                (true, true) => REUSE_P3,
            };
            let links = match (at, imports, self.fuse) {
                (0, true, false) => ", links: [{import: \"wasi:http/handler\", component: back}]",
                (0, true, true) => ", links: [{import: \"wasi:http/handler\", component: back, fuse: true}]",
                _ => "",
            };
            writeln!(text, "    - {{name: {role}, image: \"file://{}\"{reuse}{links}}}", path.display())
                .expect("writing to a String can't fail");
        }
        text
    }
}

fn is_p3(guest: &str) -> bool {
    guest.starts_with("p3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_who_calls_whom_and_how_instances_live() {
        let fused = CHAINS[5].manifest("fused-reuse", &[Path::new("/x/p3-middleware.wasm"), Path::new("/x/p3-hello.wasm")], true, true);
        assert_eq!(
            fused,
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {name: fused-reuse}\nspec:\n  \
             hostInterfaces: [{namespace: wasi, package: http, interfaces: [handler], config: {component: front}}]\n  components:\n    \
             - {name: front, image: \"file://p3-middleware.wasm\", poolSize: 8, maxConcurrency: 16, links: [{import: \"wasi:http/handler\", \
             component: back, fuse: true}]}\n    - {name: back, image: \"file://p3-hello.wasm\", poolSize: 8, maxConcurrency: 16}\n"
        );
        let named = CHAINS[6].manifest("p2-p2-fresh", &[Path::new("/x/p2.wasm"), Path::new("/x/p2-hello.wasm")], false, false);
        assert!(named.contains("[incoming-handler]") && named.contains("file:///x/p2.wasm") && !named.contains("links"), "{named}");
    }

    #[test]
    fn the_first_is_the_handler_alone() {
        assert_eq!((CHAINS[HELLO_P3].guests, CHAINS[HELLO_P3].path), (&["p3-hello"][..], "/"));
    }
}
