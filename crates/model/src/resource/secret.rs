//! Kubernetes' Secret, which config layers and image pulls refer to.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::meta::ObjectMeta;

/// Values of a Secret, by key.
pub type SecretData = BTreeMap<String, SecretValue>;

/// A Secret. Its `Debug` shows keys alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// What it holds, in Kubernetes' words; [`Secret::OPAQUE`] says nothing of it.
    pub kind: String,
    /// The values.
    pub data: SecretData,
}

impl Secret {
    /// The type of a Secret that has none.
    pub const OPAQUE: &str = "Opaque";
    /// The type of a Secret with credentials for registries.
    pub const DOCKER_CONFIG: &str = "kubernetes.io/dockerconfigjson";
    /// The key that a Secret of type [`Secret::DOCKER_CONFIG`] has.
    pub const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";

    /// The same without its values: what anybody may be shown.
    pub fn withheld(mut self) -> Secret {
        self.data.values_mut().for_each(|value| *value = SecretValue::Withheld);
        self
    }
}

impl Default for Secret {
    fn default() -> Secret {
        Secret { metadata: ObjectMeta::default(), kind: Secret::OPAQUE.to_owned(), data: SecretData::new() }
    }
}

/// A value of a Secret: any bytes. In JSON it is base64, and null where it is withheld; its `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// The value.
    Known(Vec<u8>),
    /// There is a value, and who shows the Secret keeps it back.
    Withheld,
}

impl SecretValue {
    /// The value that this base64 stands for; line breaks in it don't count, as for Kubernetes. The error quotes nothing.
    pub fn from_base64(text: &str) -> Result<SecretValue, NotBase64> {
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        STANDARD.decode(text).map(SecretValue::Known).map_err(|_| NotBase64)
    }

    /// The value's bytes; none where it is withheld.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            SecretValue::Known(bytes) => Some(bytes),
            SecretValue::Withheld => None,
        }
    }

    /// The value as text; `None` if it is none, or withheld.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

impl From<&str> for SecretValue {
    fn from(text: &str) -> SecretValue {
        SecretValue::Known(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretValue, D::Error> {
        // By way of any value: what serde says of an unexpected one would quote it.
        match serde_json::Value::deserialize(deserializer).map_err(|_| D::Error::custom(NotBase64))? {
            serde_json::Value::Null => Ok(SecretValue::Withheld),
            serde_json::Value::String(text) => SecretValue::from_base64(&text).map_err(D::Error::custom),
            _ => Err(D::Error::custom(NotBase64)),
        }
    }
}

/// A value of a Secret isn't base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be base64 of the value; plain text is given as `stringData`")]
pub struct NotBase64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_in_no_debug_output_and_in_no_error() {
        let secret = Secret { data: [("key".to_owned(), "hunter2".into())].into(), ..Secret::default() };
        let text = format!("{secret:?} {:?}", crate::resource::Resource::Secret(secret.clone()));
        assert!(text.contains("key") && !text.contains("hunter2") && !text.contains("104"), "{text}");
        for json in [r#""hunter2!""#, "5432", r#"["hunter2"]"#, r#"{"hunter2": 5432}"#, "true"] {
            let error = serde_json::from_str::<SecretValue>(json).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("5432"), "{error}");
        }
    }

    #[test]
    fn a_withheld_value_is_null() {
        let secret = Secret { data: [("key".to_owned(), "hunter2".into())].into(), ..Secret::default() };
        assert_eq!(serde_json::to_string(&secret.data).unwrap(), r#"{"key":"aHVudGVyMg=="}"#);
        assert_eq!(serde_json::to_string(&secret.withheld().data).unwrap(), r#"{"key":null}"#);
        assert_eq!(serde_json::from_str::<SecretValue>("null").unwrap(), SecretValue::Withheld);
        assert_eq!(SecretValue::from_base64("aHVu\n dGVyMg==\n".replace(' ', "").as_str()).unwrap(), "hunter2".into());
    }
}
