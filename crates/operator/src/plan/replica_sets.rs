//! Replica sets: as many equal workloads as are wanted, and of today's content.

use std::collections::HashMap;

use berth_model::event::Severity;
use berth_model::id::HostId;
use berth_model::resource::{
    DeployPolicy, Kind, ObjectKey, ObjectMeta, OwnerReference, ReplicaSet, ReplicaSetStatus, Resource, Workload, WorkloadStatus,
};
use berth_model::validate::MAX_REPLICAS;

use super::conditions::Draft;
use super::contents::{self, Refusal};
use super::deployments::Deployments;
use super::index::{Index, WorkloadFacts};
use super::rollout::{self, Version};
use super::snapshot::Memory;
use super::status::{Tally, trouble};
use super::writes::Writes;
use super::{hash, names, placement, removal};
use crate::store::{OWN_PREFIX, WORKLOAD_FINALIZER};

/// Workloads made per plan. What is missing then is made by the next plan, which follows as soon as these are stored.
const CREATES: usize = 256;

/// Annotation of a replica: hash of the template it was made of, a dot, and the mark of what it refers to.
pub const CONTENT_ANNOTATION: &str = "berth.dev/content";

/// Hash of template and mark of references that a workload was made with; `None` if no replica set made it.
pub(super) fn content_annotation(meta: &ObjectMeta) -> Option<(&str, &str)> {
    meta.annotations.get(CONTENT_ANNOTATION)?.split_once('.')
}

/// What replicas of each set are made of today, by the set's uid.
pub(super) type Today<'a> = HashMap<&'a str, TodaysContent>;

/// What replicas of a set are made of today.
pub(super) struct TodaysContent {
    /// The value of [`CONTENT_ANNOTATION`].
    pub(super) content: String,
    /// Why none can be started, if the template refers to what isn't there.
    pub(super) missing: Option<Refusal>,
}

/// Makes, refreshes and removes workloads, and says how many there are.
pub(super) fn plan<'a>(index: &Index<'a>, deployments: &Deployments<'a>, writes: &mut Writes<'a>, memory: &mut Memory) -> Today<'a> {
    let mut today = Today::new();
    let mut load: HashMap<HostId, u32> = HashMap::new();
    for host in index.workloads.iter().filter_map(|w| w.host) {
        *load.entry(host).or_default() += 1;
    }
    let mut creates = CREATES;
    for set in index.snapshot.objects.replica_sets.iter() {
        if set.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let step = Step::new(index, deployments, set, memory);
        step.refresh(writes);
        step.remove(writes, |host| load.get(&host).copied().unwrap_or_default());
        step.create(index, &mut creates, writes);
        status(index, set, &step, writes);
        today.insert(&set.metadata.uid, TodaysContent { content: step.content, missing: step.missing });
    }
    today
}

/// What one replica set is to do now.
struct Step<'i, 'a> {
    set: &'a ReplicaSet,
    /// Annotation of a replica of today's content.
    content: String,
    /// Why no replica can be started, if the template refers to what isn't there. Then those that run go on with what they have.
    missing: Option<Refusal>,
    wanted: i32,
    /// Replicas of today's content, and those that nobody runs yet: they are made so in place.
    fresh: Vec<&'i WorkloadFacts<'a>>,
    /// Replicas to be replaced: of earlier content, or on a host that they have to leave.
    stale: Vec<&'i WorkloadFacts<'a>>,
    targets: rollout::Targets,
}

