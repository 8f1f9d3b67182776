//! An object as the database keeps it: its JSON, in which values of Secrets are sealed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_model::resource::{ObjectKey, Resource};
use serde_json::Value;

use super::seal::{SealKey, Unopened};

/// What is wrong with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A value of a Secret doesn't open: its key, and why.
    Unopened(String, Unopened),
    /// It isn't what was written.
    Corrupt(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unopened(key, _) => {
                write!(f, "its value `{key}` isn't what was sealed for it; `berth secret discard` removes such a Secret")
            }
            Fault::Corrupt(detail) => f.write_str(detail),
        }
    }
}

/// The body of an object.
pub(super) fn write(object: &Resource, key: &SealKey) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let Resource::Secret(secret) = object else { return Ok(serde_json::to_string(object)?) };
    let mut body = serde_json::to_value(object)?;
    let meta = &secret.metadata;
    for (name, value) in &secret.data {
        let sealed = key.seal([&meta.namespace, &meta.name, name], value.bytes().unwrap_or_default())?;
        body["data"][name] = Value::String(sealed);
    }
    Ok(body.to_string())
}

/// The object of a body. Without a key no value of a Secret opens; one without values needs none.
pub(super) fn read(object: &ObjectKey, body: &str, key: Option<&SealKey>) -> Result<Resource, Fault> {
    let corrupt = |error: serde_json::Error| Fault::Corrupt(error.to_string());
    if object.kind != berth_model::resource::Kind::Secret {
        return serde_json::from_str(body).map_err(corrupt);
    }
    let mut body: Value = serde_json::from_str(body).map_err(corrupt)?;
    for (name, value) in body.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
        let unopened = |why| Fault::Unopened(name.clone(), why);
        let sealed = value.as_str().ok_or_else(|| unopened(Unopened::Damaged))?;
        let key = key.ok_or_else(|| unopened(Unopened::OtherKey))?;
        let opened = key.open([&object.namespace, &object.name, name], sealed).map_err(unopened)?;
        *value = Value::String(STANDARD.encode(opened));
    }
    // What serde says of a Secret may quote it.
    serde_json::from_value(body).map_err(|_| Fault::Corrupt("it isn't a Secret".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::resource::{ObjectMeta, Secret};

    #[test]
    fn a_body_holds_no_value_and_reads_back() {
        let metadata = ObjectMeta { name: "db".into(), namespace: "default".into(), ..ObjectMeta::default() };
        let data = [("a".to_owned(), "hunter2".into()), ("b".to_owned(), "".into())].into();
        let secret = Resource::Secret(Secret { metadata, data, ..Secret::default() });
        let key = SealKey::random().unwrap();
        let body = write(&secret, &key).unwrap();
        assert!(!body.contains("hunter2") && !body.contains(&STANDARD.encode("hunter2")), "{body}");
        assert_eq!(read(&secret.key(), &body, Some(&key)).unwrap(), secret);
        assert_eq!(read(&secret.key(), &body, None), Err(Fault::Unopened("a".into(), Unopened::OtherKey)));
        let other = ObjectKey { name: "other".into(), ..secret.key() };
        assert_eq!(read(&other, &body, Some(&key)), Err(Fault::Unopened("a".into(), Unopened::Damaged)));
        let clear = serde_json::to_string(&secret).unwrap();
        assert_eq!(
            read(&secret.key(), &clear, Some(&key)),
            Err(Fault::Unopened("a".into(), Unopened::Damaged)),
            "none was put in unsealed"
        );
    }
}
