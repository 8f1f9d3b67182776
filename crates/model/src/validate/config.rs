//! Config layers: values written in the manifest, then ConfigMaps, then Secrets; the last one wins. What is said of a value names its
//! key and never quotes it, as it may come from a Secret.

use std::collections::BTreeMap;

use super::checker::Checker;
use super::names;
use crate::path::Path;
use crate::resource::{LocalObjectReference, SecretData};
use crate::text::quote;

type Values = BTreeMap<String, String>;

/// Merges one layer. Without lookup only the values written in the manifest are in the result.
pub(super) fn merge(
    checker: &mut Checker<'_>,
    config: &Values,
    config_from: &[LocalObjectReference],
    secret_from: &[LocalObjectReference],
    path: &Path<'_>,
) -> Values {
    let mut merged = config.clone();
    for (index, reference) in config_from.iter().enumerate() {
        let path = path.field("configFrom");
        let path = path.index(index);
        if let Some(values) = config_map(checker, &reference.name, &path.field("name")) {
            merged.extend(values.clone());
        }
    }
    for (index, reference) in secret_from.iter().enumerate() {
        let path = path.field("secretFrom");
        let path = path.index(index);
        let path = path.field("name");
        for (key, value) in secret(checker, &reference.name, &path).into_iter().flatten() {
            match value.text() {
                Some(text) => drop(merged.insert(key.clone(), text.to_owned())),
                None => checker.wrong(&path, format!("key `{}` of Secret `{}` isn't UTF-8 text", quote(key), quote(&reference.name))),
            }
        }
    }
    merged
}

/// The values of a ConfigMap; `None`, with a note if they should be there.
fn config_map<'a>(checker: &mut Checker<'a>, name: &str, path: &Path<'_>) -> Option<&'a Values> {
    names::object_name(checker, name, path);
    let found = checker.lookup?.config_map(checker.namespace, name);
    there(checker, found, "ConfigMap", name, path)
}

/// The values of a Secret; `None`, with a note if they should be there.
pub(super) fn secret<'a>(checker: &mut Checker<'a>, name: &str, path: &Path<'_>) -> Option<&'a SecretData> {
    names::object_name(checker, name, path);
    let found = checker.lookup?.secret(checker.namespace, name);
    there(checker, found, "Secret", name, path)
}

fn there<T>(checker: &mut Checker<'_>, found: Option<T>, kind: &str, name: &str, path: &Path<'_>) -> Option<T> {
    if found.is_none() {
        let message = format!("{kind} `{}` doesn't exist in namespace `{}`; create it first", quote(name), checker.namespace);
        checker.wrong(path, message);
    }
    found
}

/// Environment variables: names that POSIX can carry, values without NUL.
pub(super) fn environment(checker: &mut Checker<'_>, values: &Values, path: &Path<'_>) {
    for (name, value) in values {
        let name_ok = !name.is_empty() && !name.contains(['=', '\0']);
        checker.demand(name_ok, path, || format!("`{}` is not a variable's name: it must have a character, and no `=`", quote(name)));
        checker.demand(!value.contains('\0'), path, || {
            format!("the value of `{}` has a NUL character, which no variable can carry", quote(name))
        });
    }
}
