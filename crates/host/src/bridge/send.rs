//! One call from a component to a sibling.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_http::headers;
use futures::future::FusedFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::{self, Left, ResponseBody, Unread, beside};
use super::chain::{Call, Chain, MAX_AT_ONCE};
use super::code;
use super::counted::CountedCall;
use super::link::By;
use super::names::{DOMAIN, Sibling, sibling};
use super::{Processed, Sent, Siblings};
use crate::admission::Permit;
use crate::egress::{Asker, Denied};
use crate::invoke::failure::Failure;
use crate::invoke::fate::Fate;
use crate::invoke::{Entry, Job, Wires, invoke};
use crate::logs::Stream;
use crate::metrics::Ended;

/// Callees are cut at the deadline by themselves, and tell why; this much later a caller waits no more for one that couldn't begin.
const SLACK: Duration = Duration::from_millis(100);

/// A caller: the component, and the request that it works for.
pub(crate) struct Caller {
    pub(crate) asker: Arc<Asker>,
    pub(crate) call: Arc<Call>,
}

impl Caller {
    /// Calls the sibling, at most until the deadline of the request that the caller works for, and of the callee's own time.
    pub(crate) async fn send(
        self,
        by: By,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        processed: Processed,
    ) -> Sent {
        let (entry, counted, admitted) = match self.begin(by, request.uri()).await {
            Ok(begun) => begun,
            Err(error) => {
                body::discard_refused(by, request.into_body());
                return Err(error);
            }
        };
        let bodyless = request.body().is_end_stream();
        let (left, mut unread) = body::rest(by, request.body());
        let (job, received) = self.job(&entry, (request, left), processed, admitted);
        match self.answer(&entry, job, counted, options, &mut unread).await {
            Ok(response) => Ok((response, transmitted(bodyless, received, unread))),
            Err(error) => {
                body::discard_rest(unread);
                Err(error)
            }
        }
    }

    /// What the callee answers; its head, that is: the body comes while it is read.
    async fn answer(
        &self,
        entry: &Arc<Entry>,
        job: Job,
        counted: CountedCall,
        options: Option<RequestOptions>,
        unread: &mut Unread,
    ) -> Result<http::Response<WasiBody>, Error> {
        let shares_deadline = job.deadline == self.call.deadline;
        let patience = Patience {
            deadline: job.deadline + SLACK,
            first_byte: options.as_ref().and_then(|o| o.first_byte_timeout).and_then(|limit| Instant::now().checked_add(limit)),
            gone: self.call.gone.as_ref(),
        };
        let ended_with = Patience { first_byte: None, ..patience };
        // Pinned here and waited for by reference: who waits for it would hold it twice, and its bytes are copied with every move.
        let call = std::pin::pin!(invoke(entry, job));
        let response = match beside(unread, patience.wait(call)).await {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => {
                counted.end(failure.ended());
                if matches!(failure, Failure::Deadline(_)) && shares_deadline {
                    // The caller's own time is over too, and it is cut: it doesn't get to answer for itself.
                    let _ = ended_with.wait(std::future::pending::<()>()).await;
                }
                return Err(code::of_failure(failure));
            }
            Err(error) => {
                counted.end(if matches!(error, Error::ConnectionTerminated) { Ended::Cancelled } else { Ended::Timeout });
                return Err(error);
            }
        };
        let (mut parts, body) = response.into_parts();
        headers::strip_response(&mut parts.headers);
        let how = Ended::Answered((parts.status.as_u16() / 100) as u8);
        let between = options.as_ref().and_then(|o| o.between_bytes_timeout);
        let gone = self.call.gone.clone().map(CancellationToken::cancelled_owned);
        let body = ResponseBody::new(body, (counted, how), between, gone).boxed_unsync();
        Ok(http::Response::from_parts(parts, body))
    }

    /// The component that is meant, the call in the figures, and the right to make it.
    async fn begin(&self, by: By, uri: &http::Uri) -> Result<(Arc<Entry>, CountedCall, (Chain, Permit)), Error> {
        // Weak, so that components don't keep their workload: one that is gone has no siblings. While the call runs its callee holds what
        // it needs, and the workload may go.
        let siblings = self.asker.component.siblings.upgrade().ok_or(Error::ConnectionTerminated)?;
        let entry = self.find(&siblings, by, uri)?;
        let counted = CountedCall::new(&self.asker.component.metrics);
        match self.admit(&siblings, &entry).await {
            Ok(admitted) => Ok((entry, counted, admitted)),
            Err(error) => {
                counted.end(Ended::Refused);
                Err(error)
            }
        }
    }

    /// The component that is meant; an error, told, where there is none.
    fn find(&self, siblings: &Siblings, by: By, uri: &http::Uri) -> Result<Arc<Entry>, Error> {
        if by == By::Handler {
            // A workload without one doesn't start.
            return siblings.handler_of(&self.asker.component.name).cloned().ok_or(Error::ConfigurationError);
        }
        let name = match sibling(uri) {
            Some(Sibling::Named(name)) => name,
            Some(Sibling::NotPlain) => {
                let way = format!("components are called by http://<component>.{DOMAIN}, without a port");
                self.asker.deny(Denied::Http, &format!("request to {uri} denied: {way}"));
                return Err(Error::HttpRequestDenied);
            }
            None => return Err(Error::HttpRequestUriInvalid),
        };
        siblings.named(name).cloned().ok_or_else(|| {
            self.asker.deny(Denied::Http, &nobody(name, siblings));
            Error::HttpRequestDenied
        })
    }

