//! What a document is: a resource, a list of them, or something that Berth doesn't serve.

use serde::de::DeserializeOwned;

use super::decode::{self, Found, unknown_field};
use super::node::{Entry, Node, Value};
use super::{Document, Place, Problems, Taken};
use crate::path::Path;
use crate::resource::{API_VERSION, ConfigMap, GROUP, HostFields, Kind, Object, ObjectMeta, Resource, Secret, SecretData, SecretValue};
use crate::suggest::{closest, hint};
use crate::text::quote;

/// Every field of Kubernetes' ObjectMeta (meta/v1). Berth doesn't keep all of them, but none is a mistake.
const METADATA_FIELDS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Fields that a Host has beside its metadata.
const HOST_FIELDS: [&str; 4] = ["hostId", "hostname", "httpPort", "environment"];

/// Decodes a document, or each item of a list.
pub(super) fn decode(node: &Node, place: &Place, documents: &mut Vec<Taken>, problems: &mut Problems) {
    Reader { place, problems }.any(node, &Path::Root, documents);
}

struct Reader<'a> {
    place: &'a Place,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn problem(&mut self, field: impl ToString, line: u64, message: impl Into<String>) {
        self.problems.add(self.place.problem(field.to_string(), line, message.into()));
    }

    /// The line of the whole text at which a node begins; 0 when unknown.
    fn line(&self, node: &Node) -> u64 {
        self.place.line(node.line)
    }

    fn any(&mut self, node: &Node, path: &Path<'_>, documents: &mut Vec<Taken>) {
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("must be a map with `apiVersion`, `kind` and `metadata`, but is {}", node.describe());
            return self.problem(path, node.line, message);
        }
        if node.text("kind") == Some("List") {
            return self.list(node, path, documents);
        }
        // Both are asked for, so that both are reported.
        let api_version = self.head(node, path, "apiVersion", API_VERSION);
        let kind = self.head(node, path, "kind", Kind::WorkloadDeployment.as_str());
        let (Some(api_version), Some(kind)) = (api_version, kind) else { return };
        match served(api_version, kind) {
            Ok(Some(kind)) => {
                let resource = self.resource(kind, node, path).map(|resource| Document::Resource(Box::new(resource)));
                documents.extend(resource.map(|document| Taken { document, number: self.place.document, line: self.line(node) }));
            }
            Ok(None) => {
                let name = node.get("metadata").and_then(|metadata| metadata.value.text("name")).unwrap_or_default();
                let document = Document::Skipped { api_version: api_version.into(), kind: kind.into(), name: name.into() };
                documents.push(Taken { document, number: self.place.document, line: self.line(node) });
            }
            Err((field, message)) => {
                let line = node.get(field).map_or(node.line, |entry| entry.line);
                self.problem(path.field(field), line, message);
            }
        }
    }

    fn list(&mut self, node: &Node, path: &Path<'_>, documents: &mut Vec<Taken>) {
        let path = path.field("items");
        match node.get("items").map(|entry| &entry.value) {
            Some(Node { value: Value::List(items), .. }) => {
                for (index, item) in items.iter().enumerate() {
                    self.any(item, &path.index(index), documents);
                }
            }
            Some(other) => self.problem(path, other.line, format!("must be a list, but is {}", other.describe())),
            None => self.problem(path, node.line, "is missing: a `List` holds its objects there"),
        }
    }

    /// `apiVersion` or `kind`.
    fn head<'n>(&mut self, node: &'n Node, path: &Path<'_>, field: &str, example: &str) -> Option<&'n str> {
        match node.get(field) {
            Some(Entry { value: Node { value: Value::Text(text), .. }, .. }) if !text.is_empty() => Some(text),
            Some(entry) => {
                self.problem(path.field(field), entry.line, format!("must be text like `{example}`, but is {}", entry.value.describe()));
                None
            }
            None => {
                self.problem(path.field(field), node.line, format!("is missing: say what this is, like `{field}: {example}`"));
                None
            }
        }
    }

    fn resource(&mut self, kind: Kind, node: &Node, path: &Path<'_>) -> Option<Resource> {
        let before = (self.problems.listed.len(), self.problems.omitted);
        self.check_fields(kind, node, path);
        let metadata = self.metadata(kind, node, path).unwrap_or_default();
        let resource = match kind {
            Kind::Host => self.host(node, path).map(|spec| Resource::Host(object(metadata, spec))),
            Kind::Workload => self.spec(node, path).map(|spec| Resource::Workload(object(metadata, spec))),
            Kind::WorkloadReplicaSet => self.spec(node, path).map(|spec| Resource::ReplicaSet(object(metadata, spec))),
            Kind::WorkloadDeployment => self.spec(node, path).map(|spec| Resource::Deployment(object(metadata, spec))),
            Kind::Artifact => self.spec(node, path).map(|spec| Resource::Artifact(object(metadata, spec))),
            Kind::ConfigMap => {
                let data = match node.get("data") {
                    Some(entry) => self.part(entry, path)?,
                    None => Default::default(),
                };
                Some(Resource::ConfigMap(ConfigMap { metadata, data }))
            }
            Kind::Secret => {
                let kind = self.secret_type(node, path);
                let mut data = self.secret_values(node, path, "data", SecretValue::from_base64);
                data.extend(self.secret_values(node, path, "stringData", |text| Ok::<_, std::convert::Infallible>(text.into())));
                Some(Resource::Secret(Secret { metadata, kind, data }))
            }
        };
        resource.filter(|_| before == (self.problems.listed.len(), self.problems.omitted))
    }

    fn check_fields(&mut self, kind: Kind, node: &Node, path: &Path<'_>) {
        let mut known = vec!["apiVersion", "kind", "metadata"];
        match kind {
            Kind::ConfigMap => known.extend(["data", "binaryData", "immutable"]),
            Kind::Secret => known.extend(["type", "data", "stringData", "immutable"]),
            Kind::Host => known.extend(HOST_FIELDS.into_iter().chain(["status"])),
            _ => known.extend(["spec", "status"]),
        }
        self.check_known(node, path, &known);
    }

    fn check_known(&mut self, node: &Node, path: &Path<'_>, known: &[&str]) {
        let Value::Map(entries) = &node.value else { return };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.problem(path.field(&entry.key), entry.line, unknown_field(&entry.key, known.iter().copied()));
        }
    }

    fn metadata(&mut self, kind: Kind, node: &Node, path: &Path<'_>) -> Option<ObjectMeta> {
        let Some(entry) = node.get("metadata") else {
            self.problem(path.field("metadata"), node.line, format!("is missing: the {kind} needs a `name` there"));
            return None;
        };
        let path = path.field("metadata");
        self.check_known(&entry.value, &path, &METADATA_FIELDS);
        let (metadata, found) = decode::decode::<ObjectMeta>(&entry.value, &path, false);
        let name = path.field("name").to_string();
        let name_is_wrong = found.iter().any(|found| found.field == name);
        self.all(found);
        let metadata = metadata?;
        if metadata.name.is_empty() && !name_is_wrong {
            let message = match entry.value.get("generateName") {
                Some(_) => format!("is missing: names aren't generated, so give the {kind} one"),
                None => format!("is missing: the {kind} needs one"),
            };
            self.problem(name, entry.line, message);
        }
        Some(metadata)
    }

    fn spec<T: DeserializeOwned>(&mut self, node: &Node, path: &Path<'_>) -> Option<T> {
        match node.get("spec") {
            Some(entry) => self.part(entry, path),
            None => {
                self.problem(path.field("spec"), node.line, "is missing");
                None
            }
        }
    }

    fn secret_type(&mut self, node: &Node, path: &Path<'_>) -> String {
        match node.get("type") {
            None => Secret::OPAQUE.to_owned(),
            Some(Entry { value: Node { value: Value::Text(text), .. }, .. }) if !text.is_empty() => text.clone(),
            Some(entry) => {
                self.problem(path.field("type"), entry.line, format!("must be text like `{}`", Secret::OPAQUE));
                String::new()
            }
        }
    }

    /// Values of a Secret. No problem with them quotes one: what stands there may be a secret all the same.
    fn secret_values<E: std::fmt::Display>(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        field: &str,
        read: impl Fn(&str) -> Result<SecretValue, E>,
    ) -> SecretData {
        let mut values = SecretData::new();
        let Some(entry) = node.get(field) else { return values };
        let path = path.field(field);
        let Value::Map(entries) = &entry.value.value else {
            self.problem(path, entry.line, "must be a map from keys to values");
            return values;
        };
        for entry in entries {
            let read = match &entry.value.value {
                Value::Text(text) => read(text).map_err(|error| error.to_string()),
                Value::Null => Err("has no value; `berth get` withholds them, and `berth secret get --reveal` shows one".to_owned()),
                _ => Err("must be text; put quotes around it".to_owned()),
            };
            match read {
                Ok(value) => {
                    values.insert(entry.key.clone(), value);
                }
                Err(message) => self.problem(path.field(&entry.key), entry.line, message),
            }
        }
        values
    }

    /// A Host's fields, which stand beside its metadata.
    fn host(&mut self, node: &Node, path: &Path<'_>) -> Option<HostFields> {
        let entries = HOST_FIELDS.iter().filter_map(|field| node.get(field).cloned()).collect();
        let fields = Node { line: node.line, value: Value::Map(entries) };
        if fields.get("hostId").is_none() {
            self.problem(path.field("hostId"), node.line, "is missing");
            return None;
        }
        let (fields, found) = decode::decode(&fields, path, false);
        self.all(found);
        fields
    }

    /// A part of the object in which every field must be known.
    fn part<T: DeserializeOwned>(&mut self, entry: &Entry, parent: &Path<'_>) -> Option<T> {
        let (part, found) = decode::decode(&entry.value, &parent.field(&entry.key), true);
        self.all(found);
        part
    }

    fn all(&mut self, found: Vec<Found>) {
        for Found { field, line, message } in found {
            self.problem(field, line, message);
        }
    }
}

