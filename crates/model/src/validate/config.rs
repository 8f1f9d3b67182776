//! Config layers: values written in the manifest, then ConfigMaps, then Secrets; the last one wins.

use std::collections::BTreeMap;

use super::checker::Checker;
use super::names;
use crate::path::Path;
use crate::resource::LocalObjectReference;
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
        if let Some(values) = resolve(checker, Source::ConfigMap, &reference.name, &path.field("name")) {
            merged.extend(values.clone());
        }
    }
    for (index, reference) in secret_from.iter().enumerate() {
        let path = path.field("secretFrom");
        let path = path.index(index);
        if let Some(values) = resolve(checker, Source::Secret, &reference.name, &path.field("name")) {
            merged.extend(values.clone());
        }
    }
    merged
}

#[derive(Clone, Copy)]
pub(super) enum Source {
    ConfigMap,
    Secret,
}

/// The values under a reference; `None`, with a note if they should be there.
pub(super) fn resolve<'a>(checker: &mut Checker<'a>, source: Source, name: &str, path: &Path<'_>) -> Option<&'a Values> {
    names::object_name(checker, name, path);
    let lookup = checker.lookup?;
    let (kind, found) = match source {
        Source::ConfigMap => ("ConfigMap", lookup.config_map(checker.namespace, name)),
        Source::Secret => ("Secret", lookup.secret(checker.namespace, name)),
    };
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
