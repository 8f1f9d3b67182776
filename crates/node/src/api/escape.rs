//! Percent-encoding of path segments and query values (RFC 3986), as names come from a command line and may hold anything.

use std::fmt::Write;

/// `text` with all but unreserved characters encoded.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String can't fail");
        }
    }
    encoded
}

/// The text that was encoded; `None` when that was nothing valid.
pub(super) fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_is_a_path_segment() {
        for text in ["hello-1.x_~", "", "a b/c?d&e=%", "ünï\ncode", "%zz"] {
            let encoded = encode(text);
            assert!(format!("/v1/{encoded}").parse::<http::Uri>().is_ok(), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_not_encoded_text_is_refused() {
        for text in ["%", "%1", "%g0", "%+1", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
