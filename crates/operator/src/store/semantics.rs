//! What a write does to the objects: Kubernetes' rules as pure steps over a map.
//!
//! Knows no disk and no clock. Each step either fails before it touches anything, or is recorded as [`Delta`]s that the caller
//! makes durable, or takes back with [`State::undo`].

mod collect;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use berth_model::resource::{Kind, ObjectKey, ObjectMeta, OwnerReference, Resource};
use berth_model::validate;
use jiff::Timestamp;

use super::{Applied, IMAGES_ANNOTATION, OWN_PREFIX, StoreError};

/// One wanted write.
#[derive(Debug)]
pub(super) enum Write {
    Apply(Resource),
    Create(Resource),
    Update(Resource),
    UpdateStatus(Resource),
    Delete(ObjectKey),
}

/// What a write came to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Written(Arc<Resource>, Applied),
    Deleted(bool),
}

/// One object's step from `before` to `after`; no `after` means it is gone.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) before: Option<Arc<Resource>>,
    pub(super) after: Option<Arc<Resource>>,
    /// The version that this step was given.
    pub(super) version: u64,
}

impl Delta {
    pub(super) fn key(&self) -> ObjectKey {
        self.after.as_ref().or(self.before.as_ref()).expect("a step has a before or an after").key()
    }
}

/// All objects, with who owns what.
#[derive(Debug, Default)]
pub(super) struct State {
    objects: BTreeMap<ObjectKey, Arc<Resource>>,
    uids: HashMap<String, ObjectKey>,
    dependents: HashMap<String, BTreeSet<ObjectKey>>,
    /// Uids of objects that are gone and may have left dependents, and the last of those that was looked at.
    gone: BTreeMap<String, Option<ObjectKey>>,
    version: u64,
}

impl State {
    /// The state that a database holds.
    pub(super) fn new(objects: impl IntoIterator<Item = Resource>, version: u64) -> State {
        let mut state = State { version, ..State::default() };
        for object in objects {
            state.insert(Arc::new(object));
        }
        let owners = state.objects.values().flat_map(|object| &object.metadata().owner_references);
        state.gone = owners.filter(|owner| state.lacks(owner)).map(|owner| (owner.uid.clone(), None)).collect();
        state
    }

