//! Kubernetes' rules for names, labels and annotations.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/> and `.../labels/`.

use std::collections::BTreeMap;

use super::checker::Checker;
use crate::path::Path;
use crate::text::quote;

/// All annotations of an object together, bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// Whether `text` is a DNS label (RFC 1123): 1 to 63 lower-case letters, digits and `-`, a letter or digit at both ends.
pub fn is_dns_label(text: &str) -> bool {
    is_label_of(text, 63)
}

/// Whether `text` is a DNS subdomain (RFC 1123): labels joined by dots, at most 253 characters. Kubernetes doesn't bound
/// the single labels of an object's name.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_label_of(label, 253))
}

fn is_label_of(text: &str, max: usize) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= max
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A label's value, or the name in its key.
fn is_label_text(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_text(name),
        None => is_label_text(key),
    }
}

/// An object's name, or a reference to one.
pub(super) fn object_name(checker: &mut Checker<'_>, name: &str, path: &Path<'_>) {
    if name.is_empty() {
        return checker.wrong(path, "is missing");
    }
    checker.demand(is_dns_subdomain(name), path, || {
        format!(
            "`{}` is not a name: it must be at most 253 lower-case letters, digits, `-` and `.`, a letter or digit at both ends",
            quote(name)
        )
    });
}

/// A DNS label, such as a namespace or a Service's name.
pub(super) fn dns_label(checker: &mut Checker<'_>, name: &str, path: &Path<'_>) {
    if name.is_empty() {
        return checker.wrong(path, "is missing");
    }
    checker.demand(is_dns_label(name), path, || {
        format!("`{}` is not a name: it must be at most 63 lower-case letters, digits and `-`, a letter or digit at both ends", quote(name))
    });
}

/// Labels, or a selector.
pub(super) fn labels(checker: &mut Checker<'_>, labels: &BTreeMap<String, String>, path: &Path<'_>) {
    for (key, value) in labels {
        let path = path.field(key);
        label_key(checker, key, &path);
        checker.demand(value.is_empty() || is_label_text(value), &path, || {
            let value = quote(value);
            format!(
                "`{value}` is not a label value: it must be at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
            )
        });
    }
}

/// Annotations: keys like a label's, values of any kind.
pub(super) fn annotations(checker: &mut Checker<'_>, annotations: &BTreeMap<String, String>, path: &Path<'_>) {
    for key in annotations.keys() {
        label_key(checker, key, &path.field(key));
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    checker.demand(size <= MAX_ANNOTATIONS, path, || format!("must have at most {MAX_ANNOTATIONS} bytes together, but have {size}"));
}

fn label_key(checker: &mut Checker<'_>, key: &str, path: &Path<'_>) {
    checker.demand(is_label_key(key), path, || {
        let key = quote(key);
        format!(
            "`{key}` is not a key: it must be `[prefix/]name`, the name at most 63 letters, digits, `-`, `_` and `.`, the prefix a DNS name"
        )
    });
}
