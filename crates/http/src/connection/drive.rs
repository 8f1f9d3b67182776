//! Runs one of hyper's connections to its end, within its deadlines, and has it finish early when the server drains.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::pulse::{Expiry, Pulse, Rules, Verdict};
use crate::service::BoxError;

/// How long a connection that is asked to close for idleness may take to do so.
const CLOSING: Duration = Duration::from_secs(5);

/// One of hyper's connections.
pub(super) trait Drive {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

    /// Has it end after what it is doing: with HTTP/1 the response being sent, with HTTP/2 all streams before a GOAWAY.
    fn finish(&mut self);
}

impl<I, B, S> Drive for http1::UpgradeableConnection<I, S>
where
    S: HttpService<Incoming, ResBody = B, Error: Into<BoxError>>,
    I: Read + Write + Unpin + Send + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(Pin::new(self), cx)
    }

    fn finish(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<I, B, S, E> Drive for Pin<Box<http2::Connection<I, S, E>>>
where
    S: HttpService<Incoming, ResBody = B, Error: Into<BoxError>>,
    I: Read + Write + Unpin,
    B: Body<Error: Into<BoxError>> + 'static,
    E: Http2ServerConnExec<S::Future, B>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.as_mut().poll(cx)
    }

    fn finish(&mut self) {
        self.as_mut().graceful_shutdown();
    }
}

/// How a connection ended.
pub(super) enum Ended {
    /// By itself.
    Done(hyper::Result<()>),
    /// By a deadline; hyper didn't notice.
    Expired(Expiry),
}

/// See the module. `alarm` fires no later than the connection's first deadline.
pub(super) async fn drive(
    connection: &mut impl Drive,
    pulse: &Pulse,
    rules: &Rules,
    draining: &CancellationToken,
    mut alarm: Pin<&mut Sleep>,
) -> Ended {
    let mut draining = pin!(draining.cancelled());
    let mut finishing = false;
    let mut last_call = None;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.poll(cx) {
                return Poll::Ready(Ended::Done(result));
            }
            if pulse.cancelled() > rules.max_cancelled {
                return Poll::Ready(Ended::Expired(Expiry::Cancelling));
            }
            if !finishing && draining.as_mut().poll(cx).is_ready() {
                // hyper takes a connection with half a head, or none yet, for idle; here the request may come first.
                let last_call = *last_call.get_or_insert_with(|| Instant::now() + rules.last_call);
                if pulse.is_fresh(rules) && Instant::now() < last_call {
                    bring_forward(alarm.as_mut(), last_call);
                } else if !pulse.is_reading(rules) {
                    finishing = true;
                    connection.finish();
                    continue;
                }
            }
            if let Some(due) = pulse.sooner(rules) {
                bring_forward(alarm.as_mut(), due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match pulse.verdict(rules) {
                Verdict::Until(due) => alarm.as_mut().reset(pulse.at(due)),
                Verdict::Expired(Expiry::Idle) if !finishing => {
                    finishing = true;
                    connection.finish();
                    alarm.as_mut().reset(Instant::now() + CLOSING);
                }
                Verdict::Expired(expiry) => return Poll::Ready(Ended::Expired(expiry)),
            }
        }
    })
    .await
}

/// Has the alarm fire no later than `due`.
pub(super) fn bring_forward(alarm: Pin<&mut Sleep>, due: Instant) {
    if due < alarm.deadline() {
        alarm.reset(due);
    }
}