fn object<S, T: Default>(metadata: ObjectMeta, spec: S) -> Object<S, T> {
    Object { metadata, spec, status: T::default() }
}

/// The kind that Berth serves under this name, `None` where it serves none, or the field that is wrong and why.
fn served(api_version: &str, name: &str) -> Result<Option<Kind>, (&'static str, String)> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == name) else {
        if group != GROUP {
            return Ok(None);
        }
        let names: Vec<&str> = Kind::ALL.into_iter().filter(|k| k.api_version() == API_VERSION).map(Kind::as_str).collect();
        let hint = hint(name, names.iter().copied());
        return Err(("kind", format!("`{}` is no kind of {GROUP}; it has {}{hint}", quote(name), names.join(", "))));
    };
    if api_version == kind.api_version() {
        return Ok(Some(kind));
    }
    // Others have a Host, a Workload, an Artifact too, in groups of their own.
    let unmistakable = matches!(kind, Kind::WorkloadDeployment | Kind::WorkloadReplicaSet);
    let foreign = group.contains('.') && closest(group, [GROUP]).is_none();
    if foreign && !unmistakable {
        return Ok(None);
    }
    Err(("apiVersion", format!("must be `{}` for a {kind}, but is `{}`", kind.api_version(), quote(api_version))))
}