    /// The right to call: not too deep, not too many for one request, and with a slot.
    async fn admit(&self, siblings: &Siblings, entry: &Entry) -> Result<(Chain, Permit), Error> {
        let callee = &entry.component;
        let chain = self.call.deeper(&self.asker.component.name, &callee.name).map_err(|deep| {
            self.tell("CallDepth", &format!("call to {} refused: {deep}", callee.name));
            Error::LoopDetected
        })?;
        let branch = self.call.branch().ok_or_else(|| {
            self.tell("CallLimit", &format!("call to {} refused: its request has {MAX_AT_ONCE} calls in flight already", callee.name));
            Error::ConnectionLimitReached
        })?;
        let until = self.call.deadline.min(Instant::now() + callee.limits.queue_timeout);
        let permit = siblings.calls.admit(branch, chain.depth(), until.into()).await;
        let permit = permit.ok_or_else(|| {
            self.tell("CallLimit", &format!("call to {} refused: the host has no slot for it, and none came free in time", callee.name));
            Error::ConnectionLimitReached
        })?;
        Ok((chain, Permit::Call { _permit: permit }))
    }

    fn tell(&self, reason: &str, message: &str) {
        let component = &self.asker.component;
        if component.warn(reason, format!("component {}: {message}", component.name)) {
            component.log.write(&component.name, self.asker.request(), Stream::Host, message);
        }
    }

    fn job(
        &self,
        entry: &Entry,
        (mut request, left): (http::Request<WasiBody>, Option<Left>),
        processed: Processed,
        (chain, permit): (Chain, Permit),
    ) -> (Job, Received) {
        let limits = &entry.component.limits;
        make_ready(&mut request, &entry.component.name);
        let id = self.call.id.clone();
        request.headers_mut().insert(headers::REQUEST_ID, id.header());
        let (done, received) = oneshot::channel();
        let now = Instant::now();
        let deadline = self.call.deadline.min(now + limits.request_timeout);
        let writer = self.call.fate.clone();
        let job = Job {
            request: request.map(|body| body::request(body, writer, limits.max_request_body_bytes, left)),
            id,
            deadline,
            time: deadline.saturating_duration_since(now),
            permit: Some(permit),
            chain,
            wires: Some(Wires { processed: Box::into_pin(processed), received: done }),
        };
        (job, received)
    }
}

/// What a guest is told that calls a component which isn't there, or doesn't answer HTTP.
fn nobody(name: &str, siblings: &Siblings) -> String {
    let (answer, mute) = siblings.list();
    let there = if answer.is_empty() {
        "none of its components answers HTTP".to_owned()
    } else {
        format!("those that answer HTTP are {}", answer.join(", "))
    };
    if mute.iter().any(|mute| mute.eq_ignore_ascii_case(name)) {
        format!("request to http://{name}.{DOMAIN} denied: component {name} exports no HTTP; {there}")
    } else {
        format!("request to http://{name}.{DOMAIN} denied: the workload has no component {name:?}; {there}")
    }
}

/// Makes the head what a guest may see: nothing of a connection, and an absolute URI.
fn make_ready(request: &mut http::Request<WasiBody>, callee: &str) {
    headers::strip_request(request.headers_mut());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    if parts.authority.is_none() {
        // A component's name may be no host's.
        let named = Authority::try_from(format!("{callee}.{DOMAIN}"));
        parts.authority = Some(named.unwrap_or_else(|_| Authority::from_static(DOMAIN)));
    }
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap_or_else(|_| http::Uri::from_static("http://workload.internal/"));
}

/// How long a caller waits for its callee. When it stops to wait, the callee ends.
#[derive(Clone, Copy)]
struct Patience<'a> {
    deadline: Instant,
    first_byte: Option<Instant>,
    gone: Option<&'a CancellationToken>,
}

impl Patience<'_> {
    async fn wait<T>(self, call: impl Future<Output = T>) -> Result<T, Error> {
        let late = async {
            tokio::time::sleep_until(self.first_byte.unwrap_or(self.deadline).min(self.deadline).into()).await;
            match self.first_byte {
                Some(first) if first < self.deadline => Error::ConnectionReadTimeout,
                _ => Error::HttpResponseTimeout,
            }
        };
        let left = async {
            match self.gone {
                Some(gone) => gone.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = call => Ok(answer),
            error = late => Err(error),
            () = left => Err(Error::ConnectionTerminated),
        }
    }
}

/// The callee's word on the request's body, and how its store ends.
type Received = oneshot::Receiver<(Pin<Processed>, Fate)>;

/// What becomes of the request's body at the callee: its own word where it is of 0.3, for 0.2 has none. Takes what the callee left of it, as
/// long as the caller holds the response.
fn transmitted(bodyless: bool, received: Received, mut unread: Unread) -> Processed {
    if bodyless {
        return Box::new(async { Ok(()) });
    }
    Box::new(async move {
        // Not ready at its first poll: who polls it with the response in hand would throw that away for an error.
        tokio::task::yield_now().await;
        let received = async {
            // Without a word it was ended.
            let Ok((done, fate)) = received.await else { return Err(Error::ConnectionTerminated) };
            done.await?;
            if fate.is_dead() { Err(Error::ConnectionTerminated) } else { Ok(()) }
        };
        let told = beside(&mut unread, received).await;
        // Also for a callee that failed once it had answered: its answer may be whole.
        if !unread.is_terminated() {
            unread.await;
        }
        told
    })
}
