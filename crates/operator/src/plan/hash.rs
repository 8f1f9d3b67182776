//! Hashes that name versions: of a canonical form, so that they depend on the value and on nothing else (L16).

use std::fmt::Write as _;

use berth_model::resource::{Secret, Template};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Hex digits of a short hash: 40 bits; a clash among the few versions of one deployment can be left out of account, and is
/// repaired like an edit if it comes.
const DIGITS: usize = 10;

/// The key of marks of Secrets: a plain hash of a short value, which is stored where anybody may read it, would let one guess the value.
/// Its `Debug` doesn't show it.
#[derive(Clone)]
pub struct MarkKey(hmac::Key);

impl MarkKey {
    /// A key of 32 secret bytes. Whoever keeps Secrets keeps these, so that marks outlast the process.
    pub fn of(bytes: &[u8; 32]) -> MarkKey {
        MarkKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// A key that goes with the process: after it, whatever refers to a Secret is made anew once.
    pub fn random() -> MarkKey {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("a system without random bytes runs no TLS either");
        MarkKey::of(&bytes)
    }

    /// A text that differs when the Secret's values do, and says nothing of them.
    pub(super) fn mark(&self, secret: &Secret) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        // Lengths keep neighbours apart.
        let mut update = |part: &[u8]| {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        };
        for (key, value) in &secret.data {
            update(key.as_bytes());
            update(value.bytes().unwrap_or_default());
        }
        hex::encode(context.sign())
    }
}

impl std::fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkKey(..)")
    }
}

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
    fn the_mark_of_a_secret_depends_on_its_values_and_on_a_key_that_nobody_is_shown() {
        let secret = |pairs: &[(&str, &str)]| Secret {
            data: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect(),
            ..Secret::default()
        };
        let key = MarkKey::of(&[7; 32]);
        let mark = key.mark(&secret(&[("a", "hunter2")]));
        assert_eq!(mark, key.mark(&secret(&[("a", "hunter2")])));
        for other in
            [secret(&[("a", "hunter3")]), secret(&[("b", "hunter2")]), secret(&[("ah", "unter2")]), secret(&[("a", "hunter2"), ("b", "")])]
        {
            assert_ne!(mark, key.mark(&other), "{other:?}");
        }
        assert_ne!(mark, MarkKey::of(&[8; 32]).mark(&secret(&[("a", "hunter2")])));
        assert_eq!(format!("{key:?}"), "MarkKey(..)");
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
