//! What is known of components and workloads from before, so that starting them again reads and plans nothing: types of components by
//! digest, and plans of links by all that they were made of.
//!
//! Plans are kept beside the compiled code too, authenticated like it (L36): another process finds them there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use berth_link::{LinkPlan, Role, World};
use berth_model::digest::Digest;
use berth_model::workload::Workload;
use tracing::warn;

use super::Preparer;
use super::provided::PROVIDED;
use super::units::Fetched;

/// What planning here makes of equal input, beyond [`berth_link::FORMAT`]: what is provided, what is refused, and how a plan is written down.
/// To be changed with that. A test pins the last.
const FORMAT: u32 = 2;
/// Plans that are remembered.
const MOST_PLANS: usize = 4096;
/// Components whose types are remembered.
const MOST_WORLDS: usize = 256;
/// Types and names of a component whose types are remembered, at most: some megabytes. Those of larger ones are read each time.
const MOST_TYPES: usize = 20_000;

/// Remembers the values that were used last, by digest.
struct Recent<T> {
    most: usize,
    uses: u64,
    /// With when each was used last.
    values: HashMap<Digest, (Arc<T>, u64)>,
}

impl<T> Recent<T> {
    fn new(most: usize) -> Recent<T> {
        Recent { most, uses: 0, values: HashMap::new() }
    }

    fn get(&mut self, key: &Digest) -> Option<Arc<T>> {
        self.uses += 1;
        let (value, used) = self.values.get_mut(key)?;
        *used = self.uses;
        Some(value.clone())
    }

    fn put(&mut self, key: Digest, value: Arc<T>) {
        self.uses += 1;
        if self.values.len() >= self.most && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.map(|key| self.values.remove(&key));
        }
        self.values.insert(key, (value, self.uses));
    }
}

/// What a host remembers.
pub(crate) struct Known {
    plans: Mutex<Recent<LinkPlan>>,
    worlds: Mutex<Recent<World>>,
}

impl Default for Known {
    fn default() -> Known {
        Known { plans: Mutex::new(Recent::new(MOST_PLANS)), worlds: Mutex::new(Recent::new(MOST_WORLDS)) }
    }
}

impl Known {
    /// The types of the component of this digest.
    pub(super) fn world(&self, component: &Digest) -> Option<Arc<World>> {
        self.worlds.lock().expect("no panic while held").get(component)
    }

    pub(super) fn remember_world(&self, component: Digest, world: &Arc<World>) {
        if world.size() <= MOST_TYPES {
            self.worlds.lock().expect("no panic while held").put(component, world.clone());
        }
    }

    fn plan(&self, key: &Digest) -> Option<Arc<LinkPlan>> {
        self.plans.lock().expect("no panic while held").get(key)
    }

    fn remember_plan(&self, key: &Digest, plan: &Arc<LinkPlan>) {
        self.plans.lock().expect("no panic while held").put(key.clone(), plan.clone());
    }
}

impl Preparer {
    /// The plan that `key` stands for, from memory or disk.
    pub(super) async fn known_plan(&self, key: &Digest) -> Option<Arc<LinkPlan>> {
        if let Some(plan) = self.known.plan(key) {
            return Some(plan);
        }
        let (code, wanted) = (self.config.code.clone()?, key.clone());
        let found = self.compiler.run(move || code.load_plan(&wanted)).await.ok()?;
        let (plan, was_foreign) = found.unwrap_or_else(|error| {
            warn!(error = %error, "a plan can't be looked for on disk: it is made anew");
            (None, false)
        });
        if was_foreign {
            self.shared.metrics.code.foreign.inc();
        }
        let plan = Arc::new(plan?);
        self.known.remember_plan(key, &plan);
        Some(plan)
    }

    /// Remembers a plan, here and on disk.
    pub(super) fn remember_plan(&self, key: Digest, plan: &Arc<LinkPlan>) {
        self.known.remember_plan(&key, plan);
        let Some(code) = self.config.code.clone() else { return };
        let (plan, metrics) = (LinkPlan::clone(plan), self.shared.metrics.clone());
        self.compiler.aside(move || {
            let stored = code.store_plan(&key, plan).unwrap_or_else(|error| {
                warn!(error = %error, "a plan can't be kept on disk: the next start makes it anew");
                false
            });
            if !stored {
                metrics.code.unstored.inc();
            }
        });
    }
}

/// What stands for all that a plan is made of: the components' bytes, names, roles and links, who is to answer, and the rules.
pub(super) fn key(workload: &Workload, fetched: &[Fetched]) -> Digest {
    let parts: Vec<_> = fetched
        .iter()
        .map(|part| {
            let links: Vec<_> = part.spec.links.iter().map(|link| (link.import.to_string(), &link.component, link.fuse)).collect();
            (&part.spec.name, part.artifact.digest.as_str(), part.role == Role::Service, links)
        })
        .collect();
    // Whether it serves HTTP at all is a matter of its own: serialized alone, an absent entry and an unnamed one are both null.
    let http = (workload.http.is_some(), workload.http.as_ref().and_then(|http| http.component.as_deref()));
    let whole = ("berth plan of links", (berth_link::FORMAT, FORMAT), env!("CARGO_PKG_VERSION"), PROVIDED, parts, http);
    Digest::of(&serde_json::to_vec(&whole).expect("texts and numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_link::{Link, Unit, Way};

    /// Plans on disk are found by a key that holds the formats, and read as they are. So how one is written, and what its parts mean, may
    /// change with [`FORMAT`] alone: when this test fails, change both.
    #[test]
    fn l36_how_a_plan_is_kept_on_disk_changes_with_its_format_alone() {
        let link = |import: &str, exporter: usize, way: Way| {
            let (import, export) = (import.to_owned(), format!("{import}.1"));
            Link { importer: 0, import, exporter, export, way }
        };
        let plan = LinkPlan {
            units: vec![Unit { root: 0, members: vec![0, 1] }, Unit { root: 2, members: vec![2] }],
            links: vec![link("a:b/c@1.0", 1, Way::Fused), link("a:b/d@1.0", 2, Way::Bridged), link("a:b/e@1.0", 3, Way::Copied)],
            entry: Some(0),
        };
        let kept = concat!(
            r#"{"units":[{"root":0,"members":[0,1]},{"root":2,"members":[2]}],"links":["#,
            r#"{"importer":0,"import":"a:b/c@1.0","exporter":1,"export":"a:b/c@1.0.1","way":"Fused"},"#,
            r#"{"importer":0,"import":"a:b/d@1.0","exporter":2,"export":"a:b/d@1.0.1","way":"Bridged"},"#,
            r#"{"importer":0,"import":"a:b/e@1.0","exporter":3,"export":"a:b/e@1.0.1","way":"Copied"}],"entry":0}"#
        );
        assert_eq!((berth_link::FORMAT, FORMAT), (2, 2));
        assert_eq!(serde_json::to_string(&plan).unwrap(), kept);
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let (a, b, c) = (Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c"));
        let mut recent = Recent::new(2);
        recent.put(a.clone(), Arc::new(1));
        recent.put(b.clone(), Arc::new(2));
        assert_eq!(recent.get(&a).as_deref(), Some(&1));
        recent.put(c.clone(), Arc::new(3));
        assert_eq!((recent.get(&a).is_some(), recent.get(&b).is_some(), recent.get(&c).is_some()), (true, false, true));
    }
}
