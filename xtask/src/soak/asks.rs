//! What clients ask for, and what a right answer is. Pure: nothing is sent here.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::ledger::Kind;
use super::workloads::{BAD, GUESTS, HELLO, Name, PASSING, Rolling, SETTINGS, STEADY};

const HELLO_TEXT: &[u8] = b"Hello from WASI 0.2!\n";
/// What a guest of WASI 0.3 says at `/`.
const STEADY_TEXT: &[u8] = b"Hello from WASI 0.3!\n";

/// One request and how to judge its answer.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its row in the book.
    pub kind: Kind,
    /// Which workload it is for.
    pub workload: Name,
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
    /// Its body.
    pub body: Payload,
    /// What the answer must be.
    expect: Expect,
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// In one piece, with its length told.
    Whole(Bytes),
    /// In pieces, without a length.
    Pieces(Bytes),
    /// In pieces, and then the client breaks off.
    BrokenOff(Bytes),
}

/// An answer as far as it is judged.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

#[derive(Clone, Debug)]
enum Expect {
    /// 200 with exactly this body.
    Body(Bytes),
    /// 200 with this body, or 404 since nobody serves the domain.
    BodyOrGone(Bytes),
    /// 200 with a body of so many bytes.
    Length(usize),
    /// 200 with a version that may answer; none older than this one.
    Version { rolling: Arc<Rolling>, oldest: u64 },
    /// 200, however long the body.
    Status,
    /// A status of the 500s.
    Refusal,
    /// Whatever comes; it must only end.
    Any,
}

/// Makes requests for the workloads, at random.
#[derive(Clone)]
pub struct Asker {
    /// The workload whose environment changes.
    pub settings: Arc<Rolling>,
    /// The workload whose component changes.
    pub guests: Arc<Rolling>,
}

impl Asker {
    /// A request that berth must answer well.
    pub fn good(&self, rng: &mut fastrand::Rng) -> Ask {
        match rng.u32(0..100) {
            0..25 => get(Kind::Hello, HELLO, "/", Expect::Body(Bytes::from_static(HELLO_TEXT))),
            25..32 => get(Kind::Hello, STEADY, "/", Expect::Body(Bytes::from_static(STEADY_TEXT))),
            32..60 => {
                let rolling = self.rolling(rng);
                let expect = Expect::Version { oldest: rolling.oldest(), rolling: rolling.clone() };
                get(Kind::Version, rolling.name, "/env", expect)
            }
            60..78 => echo(any_workload(rng), rng),
            78..84 => {
                let (chunks, size) = (rng.usize(1..20), rng.usize(1..20_000));
                let path = format!("/stream?chunks={chunks}&size={size}&ms={}", rng.u32(0..3));
                get(Kind::Stream, any_workload(rng), &path, Expect::Length(chunks * size))
            }
            84..88 => get(Kind::Log, any_workload(rng), &format!("/log?lines={}", rng.u32(1..20)), Expect::Status),
            88..94 => leave(any_workload(rng), rng),
            _ => get(Kind::Passing, PASSING, "/", Expect::BodyOrGone(Bytes::from_static(HELLO_TEXT))),
        }
    }

    /// One request per workload that must answer after a start: when all are answered, berth serves again.
    pub fn probes(&self) -> Vec<Ask> {
        let rolling = [&self.settings, &self.guests].map(|rolling| {
            let expect = Expect::Version { oldest: rolling.oldest(), rolling: rolling.clone() };
            get(Kind::Version, rolling.name, "/env", expect)
        });
        let steady = [(HELLO, HELLO_TEXT), (STEADY, STEADY_TEXT)];
        let steady = steady.map(|(name, text)| get(Kind::Hello, name, "/", Expect::Body(Bytes::from_static(text))));
        steady.into_iter().chain(rolling).collect()
    }

    fn rolling(&self, rng: &mut fastrand::Rng) -> &Arc<Rolling> {
        if rng.bool() { &self.settings } else { &self.guests }
    }
}

/// A request that makes a guest misbehave.
pub fn fault(rng: &mut fastrand::Rng) -> Ask {
    const ROUTES: [(&str, Expect); 9] = [
        ("/trap", Expect::Refusal),
        ("/spin", Expect::Refusal),
        ("/alloc?mb=64", Expect::Refusal),
        ("/recurse", Expect::Refusal),
        ("/exit?fail=1", Expect::Refusal),
        ("/never", Expect::Refusal),
        ("/drop", Expect::Refusal),
        ("/trap-after-head", Expect::Any),
        ("/logflood?mb=1", Expect::Any),
    ];
    let (path, expect) = ROUTES[rng.usize(..ROUTES.len())].clone();
    get(Kind::Fault, BAD[rng.usize(..BAD.len())], path, expect)
}

/// The passing workload's answer while it is there.
pub fn passing_here() -> Ask {
    get(Kind::Passing, PASSING, "/", Expect::Body(Bytes::from_static(HELLO_TEXT)))
}

fn any_workload(rng: &mut fastrand::Rng) -> Name {
    [STEADY, SETTINGS, GUESTS][rng.usize(..3)]
}

fn get(kind: Kind, workload: Name, path: &str, expect: Expect) -> Ask {
    Ask { kind, workload, method: Method::GET, path: path.to_owned(), body: Payload::Whole(Bytes::new()), expect }
}

fn echo(workload: Name, rng: &mut fastrand::Rng) -> Ask {
    // Mostly small; some fill several buffers, few are larger than any.
    let length = match rng.u32(0..20) {
        0..14 => rng.usize(..4 << 10),
        14..19 => rng.usize(..128 << 10),
        _ => rng.usize(..2 << 20),
    };
    let content = noise(length, rng);
    let body = if rng.bool() { Payload::Whole(content.clone()) } else { Payload::Pieces(content.clone()) };
    Ask { kind: Kind::Echo, workload, method: Method::POST, path: "/echo".into(), body, expect: Expect::Body(content) }
}

