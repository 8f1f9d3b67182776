//! The workloads of a soak and their manifests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// One workload: its name, which is its domain's first label too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub &'static str);

/// Never changes: the smallest guest.
pub const HELLO: Name = Name("hello");
/// Never changes: WASI 0.3, with instances used again and several requests at once on each.
pub const STEADY: Name = Name("steady");
/// Comes and goes.
pub const PASSING: Name = Name("passing");
/// Rolls over from one environment to another.
pub const SETTINGS: Name = Name("settings");
/// Rolls over from one component to another.
pub const GUESTS: Name = Name("guests");
/// Misbehave.
pub const BAD: [Name; 2] = [Name("bad-p2"), Name("bad-p3")];

impl Name {
    /// The domain that the workload answers.
    pub fn domain(self) -> String {
        format!("{}.soak.test", self.0)
    }
}

/// Where the components are.
pub struct Components {
    /// Every route, by WASI 0.2.
    pub p2: PathBuf,
    /// Every route, by WASI 0.3.
    pub p3: PathBuf,
    /// The smallest.
    pub hello: PathBuf,
}

impl Components {
    /// Those that don't change.
    pub fn steady(&self) -> String {
        let reuse = ["poolSize: 4", "maxConcurrency: 4", "maxInvocations: 200"];
        let bad = ["localResources: {limits: {memory: 32Mi, requestTimeout: 500ms, maxInFlight: 8}}"];
        [
            manifest(HELLO, 2, "incoming-handler", &self.hello, &[]),
            manifest(STEADY, 1, "handler", &self.p3, &reuse),
            manifest(BAD[0], 1, "incoming-handler", &self.p2, &bad),
            manifest(BAD[1], 1, "handler", &self.p3, &bad),
        ]
        .join("---\n")
    }

    /// The one that comes and goes.
    pub fn passing(&self) -> String {
        manifest(PASSING, 1, "incoming-handler", &self.hello, &[])
    }

    /// A version of a workload that rolls over.
    pub fn version(&self, rolling: &Rolling, version: u64) -> String {
        let (interface, path) = match rolling.guest(version) {
            "p3" => ("handler", &self.p3),
            _ => ("incoming-handler", &self.p2),
        };
        let environment = format!("localResources: {{environment: {{config: {{VERSION: \"{version}\"}}}}}}");
        manifest(rolling.name, 2, interface, path, &[&environment])
    }
}

fn manifest(name: Name, replicas: u32, interface: &str, component: &Path, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("        {line}\n")).collect();
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: {}
spec:
  replicas: {replicas}
  template:
    spec:
      hostInterfaces:
      - namespace: wasi
        package: http
        interfaces: [{interface}]
        config: {{host: {}}}
      components:
      - name: main
        image: {:?}
{lines}",
        name.0,
        name.domain(),
        format!("file://{}", component.display()),
    )
}

/// A workload under rolling updates, and which of its versions may answer.
#[derive(Debug)]
pub struct Rolling {
    /// The workload.
    pub name: Name,
    /// The guests of even and odd versions.
    guests: [&'static str; 2],
    /// The version that was ready last: older ones must not answer any more.
    ready: AtomicU64,
    /// The version that was applied last: newer ones can't answer yet.
    applied: AtomicU64,
}

impl Rolling {
    /// A workload with version 0.
    pub fn new(name: Name, guests: [&'static str; 2]) -> Rolling {
        Rolling { name, guests, ready: AtomicU64::new(0), applied: AtomicU64::new(0) }
    }

    /// The guest of a version.
    pub fn guest(&self, version: u64) -> &'static str {
        self.guests[(version % 2) as usize]
    }

    /// A version is about to be applied.
    pub fn applying(&self, version: u64) {
        self.applied.store(version, Ordering::SeqCst);
    }

    /// A version is ready, and berth says that no older one answers.
    pub fn is_ready(&self, version: u64) {
        self.ready.store(version, Ordering::SeqCst);
    }

    /// The oldest version that may answer a request that is sent now.
    pub fn oldest(&self) -> u64 {
        self.ready.load(Ordering::SeqCst)
    }

    /// Judges an answer of `guest`, at version `version`, to a request sent when `oldest` was the oldest allowed.
    pub fn judge(&self, guest: &str, version: u64, oldest: u64) -> Result<(), String> {
        let newest = self.applied.load(Ordering::SeqCst);
        if !(oldest..=newest).contains(&version) {
            return Err(format!("version {version} answered, and only {oldest} to {newest} may"));
        }
        if guest != self.guest(version) {
            return Err(format!("guest {guest:?} answered as version {version}, which is {}", self.guest(version)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_of_the_old_or_the_new_version_while_it_rolls_and_of_the_new_one_after() {
        let rolling = Rolling::new(GUESTS, ["p2", "p3"]);
        assert_eq!(rolling.judge("p2", 0, rolling.oldest()), Ok(()));
        rolling.applying(1);
        let sent_before = rolling.oldest();
        assert_eq!(rolling.judge("p2", 0, sent_before), Ok(()));
        assert_eq!(rolling.judge("p3", 1, sent_before), Ok(()));
        rolling.is_ready(1);
        assert_eq!(rolling.judge("p2", 0, sent_before), Ok(()), "it was sent before the new one was ready");
        assert_eq!(rolling.judge("p2", 0, rolling.oldest()).expect_err("it is wrong"), "version 0 answered, and only 1 to 1 may");
        assert!(rolling.judge("p3", 2, rolling.oldest()).is_err(), "nobody applied it");
        assert_eq!(rolling.judge("p2", 1, rolling.oldest()).expect_err("it is wrong"), "guest \"p2\" answered as version 1, which is p3");
    }

    #[test]
    fn a_version_s_manifest_names_its_guest_and_its_environment() {
        let components = Components { p2: "/a/p2.wasm".into(), p3: "/a/p3.wasm".into(), hello: "/a/hello.wasm".into() };
        let rolling = Rolling::new(GUESTS, ["p2", "p3"]);
        let (even, odd) = (components.version(&rolling, 4), components.version(&rolling, 5));
        assert!(even.contains("file:///a/p2.wasm") && even.contains("[incoming-handler]") && even.contains("VERSION: \"4\""), "{even}");
        assert!(odd.contains("file:///a/p3.wasm") && odd.contains("[handler]") && odd.contains("guests.soak.test"), "{odd}");
        assert_eq!(components.steady().matches("kind: WorkloadDeployment").count(), 4);
    }
}
