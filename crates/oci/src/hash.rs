//! The digest of bytes that come piece by piece.

use berth_model::digest::Digest;
use sha2::{Digest as _, Sha256};

/// What has come so far.
#[derive(Clone, Default)]
pub struct Hashing(Sha256);

impl Hashing {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all of it.
    pub fn finish(self) -> Digest {
        let hex: String = self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}").parse().expect("64 lower-case hex digits are a digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let mut hashing = Hashing::default();
        hashing.update(b"ab");
        hashing.update(b"");
        hashing.update(b"c");
        assert_eq!(hashing.finish(), Digest::of(b"abc"));
    }
}
