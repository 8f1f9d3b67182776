//! Values of ConfigMaps and Secrets, one by one: set, removed, and of Secrets nowhere shown but here.

use std::collections::BTreeMap;

use berth_model::resource::{ConfigMap, Kind, ObjectKey, ObjectMeta, Resource, Secret, SecretData, SecretValue};
use berth_operator::store::{Store, StoreError};

use super::error::{ApiError, Code};
use super::routes::missing;
use super::types::{Change, EditValues, Outcome, ResourceRef, Revealed};

/// Times that a change is tried, as the object may be changed in between. Of changes at once one succeeds each time, and there are no more
/// at once than connections: 64.
const TRIES: usize = 64;

/// Where `kubectl apply` keeps what it was given: of a Secret, its values in the clear.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A resource as anybody who may list it sees it: a Secret's values are withheld.
pub(super) fn shown(resource: Resource) -> Resource {
    match resource {
        Resource::Secret(secret) => Resource::Secret(secret.withheld()),
        other => other,
    }
}

/// Takes from a Secret's annotations what repeats its values: those are kept sealed, and annotations aren't.
pub(super) fn forget_copies(resource: &mut Resource) {
    if let Resource::Secret(secret) = resource {
        secret.metadata.annotations.remove(LAST_APPLIED);
    }
}

/// The key of an object that has values.
pub(super) fn key(kind: Kind, namespace: &str, name: &str) -> Result<ObjectKey, ApiError> {
    if !kind.is_data() {
        return Err(ApiError::new(Code::BadRequest, format!("a {kind} has no values")));
    }
    Ok(ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

/// One value.
pub(super) async fn reveal(store: &dyn Store, object: &ObjectKey, key: &str) -> Result<Revealed, ApiError> {
    let ObjectKey { kind, namespace, name } = object;
    let found = store.get(object).await?.ok_or_else(|| missing(*kind, namespace, name))?;
    let value = match &found {
        Resource::Secret(secret) => secret.data.get(key).cloned(),
        Resource::ConfigMap(map) => map.data.get(key).map(|text| text.as_str().into()),
        _ => None,
    };
    if *kind == Kind::Secret {
        tracing::info!(namespace, secret = name, key, found = value.is_some(), "a value of a Secret was asked for");
    }
    value.map(|value| Revealed { value }).ok_or_else(|| no_key(object, key))
}

/// Makes a change, and makes the object where there is none and something is set.
pub(super) async fn edit(store: &dyn Store, object: ObjectKey, edit: EditValues) -> Result<Change, ApiError> {
    for _ in 1..TRIES {
        match once(store, &object, &edit).await {
            Err(error) if error.code == Code::Conflict => {}
            done => return done,
        }
    }
    once(store, &object, &edit).await
}

async fn once(store: &dyn Store, object: &ObjectKey, edit: &EditValues) -> Result<Change, ApiError> {
    let found = store.get(object).await?;
    if found.is_none() && edit.set.is_empty() {
        return Err(missing(object.kind, &object.namespace, &object.name));
    }
    let is_new = found.is_none();
    let before = found.unwrap_or_else(|| empty(object));
    let after = changed(before.clone(), object, edit)?;
    let (stored, outcome) = match () {
        () if is_new => (store.create(after).await?, Outcome::Created),
        () if after == before => (after, Outcome::Unchanged),
        () => match store.update(after).await {
            // Made anew by the next try.
            Err(StoreError::NotFound(_)) => return Err(ApiError::new(Code::Conflict, format!("{object} was deleted meanwhile"))),
            stored => (stored?, Outcome::Configured),
        },
    };
    let ObjectKey { kind, namespace, name } = object.clone();
    Ok(Change { object: ResourceRef { kind, namespace, name }, outcome, generation: stored.metadata().generation, error: None })
}

fn empty(object: &ObjectKey) -> Resource {
    let metadata = ObjectMeta { name: object.name.clone(), namespace: object.namespace.clone(), ..ObjectMeta::default() };
    match object.kind {
        Kind::Secret => Resource::Secret(Secret { metadata, ..Secret::default() }),
        _ => Resource::ConfigMap(ConfigMap { metadata, data: BTreeMap::new() }),
    }
}

/// The object with the change made.
fn changed(mut resource: Resource, object: &ObjectKey, edit: &EditValues) -> Result<Resource, ApiError> {
    match &mut resource {
        Resource::Secret(secret) => {
            change(&mut secret.data, edit.set.clone(), object, edit)?;
            if let Some(kind) = &edit.secret_type {
                secret.kind.clone_from(kind);
            }
        }
        Resource::ConfigMap(map) => change(&mut map.data, texts(&edit.set, object)?, object, edit)?,
        _ => return Err(ApiError::new(Code::Internal, format!("{object} has no values"))),
    }
    Ok(resource)
}

fn change<T>(data: &mut BTreeMap<String, T>, set: BTreeMap<String, T>, object: &ObjectKey, edit: &EditValues) -> Result<(), ApiError> {
    for key in &edit.remove {
        if data.remove(key).is_none() && !edit.ignore_missing {
            return Err(no_key(object, key));
        }
    }
    if edit.replace {
        data.clear();
    }
    data.extend(set);
    Ok(())
}

fn texts(set: &SecretData, object: &ObjectKey) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |(key, value): (&String, &SecretValue)| {
        let text = value.text().ok_or_else(|| {
            let message = format!("the value of `{key}` isn't UTF-8 text, and {object} holds text: put it into a Secret");
            ApiError::new(Code::Invalid, message)
        });
        Ok((key.clone(), text?.to_owned()))
    };
    set.iter().map(text).collect()
}

fn no_key(object: &ObjectKey, key: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("{object} has no key `{key}`"))
}
