//! The identity of a request in logs and downstream: the client's, or one made here.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest one taken from a client: longer than any UUID, trace id or ULID.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

/// The request's id: what the client sent, if that is one value of 1 to [`MAX_REQUEST_ID_BYTES`] letters, digits or any of `-_.:/+=`; else
/// a new one of 32 hexadecimal digits, which then replaces what there was. A made id is unique, but not a secret.
pub fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (given.next(), given.next())
        && is_well_formed(id.as_bytes())
    {
        return id.clone();
    }
    let id = make();
    headers.insert(REQUEST_ID, id.clone());
    id
}

fn is_well_formed(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(allowed)
}

thread_local! {
    /// Where this thread's ids begin, and how many it has made. Random beginnings of 64 bits keep threads and processes apart without a
    /// system call per request.
    static NEXT: Cell<(u64, u64)> = Cell::new((RandomState::new().hash_one(std::process::id()), RandomState::new().hash_one(0)));
}

fn make() -> HeaderValue {
    let (high, low) = NEXT.get();
    NEXT.set((high, low.wrapping_add(1)));
    let mut text = [0; 32];
    for (digit, shift) in text.iter_mut().zip((0..128).step_by(4).rev()) {
        let number = (u128::from(high) << 64) | u128::from(low);
        *digit = b"0123456789abcdef"[(number >> shift) as usize & 0xf];
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits make a header value")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id_of(given: &[&'static str]) -> (HeaderValue, HeaderMap) {
        let mut headers = HeaderMap::new();
        for id in given {
            headers.append(REQUEST_ID, HeaderValue::from_static(id));
        }
        (request_id(&mut headers), headers)
    }

    #[test]
    fn a_well_formed_id_is_kept() {
        for id in ["7", "0190163d-8694-739b-aea5-966c26f8ad91", "Root=1-67891233-abcdef012345678912345678"] {
            assert_eq!(id_of(&[id]).0, id);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        for given in [vec![], vec![""], vec!["a b"], vec!["a", "a"], vec!["x\"; drop"]] {
            let (id, headers) = id_of(&given);
            assert!(!given.contains(&id.to_str().expect("text")), "{given:?}");
            assert_eq!((id.len(), headers.get_all(REQUEST_ID).iter().collect::<Vec<_>>()), (32, vec![&id]));
        }
        assert!(is_well_formed(&[b'a'; MAX_REQUEST_ID_BYTES]));
        assert!(!is_well_formed(&[b'a'; MAX_REQUEST_ID_BYTES + 1]));
    }

    #[test]
    fn made_ids_differ_within_and_between_threads() {
        let make_some = || (0..1_000).map(|_| make()).collect::<Vec<_>>();
        let other = std::thread::spawn(make_some).join().expect("no panic");
        let ids: HashSet<_> = make_some().into_iter().chain(other).collect();
        assert_eq!(ids.len(), 2_000);
    }
}