impl<'i, 'a> Step<'i, 'a> {
    fn new(index: &'i Index<'a>, deployments: &Deployments<'a>, set: &'a ReplicaSet, memory: &mut Memory) -> Step<'i, 'a> {
        let meta = &set.metadata;
        let wanted = wanted(set.spec.replicas);
        let template = template_hash(index, set, memory);
        let content = format!("{template}.{}", contents::mark(index.snapshot, &meta.namespace, &set.spec.template.spec));
        let missing = contents::missing(&index.snapshot.objects, &meta.namespace, &set.spec.template.spec);
        let is_current = |child: &WorkloadFacts<'_>| match (&missing, content_annotation(&child.object.metadata)) {
            // Nothing could take its place.
            (Some(_), Some((made_of, _))) => made_of == template,
            _ => is_of(child, &content),
        };
        let replaces = deployments.replaces(set);
        let (mut fresh, mut stale) = (Vec::new(), Vec::new());
        let mut leaving = 0;
        for child in index.children_of(&meta.uid) {
            if child.is_terminating() {
                leaving += 1;
            } else if replaces && !child.runs_nowhere() && (!is_current(child) || placement::must_leave(index, child)) {
                stale.push(child);
            } else {
                fresh.push(child);
            }
        }
        let current = version(&fresh, 0);
        let targets = rollout::step(deployments.policy(set), wanted, current, &[version(&stale, leaving)]);
        Step { set, content, missing, wanted, fresh, stale, targets }
    }

    /// Replicas that nobody runs yet take today's content in place (L10, L12).
    fn refresh(&self, writes: &mut Writes<'a>) {
        for child in self.fresh.iter().filter(|c| c.runs_nowhere() && !is_of(c, &self.content)) {
            let mut changed = child.object.clone();
            self.fill(&mut changed);
            writes.update(&child.object.metadata, Resource::Workload(changed), Vec::new());
        }
    }

    fn remove(&self, writes: &mut Writes<'a>, load: impl Fn(HostId) -> u32) {
        let surplus = |replicas: &[&WorkloadFacts<'_>], target: i32| replicas.len().saturating_sub(count(target));
        let old = self.targets.old.first().copied().unwrap_or_default();
        let mut gone = removal::choose(&self.stale, surplus(&self.stale, old), &load);
        gone.extend(removal::choose(&self.fresh, surplus(&self.fresh, self.targets.current), &load));
        for child in gone {
            let meta = &child.object.metadata;
            let event = writes.event(self.key(), Severity::Normal, "ScaledDown", format!("removed workload {}", meta.name));
            writes.delete(meta, key(Kind::Workload, meta), vec![event]);
        }
    }

    /// New replicas take the lowest numbers whose names are free, so that a decision made twice clashes with itself (L16).
    fn create(&self, index: &Index<'a>, creates: &mut usize, writes: &mut Writes<'a>) {
        let missing = count(self.targets.current).saturating_sub(self.fresh.len()).min(*creates);
        *creates -= missing;
        let meta = &self.set.metadata;
        let is_free = |name: &String| index.snapshot.objects.workloads.get(&meta.namespace, name).is_none();
        for name in (0u32..).map(|i| names::child(&meta.name, &i.to_string())).filter(is_free).take(missing) {
            let metadata = ObjectMeta {
                name: name.clone(),
                namespace: meta.namespace.clone(),
                owner_references: vec![owner(Kind::WorkloadReplicaSet, meta)],
                finalizers: vec![WORKLOAD_FINALIZER.to_owned()],
                ..ObjectMeta::default()
            };
            let mut made = Workload { metadata, spec: Default::default(), status: WorkloadStatus::default() };
            self.fill(&mut made);
            let event = writes.event(self.key(), Severity::Normal, "ScaledUp", format!("made workload {name}"));
            writes.create(Resource::Workload(made), vec![event]);
        }
    }

    /// Gives a workload today's content.
    fn fill(&self, workload: &mut Workload) {
        let (template, meta) = (&self.set.spec.template, &mut workload.metadata);
        meta.labels.clone_from(&template.labels);
        meta.labels.extend(self.set.metadata.labels.iter().filter(|(k, _)| k.starts_with(OWN_PREFIX)).map(|(k, v)| (k.clone(), v.clone())));
        meta.annotations.clone_from(&template.annotations);
        meta.annotations.insert(CONTENT_ANNOTATION.to_owned(), self.content.clone());
        workload.spec.clone_from(&template.spec);
    }

    fn key(&self) -> ObjectKey {
        key(Kind::WorkloadReplicaSet, &self.set.metadata)
    }
}

