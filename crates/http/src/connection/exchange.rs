//! One request and its response: calls the service, and tells the connection's [`Pulse`] when the exchange begins and when it is over,
//! which is when the response's body is dropped, or earlier if the client left.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::pulse::Pulse;
use super::streams;
use crate::service::{BoxError, Connection, Service};

/// What all exchanges of one connection share.
pub(super) struct Exchange<S> {
    pub(super) service: Arc<S>,
    pub(super) connection: Arc<Connection>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) max_headers: usize,
}

impl<S: Service> Exchange<S> {
    pub(super) fn respond(
        exchange: &Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer<S>>, Infallible>> + Send + use<S> {
        let mut in_flight = InFlight::begin(Arc::clone(exchange));
        async move {
            let response = if request.headers().len() > in_flight.exchange.max_headers {
                let mut response = Response::new(None);
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                response
            } else {
                in_flight.exchange.service.call(request, &in_flight.exchange.connection).await.map(Some)
            };
            in_flight.answered = true;
            streams::offered();
            Ok(response.map(|body| Answer { body, in_flight }))
        }
    }
}

/// A request from its head's end to its response's.
struct InFlight<S> {
    exchange: Arc<Exchange<S>>,
    answered: bool,
}

impl<S> InFlight<S> {
    fn begin(exchange: Arc<Exchange<S>>) -> Self {
        exchange.pulse.begin();
        Self { exchange, answered: false }
    }
}

impl<S> Drop for InFlight<S> {
    fn drop(&mut self) {
        self.exchange.pulse.end(self.answered);
    }
}

pin_project! {
    /// A response's body while it is sent; `None` is empty.
    pub(super) struct Answer<S: Service> {
        #[pin]
        body: Option<S::Body>,
        in_flight: InFlight<S>,
    }
}

impl<S: Service> Body for Answer<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx).map_err(Into::into),
            None => Poll::Ready(None),
        };
        if frame.is_ready() {
            streams::offered()
        } else {
            streams::awaited()
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
