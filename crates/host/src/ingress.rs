//! The ingress: from an HTTP request to a guest's answer, and every other end to a status (the one place that decides it).

mod trace;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use berth_http::{Connection, authority, headers, page};
use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use wasmtime_wasi_http::{Error, WasiBody};

use self::trace::RequestTrace;
use crate::admission::{Permit, Refused};
use crate::bridge::chain::Chain;
use crate::invoke::body::GuestBody;
use crate::invoke::counted::Counted;
use crate::invoke::failure::Failure;
use crate::invoke::{Job, invoke};
use crate::metrics::{Ended, HostMetrics};
use crate::prepare::HttpWorkload;
use crate::request_id::RequestId;
use crate::routes::Routes;

/// Seconds after which a refused client may try again: a queue's wait is about as long.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Times that a request looks for its workload, where those it finds are stopping.
const LOOKS: usize = 3;

/// Answers a host's HTTP requests.
pub(crate) struct Ingress {
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    pub(crate) metrics: Arc<HostMetrics>,
}

impl berth_http::Service for Ingress {
    type Body = GuestBody;

    async fn call(&self, request: Request<Incoming>, connection: &Arc<Connection>) -> Response<GuestBody> {
        let mut trace = RequestTrace::begin(&request);
        let response = self.answer(request, connection, &mut trace).await;
        trace.status(response.status());
        response
    }
}

impl Ingress {
    async fn answer(&self, request: Request<Incoming>, connection: &Arc<Connection>, trace: &mut RequestTrace) -> Response<GuestBody> {
        let format = page::Format::wanted(request.headers());
        let authority = match authority::check(&request) {
            Ok(authority) => authority,
            Err(error) => return refuse(error.status(), &error.to_string(), format),
        };
        // A workload that stops may have been found just before it left the table; the next look finds who follows it.
        for _ in 0..LOOKS {
            let Some(workload) = self.routes.load().find(authority.as_str()).cloned() else { break };
            trace.workload(&workload);
            match Ticket::get(&workload, &request).await {
                Err(Turned::Stopping) => {}
                Err(Turned::Away(status, message)) => return refuse(status, &message, format),
                Ok(ticket) => return serve(&workload, ticket, request, connection, format, trace).await,
            }
        }
        self.metrics.unrouted.inc();
        let message = format!("no workload serves {:?}: a domain is the config.host of a wasi:http host interface", authority.host());
        refuse(StatusCode::NOT_FOUND, &message, format)
    }
}

/// A request's right to run, and its place in the figures.
struct Ticket {
    counted: Counted,
    permit: Permit,
}

/// Why a request got no ticket.
enum Turned {
    /// Its workload is about to go.
    Stopping,
    /// It is refused.
    Away(StatusCode, String),
}

impl Ticket {
    async fn get(workload: &HttpWorkload, request: &Request<Incoming>) -> Result<Ticket, Turned> {
        let counted = Counted::new(&workload.metrics);
        let limit = workload.entry.component.limits.max_request_body_bytes;
        if request.body().size_hint().lower() > limit {
            counted.end(Ended::Refused);
            let message = format!("the request's body is larger than {limit} bytes (limits.maxRequestBody)");
            return Err(Turned::Away(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        match workload.admission.admit().await {
            Ok(permit) => Ok(Ticket { counted, permit }),
            Err(Refused::Stopping) => {
                counted.end(Ended::Refused);
                Err(Turned::Stopping)
            }
            Err(refused) => {
                counted.end(Ended::Refused);
                Err(Turned::Away(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()))
            }
        }
    }
}

async fn serve(
    workload: &HttpWorkload,
    ticket: Ticket,
    mut request: Request<Incoming>,
    connection: &Arc<Connection>,
    format: page::Format,
    trace: &mut RequestTrace,
) -> Response<GuestBody> {
    let Ticket { counted, permit } = ticket;
    let limits = &workload.entry.component.limits;
    let id = match make_ready(&mut request, connection) {
        Ok(id) => id,
        Err(error) => {
            counted.end(Ended::Refused);
            return refuse(StatusCode::BAD_REQUEST, &error.to_string(), format);
        }
    };
    trace.id(&id);
    let (shown, head_only) = (id.header(), request.method() == http::Method::HEAD);
    let job = Job {
        request: request.map(|body| guest_request_body(body, limits.max_request_body_bytes)),
        id,
        deadline: counted.start() + limits.request_timeout,
        time: limits.request_timeout,
        permit: Some(permit),
        chain: Chain::default(),
        wires: None,
    };
    let mut response = match invoke(&workload.entry, job).await {
        Ok(mut response) => {
            headers::strip_response(response.headers_mut());
            let how = Ended::Answered((response.status().as_u16() / 100) as u8);
            // A body that nobody reads ends the request with its head.
            if head_only {
                counted.end(how)
            } else {
                response.body_mut().count(counted, how)
            }
            response
        }
        Err(failure) => {
            counted.end(failure.ended());
            refuse(failure.status(), &describe(workload, &failure), format)
        }
    };
    response.headers_mut().insert(headers::REQUEST_ID, shown);
    response
}

/// What a client is told of a failure; the details are in the workload's log.
fn describe(workload: &HttpWorkload, failure: &Failure) -> String {
    format!("component {} {failure}", workload.entry.component.name)
}

fn refuse(status: StatusCode, message: &str, format: page::Format) -> Response<GuestBody> {
    let response = page::page(status, message, format).map(GuestBody::page);
    if status == StatusCode::SERVICE_UNAVAILABLE { page::retry_after(response, RETRY_AFTER_SECONDS) } else { response }
}

/// Makes the head what a guest sees: nothing of this connection, who asked, an identity, and an absolute URI.
fn make_ready(request: &mut Request<Incoming>, connection: &Connection) -> Result<RequestId, http::Error> {
    make_absolute(request, connection)?;
    headers::strip_request(request.headers_mut());
    let (uri, fields) = (request.uri().clone(), request.headers_mut());
    if let Some(authority) = uri.authority().and_then(|a| authority::Authority::parse(a.as_str())) {
        headers::forward(fields, connection, authority, headers::Forwarding::Replace);
    }
    Ok(RequestId::of(fields))
}

/// Guests see an absolute URI: scheme of the connection, authority that was asked for.
fn make_absolute(request: &mut Request<Incoming>, connection: &Connection) -> Result<(), http::Error> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if connection.tls { Scheme::HTTPS } else { Scheme::HTTP });
    if parts.authority.is_none() {
        let host = request.headers().get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        parts.authority = Some(Authority::try_from(host)?);
    }
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = http::Uri::from_parts(parts)?;
    Ok(())
}

fn guest_request_body(body: Incoming, limit: u64) -> WasiBody {
    if body.is_end_stream() {
        return http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    RequestBody { body, left: limit, limit }.boxed_unsync()
}

/// A request's body that fails past its limit.
struct RequestBody {
    body: Incoming,
    left: u64,
    limit: u64,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.limit))))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
