//! Content digests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::text::{quote, serde_as_text};

const PREFIX: &str = "sha256:";
const HEX_LEN: usize = 64;

/// A SHA-256 digest, as OCI writes it: `sha256:` and 64 lower-case hex digits. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(format!("{PREFIX}{}", hex::encode(Sha256::digest(bytes))).into())
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The whole text: `sha256:...`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Digest, InvalidDigest> {
        match text.strip_prefix(PREFIX) {
            Some(hex) if hex.len() == HEX_LEN && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => Ok(Digest(text.into())),
            _ => Err(InvalidDigest { text: quote(text) }),
        }
    }
}

serde_as_text!(Digest);

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: it must be `sha256:` and 64 lower-case hex digits")]
pub struct InvalidDigest {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha_256_of_the_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").hex(), &empty[7..]);
    }

    #[test]
    fn other_algorithms_upper_case_and_wrong_lengths_are_refused() {
        let hex = Digest::of(b"").hex().to_owned();
        let upper = format!("sha256:{}", hex.to_uppercase());
        for text in ["", "sha256:", &hex, &format!("sha512:{hex}{hex}"), &upper, &format!("sha256:{hex}0"), "sha256:xyz"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_carries_a_digest_as_text() {
        let json = serde_json::to_string(&Digest::of(b"a")).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), Digest::of(b"a"));
        assert!(serde_json::from_str::<Digest>("\"sha256:0\"").is_err());
    }
}