fn leave(workload: Name, rng: &mut fastrand::Rng) -> Ask {
    match rng.u32(0..3) {
        0 => get(Kind::Leave, workload, "/stream?chunks=1000&size=1024&ms=5", Expect::Status),
        1 => get(Kind::Leave, workload, "/sleep?ms=3000", Expect::Any),
        _ => {
            let body = Payload::BrokenOff(noise(40 << 10, rng));
            Ask { kind: Kind::Leave, workload, method: Method::POST, path: "/echo".into(), body, expect: Expect::Any }
        }
    }
}

fn noise(length: usize, rng: &mut fastrand::Rng) -> Bytes {
    let mut content = vec![0; length];
    rng.fill(&mut content);
    content.into()
}

impl Ask {
    /// Whether the answer may break off.
    pub fn may_break(&self) -> bool {
        matches!(self.expect, Expect::Any)
    }

    /// Judges the answer.
    pub fn judge(&self, answer: &Answer) -> Result<(), String> {
        let status = answer.status.as_u16();
        match &self.expect {
            Expect::Any => return Ok(()),
            Expect::Refusal if status >= 500 => return Ok(()),
            Expect::BodyOrGone(_) if status == 404 => return Ok(()),
            _ if status == 200 => {}
            _ => return Err(format!("answered {status}: {}", start_of(&answer.body))),
        }
        match &self.expect {
            Expect::Any | Expect::Status => Ok(()),
            Expect::Refusal => Err("answered 200, and the guest can't have".to_owned()),
            Expect::Body(body) | Expect::BodyOrGone(body) => same(body, &answer.body),
            Expect::Length(length) if answer.body.len() == *length => Ok(()),
            Expect::Length(length) => Err(format!("answered {} bytes instead of {length}", answer.body.len())),
            Expect::Version { rolling, oldest } => {
                let guest = answer.headers.get("x-guest").and_then(|value| value.to_str().ok()).unwrap_or_default();
                let version = version(&answer.body).ok_or_else(|| format!("told no VERSION: {}", start_of(&answer.body)))?;
                rolling.judge(guest, version, *oldest)
            }
        }
    }
}

/// VERSION in what `/env` answers.
fn version(body: &[u8]) -> Option<u64> {
    let environment: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    environment.get("VERSION")?.as_str()?.parse().ok()
}

fn same(expected: &[u8], came: &[u8]) -> Result<(), String> {
    if expected == came {
        return Ok(());
    }
    let at = expected.iter().zip(came).take_while(|(a, b)| a == b).count();
    Err(format!("the body differs from byte {at} on; {} bytes came instead of {}", came.len(), expected.len()))
}

fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, guest: &str, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-guest", guest.parse().expect("it is right"));
        Answer { status: StatusCode::from_u16(status).expect("it is right"), headers, body: body.into() }
    }

    #[test]
    fn a_body_must_come_back_byte_by_byte() {
        let ask = echo(STEADY, &mut fastrand::Rng::with_seed(1));
        let Expect::Body(body) = ask.expect.clone() else { panic!("{ask:?}") };
        assert_eq!(ask.judge(&Answer { body: body.clone(), ..Answer::default() }), Ok(()));
        let mut wrong = body.to_vec();
        wrong[3] ^= 1;
        let error = ask.judge(&Answer { body: wrong.into(), ..Answer::default() }).expect_err("it is wrong");
        assert!(error.starts_with("the body differs from byte 3 on"), "{error}");
        assert!(ask.judge(&Answer { body: body.slice(1..), ..Answer::default() }).is_err());
    }

    #[test]
    fn only_the_passing_workload_may_be_gone() {
        assert_eq!(get(Kind::Passing, PASSING, "/", Expect::BodyOrGone(Bytes::new())).judge(&answer(404, "", "none")), Ok(()));
        let error = passing_here().judge(&answer(404, "", "no workload\n serves")).expect_err("it is wrong");
        assert_eq!(error, "answered 404: no workload serves");
    }

    #[test]
    fn a_version_is_read_and_judged_with_its_guest() {
        let rolling = Arc::new(Rolling::new(SETTINGS, ["p2", "p2"]));
        let ask = get(Kind::Version, SETTINGS, "/env", Expect::Version { oldest: 0, rolling });
        assert_eq!(ask.judge(&answer(200, "p2", r#"{"VERSION":"0"}"#)), Ok(()));
        assert!(ask.judge(&answer(200, "p2", r#"{"VERSION":"1"}"#)).is_err());
        assert!(ask.judge(&answer(200, "p2", "{}")).expect_err("it is wrong").starts_with("told no VERSION"));
        assert!(ask.judge(&answer(503, "p2", "")).is_err());
    }

    #[test]
    fn a_guest_at_fault_is_refused_with_a_status_of_the_500s() {
        let ask = get(Kind::Fault, BAD[0], "/trap", Expect::Refusal);
        assert_eq!(ask.judge(&answer(500, "", "")), Ok(()));
        assert!(ask.judge(&answer(200, "", "")).is_err() && ask.judge(&answer(404, "", "")).is_err());
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let rolling = |name| Arc::new(Rolling::new(name, ["p2", "p2"]));
        let asker = Asker { settings: rolling(SETTINGS), guests: rolling(GUESTS) };
        let asks = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..500).map(|_| asker.good(&mut rng)).map(|ask| format!("{} {}", ask.workload.0, ask.path)).collect::<Vec<_>>()
        };
        assert_eq!(asks(3), asks(3));
        assert_ne!(asks(3), asks(4));
    }
}