    /// Whether `owner` is gone: of a kind that is kept here, and not there. An owner that is kept elsewhere is none of this store's.
    fn lacks(&self, owner: &OwnerReference) -> bool {
        kind_of(owner).is_some() && !self.uids.contains_key(&owner.uid)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn objects(&self) -> &BTreeMap<ObjectKey, Arc<Resource>> {
        &self.objects
    }

    /// Performs `write`, and adds its steps to `deltas`.
    pub(super) fn perform(&mut self, write: Write, now: Timestamp, deltas: &mut Vec<Delta>) -> Result<Outcome, StoreError> {
        let collects = self.gone.is_empty();
        let outcome = match write {
            Write::Apply(resource) => self.apply(resource, now, deltas),
            Write::Create(resource) => self.create(resource, now, deltas).map(|made| Outcome::Written(made, Applied::Created)),
            Write::Update(resource) => self.update(resource, deltas),
            Write::UpdateStatus(resource) => self.update_status(resource, deltas),
            Write::Delete(key) => Ok(Outcome::Deleted(self.delete(&key, now, deltas))),
        };
        if collects {
            self.collect(now, deltas);
        }
        outcome
    }

    /// Takes steps back, the last first. Versions that were given out aren't given again.
    pub(super) fn undo(&mut self, deltas: &[Delta]) {
        for delta in deltas.iter().rev() {
            if let Some(after) = &delta.after {
                self.remove(after);
            }
            if let Some(before) = &delta.before {
                self.insert(before.clone());
            }
        }
        // What was collected is there again, and to be collected again.
        let owners = deltas.iter().filter_map(|delta| delta.before.as_ref()).flat_map(|before| &before.metadata().owner_references);
        let gone: Vec<String> = owners.filter(|owner| self.lacks(owner)).map(|owner| owner.uid.clone()).collect();
        self.gone.values_mut().for_each(|last| *last = None);
        self.gone.extend(gone.into_iter().map(|uid| (uid, None)));
    }

    fn apply(&mut self, mut resource: Resource, now: Timestamp, deltas: &mut Vec<Delta>) -> Result<Outcome, StoreError> {
        name_namespace(&mut resource);
        let Some(current) = self.objects.get(&resource.key()).cloned() else {
            return self.create(resource, now, deltas).map(|made| Outcome::Written(made, Applied::Created));
        };
        if current.metadata().deletion_timestamp.is_some() {
            return Err(StoreError::Conflict {
                key: current.key(),
                detail: "it is being deleted; apply it again when it is gone".to_owned(),
            });
        }
        let (kept, wanted) = (current.metadata().clone(), resource.metadata_mut());
        let mut merged = kept.clone();
        merged.labels = with_own(std::mem::take(&mut wanted.labels), &kept.labels);
        merged.annotations = with_own(std::mem::take(&mut wanted.annotations), &kept.annotations);
        *wanted = merged;
        self.update(resource, deltas)
    }

    fn create(&mut self, mut resource: Resource, now: Timestamp, deltas: &mut Vec<Delta>) -> Result<Arc<Resource>, StoreError> {
        name_namespace(&mut resource);
        validate::resource(&resource)?;
        let key = resource.key();
        if self.objects.contains_key(&key) {
            return Err(StoreError::AlreadyExists(key));
        }
        self.owner_is_there(&resource)?;
        clear_status(&mut resource);
        let generation = i64::from(!key.kind.is_data());
        let meta = resource.metadata_mut();
        meta.uid = uuid::Uuid::new_v4().to_string();
        meta.generation = generation;
        meta.creation_timestamp = Some(now);
        meta.deletion_timestamp = None;
        Ok(self.put(None, resource, deltas))
    }

    /// A child whose owner has gone would never be collected, so it isn't made.
    fn owner_is_there(&self, resource: &Resource) -> Result<(), StoreError> {
        for owner in &resource.metadata().owner_references {
            let Some(kind) = kind_of(owner) else { continue };
            if !self.uids.contains_key(&owner.uid) {
                let namespace = resource.metadata().namespace.clone();
                return Err(StoreError::NotFound(ObjectKey { kind, namespace, name: owner.name.clone() }));
            }
        }
        Ok(())
    }

    fn update(&mut self, mut resource: Resource, deltas: &mut Vec<Delta>) -> Result<Outcome, StoreError> {
        name_namespace(&mut resource);
        validate::resource(&resource)?;
        let current = self.current(&resource)?;
        copy_status(&current, &mut resource);
        let spec_changed = !same_spec(&current, &resource);
        keep_immutable(current.metadata(), resource.metadata_mut(), current.key())?;
        if spec_changed && !current.kind().is_data() {
            resource.metadata_mut().generation += 1;
        }
        if *current == resource {
            return Ok(Outcome::Written(current, Applied::Unchanged));
        }
        let meta = resource.metadata();
        if meta.deletion_timestamp.is_some() && meta.finalizers.is_empty() {
            return Ok(Outcome::Written(self.take(current, deltas), Applied::Configured));
        }
        Ok(Outcome::Written(self.put(Some(current), resource, deltas), Applied::Configured))
    }

    fn update_status(&mut self, resource: Resource, deltas: &mut Vec<Delta>) -> Result<Outcome, StoreError> {
        let current = self.current(&resource)?;
        let mut changed = (*current).clone();
        copy_status(&resource, &mut changed);
        if *current == changed {
            return Ok(Outcome::Written(current, Applied::Unchanged));
        }
        Ok(Outcome::Written(self.put(Some(current), changed, deltas), Applied::Configured))
    }

    fn delete(&mut self, key: &ObjectKey, now: Timestamp, deltas: &mut Vec<Delta>) -> bool {
        let Some(current) = self.objects.get(key).cloned() else {
            return false;
        };
        let meta = current.metadata();
        if meta.finalizers.is_empty() {
            self.take(current, deltas);
        } else if meta.deletion_timestamp.is_none() {
            let mut marked = (*current).clone();
            marked.metadata_mut().deletion_timestamp = Some(now);
            self.put(Some(current), marked, deltas);
        }
        true
    }

    /// The object that `resource` is to replace, if it is the one its writer read.
    fn current(&self, resource: &Resource) -> Result<Arc<Resource>, StoreError> {
        let key = resource.key();
        let current = self.objects.get(&key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let (read, there) = (resource.metadata(), current.metadata());
        if !read.uid.is_empty() && read.uid != there.uid {
            return Err(StoreError::Conflict { key, detail: format!("it was deleted and made anew (uid {} now)", there.uid) });
        }
        if !read.resource_version.is_empty() && read.resource_version != there.resource_version {
            let detail = format!("it has changed (version {} now, not {}): read it again", there.resource_version, read.resource_version);
            return Err(StoreError::Conflict { key, detail });
        }
        Ok(current.clone())
    }

    fn put(&mut self, before: Option<Arc<Resource>>, mut after: Resource, deltas: &mut Vec<Delta>) -> Arc<Resource> {
        self.version += 1;
        after.metadata_mut().resource_version = self.version.to_string();
        let after = Arc::new(after);
        if let Some(before) = &before {
            self.remove(before);
        }
        self.insert(after.clone());
        deltas.push(Delta { before, after: Some(after.clone()), version: self.version });
        after
    }

    fn take(&mut self, object: Arc<Resource>, deltas: &mut Vec<Delta>) -> Arc<Resource> {
        self.version += 1;
        self.remove(&object);
        self.gone.insert(object.metadata().uid.clone(), None);
        deltas.push(Delta { before: Some(object.clone()), after: None, version: self.version });
        object
    }

    fn insert(&mut self, object: Arc<Resource>) {
        let (key, meta) = (object.key(), object.metadata());
        self.uids.insert(meta.uid.clone(), key.clone());
        for owner in &meta.owner_references {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, object: &Resource) {
        let (key, meta) = (object.key(), object.metadata());
        self.uids.remove(&meta.uid);
        for owner in &meta.owner_references {
            if let Some(children) = self.dependents.get_mut(&owner.uid) {
                children.remove(&key);
                if children.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        self.objects.remove(&key);
    }
}

/// The owner's kind, if a store keeps objects of it.
pub(crate) fn kind_of(owner: &OwnerReference) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == owner.kind && kind.api_version() == owner.api_version)
}

/// An empty namespace in a manifest means `default`.
fn name_namespace(resource: &mut Resource) {
    let meta = resource.metadata_mut();
    if meta.namespace.is_empty() {
        "default".clone_into(&mut meta.namespace);
    }
}

fn with_own(mut wanted: BTreeMap<String, String>, kept: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_kept = |key: &String| key.starts_with(OWN_PREFIX) && key != IMAGES_ANNOTATION;
    wanted.extend(kept.iter().filter(|(k, _)| is_kept(k)).map(|(k, v)| (k.clone(), v.clone())));
    wanted
}

/// What a writer can't change keeps its value; a try to change it is refused.
fn keep_immutable(there: &ObjectMeta, wanted: &mut ObjectMeta, key: ObjectKey) -> Result<(), StoreError> {
    let refuse = |detail: &str| Err(StoreError::Conflict { key: key.clone(), detail: detail.to_owned() });
    if wanted.creation_timestamp.is_some() && wanted.creation_timestamp != there.creation_timestamp {
        return refuse("metadata.creationTimestamp can't be changed");
    }
    if there.deletion_timestamp.is_some() && wanted.finalizers.iter().any(|f| !there.finalizers.contains(f)) {
        return refuse("it is being deleted, so it can't be given another finalizer");
    }
    wanted.uid.clone_from(&there.uid);
    wanted.resource_version.clone_from(&there.resource_version);
    wanted.generation = there.generation;
    wanted.creation_timestamp = there.creation_timestamp;
    wanted.deletion_timestamp = there.deletion_timestamp;
    Ok(())
}

fn clear_status(resource: &mut Resource) {
    match resource {
        Resource::Host(o) => o.status = Default::default(),
        Resource::Workload(o) => o.status = Default::default(),
        Resource::ReplicaSet(o) => o.status = Default::default(),
        Resource::Deployment(o) => o.status = Default::default(),
        Resource::Artifact(o) => o.status = Default::default(),
        Resource::ConfigMap(_) | Resource::Secret(_) => {}
    }
}

/// `to` is of the kind of `from`, as both have one key.
fn copy_status(from: &Resource, to: &mut Resource) {
    match (from, to) {
        (Resource::Host(from), Resource::Host(to)) => to.status.clone_from(&from.status),
        (Resource::Workload(from), Resource::Workload(to)) => to.status.clone_from(&from.status),
        (Resource::ReplicaSet(from), Resource::ReplicaSet(to)) => to.status.clone_from(&from.status),
        (Resource::Deployment(from), Resource::Deployment(to)) => to.status.clone_from(&from.status),
        (Resource::Artifact(from), Resource::Artifact(to)) => to.status.clone_from(&from.status),
        _ => {}
    }
}

fn same_spec(a: &Resource, b: &Resource) -> bool {
    match (a, b) {
        (Resource::Host(a), Resource::Host(b)) => a.spec == b.spec,
        (Resource::Workload(a), Resource::Workload(b)) => a.spec == b.spec,
        (Resource::ReplicaSet(a), Resource::ReplicaSet(b)) => a.spec == b.spec,
        (Resource::Deployment(a), Resource::Deployment(b)) => a.spec == b.spec,
        (Resource::Artifact(a), Resource::Artifact(b)) => a.spec == b.spec,
        (Resource::ConfigMap(a), Resource::ConfigMap(b)) => a.data == b.data,
        (Resource::Secret(a), Resource::Secret(b)) => a.data == b.data && a.kind == b.kind,
        _ => false,
    }
}
