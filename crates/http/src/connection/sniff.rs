//! Tells HTTP/2 with prior knowledge (RFC 9113 section 3.3) from HTTP/1 by a cleartext connection's first bytes.

/// What every HTTP/2 client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    Http1,
    Http2,
    /// Both are still possible.
    More,
}

pub(super) fn sniff(start: &[u8]) -> Sniffed {
    if start.starts_with(PREFACE) {
        Sniffed::Http2
    } else if PREFACE.starts_with(start) {
        Sniffed::More
    } else {
        Sniffed::Http1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2_and_every_part_of_it_may_become_so() {
        for length in 0..PREFACE.len() {
            assert_eq!(sniff(&PREFACE[..length]), Sniffed::More);
        }
        assert_eq!(sniff(PREFACE), Sniffed::Http2);
        assert_eq!(sniff(&[PREFACE, b"\0\0\0"].concat()), Sniffed::Http2);
    }

    #[test]
    fn methods_that_share_letters_with_the_preface_are_http1() {
        for request in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n", "PRI /x HTTP/1.1\r\n", "\r\nGET"] {
            assert_eq!(sniff(request.as_bytes()), Sniffed::Http1, "{request:?}");
        }
    }
}
