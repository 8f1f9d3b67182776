//! Deployments: one replica set per version of the template, and the rollout from one to the next.

use std::collections::HashMap;

use berth_model::condition;
use berth_model::condition::ConditionStatus::{False, True};
use berth_model::event::Severity;
use berth_model::resource::{
    DeployPolicy, Deployment, DeploymentStatus, Kind, LocalObjectReference, ObjectMeta, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus,
    Resource, Template,
};

use super::conditions::Draft;
use super::contents::{self, Refusal};
use super::index::Index;
use super::replica_sets::{OWN_POLICY, key, owner, ready_message, wanted};
use super::rollout::{self, Targets, Version};
use super::snapshot::Memory;
use super::status::{Tally, trouble};
use super::writes::Writes;
use super::{artifacts, hash, names};

/// Label of replica sets and workloads: name of their deployment; a long name is cut and ends with its hash.
pub const DEPLOYMENT_LABEL: &str = "berth.dev/deployment";
/// Label of replica sets and workloads: hash of their template.
pub const TEMPLATE_HASH_LABEL: &str = "berth.dev/template-hash";
/// Annotation of replica sets: which version it is, counted from 1; rolling back makes an old one the latest.
pub const REVISION_ANNOTATION: &str = "berth.dev/revision";

/// What the planning of replica sets has to know of deployments.
#[derive(Default)]
pub(super) struct Deployments<'a> {
    /// By uid of a replica set that a deployment owns: whether it is the deployment's current one, and the policy.
    owned: HashMap<&'a str, (bool, DeployPolicy)>,
}

impl Deployments<'_> {
    /// Whether workloads of `set` that are out of date are to be replaced; those of earlier versions only wait for their end.
    pub(super) fn replaces(&self, set: &ReplicaSet) -> bool {
        self.owned.get(set.metadata.uid.as_str()).is_none_or(|(current, _)| *current)
    }

    pub(super) fn policy(&self, set: &ReplicaSet) -> DeployPolicy {
        self.owned.get(set.metadata.uid.as_str()).map_or(OWN_POLICY, |(_, policy)| *policy)
    }
}

/// Makes, scales and removes replica sets, and says how the rollout stands.
pub(super) fn plan<'a>(index: &Index<'a>, writes: &mut Writes<'a>, memory: &mut Memory) -> Deployments<'a> {
    let mut deployments = Deployments::default();
    for deployment in index.snapshot.objects.deployments.iter() {
        let version = current_version(index, deployment, memory);
        let rollout = Rollout::new(index, deployment, &version);
        let policy = deployment.spec.deploy_policy.unwrap_or_default();
        for set in &rollout.old {
            deployments.owned.insert(&set.set.metadata.uid, (false, policy));
        }
        if let Some(current) = &rollout.current {
            deployments.owned.insert(&current.set.metadata.uid, (true, policy));
        }
        if deployment.metadata.deletion_timestamp.is_none() {
            rollout.write(index, &version, writes);
            rollout.status(index, &version, writes);
        }
    }
    deployments
}

/// Today's template and its hash, or why there is none.
struct CurrentVersion {
    template: Result<Template, Refusal>,
    hash: Option<String>,
}

fn current_version(index: &Index<'_>, deployment: &Deployment, memory: &mut Memory) -> CurrentVersion {
    let meta = &deployment.metadata;
    let template = artifacts::template(&index.snapshot.objects, deployment);
    let known = index
        .snapshot
        .memory
        .hashes
        .get(&meta.uid)
        .filter(|(generation, _)| *generation == meta.generation && !artifacts::has_artifacts(deployment));
    let hash = known.map(|(_, hash)| hash.clone()).or_else(|| template.as_ref().ok().map(hash::template));
    if let Some(hash) = &hash {
        memory.hashes.insert(meta.uid.clone(), (meta.generation, hash.clone()));
    }
    CurrentVersion { template, hash }
}

/// Why nothing can be started of today's template, if it refers to what isn't there.
fn missing(index: &Index<'_>, deployment: &Deployment, version: &CurrentVersion) -> Option<Refusal> {
    let template = version.template.as_ref().ok()?;
    contents::missing(&index.snapshot.objects, &deployment.metadata.namespace, &template.spec)
}

/// A replica set and its workloads, counted.
struct Set<'a> {
    set: &'a ReplicaSet,
    tally: Tally,
}

impl Set<'_> {
    fn wanted(&self) -> i32 {
        wanted(self.set.spec.replicas)
    }

    fn version(&self) -> Version {
        Version { wanted: self.wanted(), ready: self.tally.ready, there: self.tally.current + self.tally.leaving }
    }

    fn revision(&self) -> u64 {
        self.set.metadata.annotations.get(REVISION_ANNOTATION).and_then(|r| r.parse().ok()).unwrap_or_default()
    }
}

