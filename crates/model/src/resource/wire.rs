//! Resources as JSON or YAML: `{apiVersion, kind, metadata, spec, status}`, a Host's fields and the data of ConfigMaps and Secrets beside
//! the metadata.
//!
//! For what Berth itself wrote, or a Kubernetes API server checked. Manifests from users go through [`crate::manifest`],
//! which says where a fault is.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ConfigMap, HostFields, Kind, Object, ObjectMeta, Resource, Secret, SecretData};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, S, T> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a ObjectMeta,
    spec: &'a S,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBeside<'a, S, T> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a ObjectMeta,
    #[serde(flatten)]
    beside: &'a S,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a T>,
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind();
        match self {
            Resource::Host(object) => {
                let status = (object.status != Default::default()).then_some(&object.status);
                beside(kind, &object.metadata, &object.spec, status).serialize(serializer)
            }
            Resource::ConfigMap(map) => {
                #[derive(Serialize)]
                struct Values<'a> {
                    data: &'a super::Labels,
                }
                beside::<_, ()>(kind, &map.metadata, &Values { data: &map.data }, None).serialize(serializer)
            }
            Resource::Secret(secret) => {
                #[derive(Serialize)]
                struct Values<'a> {
                    r#type: &'a str,
                    data: &'a SecretData,
                }
                beside::<_, ()>(kind, &secret.metadata, &Values { r#type: &secret.kind, data: &secret.data }, None).serialize(serializer)
            }
            Resource::Workload(object) => write(kind, object, serializer),
            Resource::ReplicaSet(object) => write(kind, object, serializer),
            Resource::Deployment(object) => write(kind, object, serializer),
            Resource::Artifact(object) => write(kind, object, serializer),
        }
    }
}

fn beside<'a, S, T>(kind: Kind, metadata: &'a ObjectMeta, beside: &'a S, status: Option<&'a T>) -> WrittenBeside<'a, S, T> {
    WrittenBeside { api_version: kind.api_version(), kind: kind.as_str(), metadata, beside, status }
}

/// A status that says nothing yet is left out.
fn write<S: Serialize, T: Serialize + Default + PartialEq, W: Serializer>(
    kind: Kind,
    object: &Object<S, T>,
    to: W,
) -> Result<W::Ok, W::Error> {
    let status = (object.status != T::default()).then_some(&object.status);
    Written { api_version: kind.api_version(), kind: kind.as_str(), metadata: &object.metadata, spec: &object.spec, status }.serialize(to)
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resource, D::Error> {
        let fields = Map::<String, Value>::deserialize(deserializer)?;
        read(fields).map_err(D::Error::custom)
    }
}

fn read(mut fields: Map<String, Value>) -> Result<Resource, String> {
    let api_version: String = take(&mut fields, "apiVersion")?;
    let name: String = take(&mut fields, "kind")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name && kind.api_version() == api_version);
    let kind = kind.ok_or_else(|| format!("no kind `{name}` of `{api_version}` is known"))?;
    Ok(match kind {
        Kind::Host => {
            let (metadata, status) = (take(&mut fields, "metadata")?, take_or_default(&mut fields, "status")?);
            let spec: HostFields = serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
            Resource::Host(Object { metadata, spec, status })
        }
        Kind::Workload => Resource::Workload(object(fields)?),
        Kind::WorkloadReplicaSet => Resource::ReplicaSet(object(fields)?),
        Kind::WorkloadDeployment => Resource::Deployment(object(fields)?),
        Kind::Artifact => Resource::Artifact(object(fields)?),
        Kind::ConfigMap => {
            Resource::ConfigMap(ConfigMap { metadata: take(&mut fields, "metadata")?, data: take_or_default(&mut fields, "data")? })
        }
        Kind::Secret => {
            let kind: String = take_or_default(&mut fields, "type")?;
            let kind = if kind.is_empty() { Secret::OPAQUE.to_owned() } else { kind };
            Resource::Secret(Secret { metadata: take(&mut fields, "metadata")?, kind, data: take_or_default(&mut fields, "data")? })
        }
    })
}

fn object<S: DeserializeOwned, T: DeserializeOwned + Default>(mut fields: Map<String, Value>) -> Result<Object<S, T>, String> {
    Ok(Object {
        metadata: take(&mut fields, "metadata")?,
        spec: take(&mut fields, "spec")?,
        status: take_or_default(&mut fields, "status")?,
    })
}

fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    let value = fields.remove(name).ok_or_else(|| format!("`{name}` is missing"))?;
    serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
}

fn take_or_default<T: DeserializeOwned + Default>(fields: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => serde_json::from_value(value).map_err(|error| format!("{name}: {error}")),
    }
}
