//! Hashes that name versions: of a canonical form, so that they depend on the value and on nothing else (L16).

use std::fmt::Write as _;

use berth_model::resource::Template;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Hex digits of a short hash: 40 bits; a clash among the few versions of one deployment can be left out of account, and is
/// repaired like an edit if it comes.
const DIGITS: usize = 10;

/// The short hash of a template.
pub(super) fn template(template: &Template) -> String {
    let value = serde_json::to_value(template).expect("a template has only string keys and finite numbers");
    let mut text = String::new();
    canonical(&value, &mut text);
    short(text.as_bytes())
}

/// The first digits of the SHA-256 of `bytes`, lower-case hex.
pub(super) fn short(bytes: &[u8]) -> String {
    let mut text = hex::encode(Sha256::digest(bytes));
    text.truncate(DIGITS);
    text
}

/// Writes `value` with sorted keys, without white space, and without members that are null.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, v)| !v.is_null()).collect();
            members.sort_by_key(|(k, _)| k.as_str());
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                separate(i, out);
                // Infallible: writing to a String.
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                separate(i, out);
                canonical(item, out);
            }
            out.push(']');
        }
        simple => {
            let _ = write!(out, "{simple}");
        }
    }
}

fn separate(i: usize, out: &mut String) {
    if i > 0 {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l16_the_canonical_form_ignores_order_of_members_and_nulls() {
        let canonical_of = |text: &str| {
            let mut out = String::new();
            canonical(&serde_json::from_str(text).unwrap(), &mut out);
            out
        };
        assert_eq!(canonical_of(r#"{"b": [1, {"d": null, "c": "x"}], "a": true}"#), r#"{"a":true,"b":[1,{"c":"x"}]}"#);
        assert_eq!(canonical_of(r#"{"a": true, "b": [1, {"c": "x"}]}"#), canonical_of(r#"{"b": [1, {"c": "x"}], "a": true}"#));
    }

    #[test]
    fn l16_a_template_keeps_its_hash_across_releases() {
        // A constant on purpose: a release that hashes differently rolls every deployment of every user.
        let value = r#"{"labels":{"app":"a"},"spec":{"components":[{"name":"main","image":"file:a.wasm","poolSize":2}]}}"#;
        assert_eq!(template(&serde_json::from_str(value).unwrap()), short(canonical_example().as_bytes()));
    }

    fn canonical_example() -> &'static str {
        r#"{"labels":{"app":"a"},"spec":{"components":[{"image":"file:a.wasm","name":"main","poolSize":2}]}}"#
    }
}
