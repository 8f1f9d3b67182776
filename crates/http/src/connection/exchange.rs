//! One request and its response: calls the service, and tells the connection's [`Pulse`] when the exchange begins and when it is over,
//! which is when the response's body is dropped, or earlier if the client left. With HTTP/2 a body tells its end only once the client took
//! nearly all of it (see [`Outgoing`]), so that it is dropped no earlier either.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::outgoing::{Outgoing, Piece, Unwatched};
use super::pulse::Pulse;
use super::streams;
use crate::service::{BoxError, Connection, Service};

/// What all exchanges of one connection share.
pub(super) struct Exchange<S> {
    pub(super) service: Arc<S>,
    pub(super) connection: Arc<Connection>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) unwatched: Arc<Unwatched>,
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
            Ok(response.map(|body| Answer { body, stage: Stage::Unsent, outgoing: streams::outgoing(), in_flight }))
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

/// How far a response over HTTP/2 is.
enum Stage {
    /// None of its data was handed out.
    Unsent,
    /// Some of its data was.
    Sending,
    /// All of it was, and this comes last: trailers, or nothing but the end.
    Last(Option<Frame<Piece>>),
    /// All of it was, and its end may be told.
    Ended,
}

pin_project! {
    /// A response's body while it is sent; `None` is empty.
    pub(super) struct Answer<S: Service> {
        #[pin]
        body: Option<S::Body>,
        stage: Stage,
        // None with HTTP/1, which needs no stages.
        outgoing: Option<Arc<Outgoing>>,
        in_flight: InFlight<S>,
    }
}

impl<S: Service> Body for Answer<S> {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let mut this = self.project();
        let Some(outgoing) = this.outgoing else {
            let frame = this.body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx));
            return frame.map_ok(|frame| frame.map_data(Piece::uncounted)).map_err(Into::into);
        };
        let unwatched = &this.in_flight.exchange.unwatched;
        if matches!(this.stage, Stage::Unsent | Stage::Sending) {
            let frame = match this.body.as_mut().as_pin_mut() {
                Some(body) => ready!(body.poll_frame(cx)).transpose().map_err(Into::into)?,
                None => None,
            };
            match frame.map(|frame| frame.map_data(|bytes| outgoing.piece(bytes))) {
                Some(frame) if !frame.is_trailers() => {
                    let all = this.body.as_ref().as_pin_ref().is_none_or(|body| body.is_end_stream());
                    *this.stage = match all {
                        false => Stage::Sending,
                        true if outgoing.may_end(unwatched) => Stage::Ended,
                        true => Stage::Last(None),
                    };
                    return Poll::Ready(Some(Ok(frame)));
                }
                last => *this.stage = Stage::Last(last),
            }
        }
        ready!(outgoing.poll_end(cx, unwatched));
        match std::mem::replace(this.stage, Stage::Ended) {
            Stage::Last(last) => Poll::Ready(last.map(Ok)),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.outgoing, &self.stage) {
            (None, _) | (Some(_), Stage::Unsent) => self.body.as_ref().is_none_or(Body::is_end_stream),
            (Some(_), stage) => matches!(stage, Stage::Ended),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Empty, StreamBody};
    use hyper::client;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio_util::task::TaskTracker;

    use super::*;

    const STALL: Duration = Duration::from_secs(60);
    const PIECE: usize = 64 * 1024;
    const WINDOW: usize = 4 * 1024;

    /// Answers with two large pieces and a trailer.
    struct Large;

    type Frames = Vec<Result<Frame<Bytes>, BoxError>>;

    impl Service for Large {
        type Body = StreamBody<futures::stream::Iter<<Frames as IntoIterator>::IntoIter>>;

        async fn call(&self, _: Request<Incoming>, _: &Arc<Connection>) -> Response<Self::Body> {
            let piece = || Ok(Frame::data(Bytes::from(vec![b'x'; PIECE])));
            let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
            let frames: Frames = vec![piece(), piece(), Ok(Frame::trailers(trailers))];
            Response::new(StreamBody::new(futures::stream::iter(frames)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_little_at_a_time_gets_all_of_a_large_response() {
        let (near, far) = tokio::io::duplex(WINDOW);
        let peer = "192.0.2.1:1".parse().expect("an address");
        let exchange = Arc::new(Exchange {
            service: Arc::new(Large),
            connection: Arc::new(Connection::new(peer, peer, false, 1)),
            pulse: Arc::new(Pulse::new()),
            unwatched: Arc::new(Unwatched::new(0)),
            max_headers: 100,
        });
        let server = http2::Builder::new(streams::Streams::new(TaskTracker::new(), STALL))
            .serve_connection(TokioIo::new(far), service_fn(move |request| Exchange::respond(&exchange, request)));
        let (mut sender, connection) = client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW as u32)
            .handshake(TokioIo::new(near))
            .await
            .expect("HTTP/2");
        let read = async {
            let request = Request::builder().uri("http://a.example/").body(Empty::<Bytes>::new()).expect("a request");
            let mut body = sender.send_request(request).await.expect("an answer").into_body();
            let (start, mut bytes, mut trailers) = (tokio::time::Instant::now(), 0, None);
            while let Some(frame) = body.frame().await {
                match frame.expect("the stream goes on").into_data() {
                    Ok(data) => bytes += data.len(),
                    Err(last) => trailers = last.into_trailers().ok(),
                }
                tokio::time::advance(STALL / 2).await;
            }
            assert!(start.elapsed() > STALL * 10, "it took its time");
            assert_eq!((bytes, trailers.map(|trailers| trailers.len())), (2 * PIECE, Some(1)));
        };
        tokio::select! {
            () = read => {}
            ended = server => panic!("the server ended first: {ended:?}"),
            ended = connection => panic!("the connection ended first: {ended:?}"),
        }
    }
}