/// One deployment's replica sets.
struct Rollout<'a> {
    deployment: &'a Deployment,
    wanted: i32,
    /// Name of the current replica set.
    name: Option<String>,
    current: Option<Set<'a>>,
    /// From the oldest to the latest.
    old: Vec<Set<'a>>,
    targets: Targets,
}

impl<'a> Rollout<'a> {
    fn new(index: &Index<'a>, deployment: &'a Deployment, version: &CurrentVersion) -> Rollout<'a> {
        let meta = &deployment.metadata;
        let status = &deployment.status.current_replica_set;
        // Without a template of today there is no new version, and the last one stays.
        let name = version.hash.as_ref().map(|hash| names::child(&meta.name, hash)).or_else(|| status.as_ref().map(|c| c.name.clone()));
        let sets = index.sets.get(meta.uid.as_str()).into_iter().flatten();
        let sets = sets.map(|&set| Set { set, tally: Tally::of(index.children_of(&set.metadata.uid)) });
        let (mut current, mut old): (Vec<_>, Vec<_>) = sets.partition(|s| Some(&s.set.metadata.name) == name.as_ref());
        old.sort_by_key(|s| (s.revision(), s.set.metadata.creation_timestamp));
        let current = current.pop();
        let wanted = wanted(deployment.spec.replicas);
        let versions: Vec<_> = old.iter().map(Set::version).collect();
        let targets = rollout::step(
            deployment.spec.deploy_policy.unwrap_or_default(),
            wanted,
            current.as_ref().map(Set::version).unwrap_or_default(),
            &versions,
        );
        Rollout { deployment, wanted, name, current, old, targets }
    }

    fn write(&self, index: &Index<'a>, version: &CurrentVersion, writes: &mut Writes<'a>) {
        match (&self.current, &version.template, &self.name) {
            (Some(current), template, _) => self.write_current(current, template.as_ref().ok(), writes),
            (None, Ok(template), Some(name)) => self.create(name, template.clone(), version, writes),
            // Nothing new can be made, so nothing old is taken away.
            (None, _, _) => return,
        }
        for (set, &target) in self.old.iter().zip(&self.targets.old) {
            if set.wanted() != target {
                self.scale(set.set, target, None, None, writes);
            }
        }
        self.forget(index, writes);
    }

    fn create(&self, name: &str, template: Template, version: &CurrentVersion, writes: &mut Writes<'a>) {
        let meta = &self.deployment.metadata;
        let mut metadata = ObjectMeta {
            name: name.to_owned(),
            namespace: meta.namespace.clone(),
            owner_references: vec![owner(Kind::WorkloadDeployment, meta)],
            labels: template.labels.clone(),
            ..ObjectMeta::default()
        };
        metadata.labels.insert(DEPLOYMENT_LABEL.to_owned(), names::label_value(&meta.name));
        metadata.labels.extend(version.hash.clone().map(|hash| (TEMPLATE_HASH_LABEL.to_owned(), hash)));
        metadata.annotations.insert(REVISION_ANNOTATION.to_owned(), self.next_revision().to_string());
        let spec = ReplicaSetSpec { replicas: Some(self.targets.current), template };
        let event =
            writes.event(key(Kind::WorkloadDeployment, meta), Severity::Normal, "RolloutStarted", format!("made replica set {name}"));
        let set = ReplicaSet { metadata, spec, status: ReplicaSetStatus::default() };
        writes.create(Resource::ReplicaSet(set), vec![event]);
    }

    /// Scales the current set; makes it the latest when an old template came back; takes back what somebody changed in it.
    fn write_current(&self, current: &Set<'a>, template: Option<&Template>, writes: &mut Writes<'a>) {
        let template = template.filter(|t| **t != current.set.spec.template);
        let latest = self.old.last().map_or(0, Set::revision);
        let revision = (current.revision() <= latest).then(|| latest + 1);
        if current.wanted() != self.targets.current || template.is_some() || revision.is_some() {
            self.scale(current.set, self.targets.current, template, revision, writes);
        }
    }

    fn scale(&self, set: &'a ReplicaSet, target: i32, template: Option<&Template>, revision: Option<u64>, writes: &mut Writes<'a>) {
        let mut changed = set.clone();
        let before = changed.spec.replicas.replace(target).unwrap_or(1);
        if let Some(template) = template {
            changed.spec.template.clone_from(template);
        }
        if let Some(revision) = revision {
            changed.metadata.annotations.insert(REVISION_ANNOTATION.to_owned(), revision.to_string());
        }
        let reason = if target < before { "ScaledDown" } else { "ScaledUp" };
        let message = format!("replica set {} from {before} to {target}", set.metadata.name);
        let about = key(Kind::WorkloadDeployment, &self.deployment.metadata);
        let events = if target == before { Vec::new() } else { vec![writes.event(about, Severity::Normal, reason, message)] };
        writes.update(&set.metadata, Resource::ReplicaSet(changed), events);
    }

    fn next_revision(&self) -> u64 {
        self.old.last().map_or(0, Set::revision) + 1
    }

    /// Removes empty replica sets beyond the history.
    fn forget(&self, index: &Index<'a>, writes: &mut Writes<'a>) {
        let is_empty = |set: &&Set<'_>| set.wanted() == 0 && set.tally.current + set.tally.leaving == 0;
        for set in self.old.iter().filter(is_empty).rev().skip(index.snapshot.config.history) {
            writes.delete(&set.set.metadata, key(Kind::WorkloadReplicaSet, &set.set.metadata), Vec::new());
        }
    }

    fn status(&self, index: &Index<'a>, version: &CurrentVersion, writes: &mut Writes<'a>) {
        let (deployment, meta) = (self.deployment, &self.deployment.metadata);
        let old = self.old.iter().map(|s| s.tally).fold(Tally::default(), Tally::plus);
        let new = self.current.as_ref().map(|s| s.tally).unwrap_or_default();
        let total = old.plus(new);
        let previous = self.old.iter().rev().find(|s| s.tally.current > 0);
        let reference = |name: &str| LocalObjectReference { name: name.to_owned() };
        let mut status = DeploymentStatus {
            current_replica_set: self.current.as_ref().map(|s| reference(&s.set.metadata.name)),
            previous_replica_set: previous.map(|s| reference(&s.set.metadata.name)),
            replicas: Some(total.counts(self.wanted)),
            current_replicas: total.current,
            selector: format!("{DEPLOYMENT_LABEL}={}", names::label_value(&meta.name)),
            conditions: Vec::new(),
        };
        let mut draft = Draft::new(&deployment.status.conditions, meta.generation, index.snapshot.now);
        let done = self.conditions(index, version, (old, new), &mut draft);
        let was_done =
            deployment.status.conditions.iter().any(|c| c.kind == "Deploy" && c.status == True && c.observed_generation == meta.generation);
        status.conditions = draft.finish().unwrap_or_else(|| deployment.status.conditions.clone());
        if status == deployment.status {
            return;
        }
        let message =
            || format!("{} of {} workloads ready in replica set {}", new.ready, self.wanted, self.name.as_deref().unwrap_or_default());
        let about = || key(Kind::WorkloadDeployment, meta);
        let mut events = Vec::new();
        if done && !was_done {
            events.push(writes.event(about(), Severity::Normal, "RolledOut", message()));
        }
        let sync = |conditions| condition::find(conditions, "Sync").map(|c| c.reason.as_str());
        if let Some(missing) = missing(index, deployment, version)
            && sync(&deployment.status.conditions) != Some(missing.reason)
        {
            events.push(writes.event(about(), Severity::Warning, missing.reason, missing.message));
        }
        writes.status(meta, Resource::Deployment(Deployment { status, ..deployment.clone() }), events);
    }

    /// Says how the rollout stands, and whether it is done.
    fn conditions(&self, index: &Index<'a>, version: &CurrentVersion, (old, new): (Tally, Tally), draft: &mut Draft<'_>) -> bool {
        match &version.template {
            Ok(_) => draft.set("Artifact", True, "Resolved", ""),
            Err(refusal) => draft.set("Artifact", False, refusal.reason, &refusal.message),
        }
        let missing = missing(index, self.deployment, version);
        match &missing {
            Some(missing) => draft.set("Sync", False, missing.reason, &missing.message),
            None => draft.set_if("Sync", self.current.is_some(), ("Synced", ""), ("Creating", "the replica set isn't there yet")),
        }
        let progress = format!("{} of {} new workloads ready, {} old ones left", new.ready, self.wanted, old.current);
        let is_new = version.template.is_ok() && self.current.is_some();
        let done = is_new && new.ready >= self.wanted && old.current == 0;
        draft.set_if("Deploy", done, ("RolledOut", ""), ("RollingOut", &progress));
        let scaled = old.plus(new).current == self.wanted;
        draft.set_if("Scale", scaled, ("Scaled", ""), ("Scaling", &format!("{} of {} workloads", old.plus(new).current, self.wanted)));
        if is_new && new.ready >= self.wanted {
            draft.set("Ready", True, "Ready", &ready_message(new.ready, self.wanted, missing.as_ref()));
            return done;
        }
        let refused = version.template.as_ref().err().map(|r| (r.reason.to_owned(), r.message.clone()));
        let children = self.current.iter().flat_map(|s| index.children_of(&s.set.metadata.uid));
        let (reason, message) = refused.or_else(|| trouble(children)).unwrap_or_else(|| ("RollingOut".to_owned(), progress));
        draft.set("Ready", False, &reason, &message);
        done
    }
}
