//! Header hygiene between hops: what belongs to one connection goes no further (L52), what describes the client is written by Berth and
//! not taken from the client, and every request has an identity.

mod forwarding;
mod hop_by_hop;
mod request_id;

pub use forwarding::{Forwarding, forward};
pub use hop_by_hop::{strip_request, strip_response, upgrade};
pub use request_id::{MAX_REQUEST_ID_BYTES, REQUEST_ID, request_id};