fn is_of(child: &WorkloadFacts<'_>, content: &str) -> bool {
    child.object.metadata.annotations.get(CONTENT_ANNOTATION).is_some_and(|c| c == content)
}

fn version(replicas: &[&WorkloadFacts<'_>], leaving: i32) -> Version {
    let tally = Tally::of(replicas.iter().copied());
    Version { wanted: tally.current, ready: tally.ready, there: tally.current + leaving }
}

/// The hash of a set's template, computed once per generation.
fn template_hash(index: &Index<'_>, set: &ReplicaSet, memory: &mut Memory) -> String {
    let meta = &set.metadata;
    let known = index.snapshot.memory.hashes.get(&meta.uid).filter(|(generation, _)| *generation == meta.generation);
    let hash = known.map_or_else(|| hash::template(&set.spec.template), |(_, hash)| hash.clone());
    memory.hashes.insert(meta.uid.clone(), (meta.generation, hash.clone()));
    hash
}

fn status<'a>(index: &Index<'a>, set: &'a ReplicaSet, step: &Step<'_, 'a>, writes: &mut Writes<'a>) {
    let meta = &set.metadata;
    if writes.touches(meta) {
        return;
    }
    let tally = Tally::of(index.children_of(&meta.uid));
    let counts = tally.counts(step.wanted);
    let mut draft = Draft::new(&set.status.conditions, meta.generation, index.snapshot.now);
    let there = format!("{} of {} workloads", tally.current, step.wanted);
    draft.set_if("ScaleUp", tally.current >= step.wanted, ("Scaled", ""), ("ScalingUp", &there));
    let small = tally.current <= step.wanted && tally.leaving == 0;
    draft.set_if("ScaleDown", small, ("Scaled", ""), ("ScalingDown", &there));
    let ready = tally.ready >= step.wanted;
    let (reason, message) = match ready {
        true => ("Ready".to_owned(), ready_message(tally.ready, step.wanted, step.missing.as_ref())),
        false => trouble(index.children_of(&meta.uid))
            .unwrap_or_else(|| ("Starting".to_owned(), format!("{} of {} workloads ready", tally.ready, step.wanted))),
    };
    draft.set_if("Ready", ready, (&reason, &message), (&reason, &message));
    let conditions = draft.finish();
    if conditions.is_none() && set.status.replicas == Some(counts) {
        return;
    }
    let conditions = conditions.unwrap_or_else(|| set.status.conditions.clone());
    let status = ReplicaSetStatus { replicas: Some(counts), conditions };
    writes.status(meta, Resource::ReplicaSet(ReplicaSet { status, ..set.clone() }), Vec::new());
}

/// What a set or deployment says that has all replicas it needs; `missing` says why it couldn't make another.
pub(super) fn ready_message(ready: i32, wanted: i32, missing: Option<&Refusal>) -> String {
    let counts = format!("{ready} of {wanted} workloads ready");
    missing.map_or(counts.clone(), |missing| format!("{counts}, but {}", missing.message))
}

/// A reference to the controller `meta`.
pub(super) fn owner(kind: Kind, meta: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version().to_owned(),
        kind: kind.as_str().to_owned(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: true,
        block_owner_deletion: true,
    }
}

/// The key of the object with that metadata.
pub(super) fn key(kind: Kind, meta: &ObjectMeta) -> ObjectKey {
    ObjectKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone() }
}

/// How many replicas a spec asks for. One that was stored before there was a bound gets as many as that allows.
pub(super) fn wanted(replicas: Option<i32>) -> i32 {
    replicas.unwrap_or(1).clamp(0, MAX_REPLICAS)
}

fn count(target: i32) -> usize {
    usize::try_from(target).unwrap_or_default()
}

/// How versions of a set that no deployment owns follow each other.
pub(super) const OWN_POLICY: DeployPolicy = DeployPolicy::RollingUpdate;
