//! The body of a guest's answer on its way to the client.
//!
//! A small body that is complete is gathered into one piece with a length: one write, no chunks. A larger one streams, with the
//! guest held back by the client's pace.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use wasmtime_wasi_http::{Error, WasiBody};

use super::counted::Counted;
use super::fate::Fate;
use super::guard::AbortOnDrop;
use crate::metrics::Ended;

/// Bodies up to this many bytes are gathered: what one write to a socket takes.
const GATHER_BYTES: usize = 64 << 10;
/// How often gathering lets everything else of the thread go on before it gives up and streams: an instance that serves many requests at
/// once takes a round for each to write. (Measured with sixteen: three rounds made two writes of most answers.)
const GATHER_YIELDS: u32 = 16;
/// How long gathering waits at most: beside guests that compute a round takes a tick and more.
const GATHER_TIME: Duration = Duration::from_millis(5);

/// The body of a guest's answer.
pub struct GuestBody {
    inner: Inner,
    /// The request in the figures, until the body ends.
    counted: Option<(Counted, Ended)>,
}

enum Inner {
    Whole(Option<Bytes>),
    Page(Full<Bytes>),
    Stream(Box<Stream>),
}

struct Stream {
    ready: VecDeque<Frame<Bytes>>,
    rest: WasiBody,
    fate: Fate,
    hold: Option<Hold>,
    ended: bool,
}

/// What lives as long as the body is not read to its end.
pub(crate) struct Hold {
    /// Ends the guest when the client goes away; a guest whose body was read may finish its work.
    pub(crate) guard: Option<AbortOnDrop>,
    /// Cuts the body of a guest that shares its instance with others, and says so to the instance.
    #[cfg(feature = "wasi-p3")]
    pub(crate) lease: Option<super::lease::Lease>,
}

impl Hold {
    /// For a guest that has its store for itself.
    pub(crate) fn task(guard: AbortOnDrop) -> Hold {
        Hold {
            guard: Some(guard),
            #[cfg(feature = "wasi-p3")]
            lease: None,
        }
    }

    /// For a guest that shares its instance.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn lease(lease: super::lease::Lease) -> Hold {
        Hold { guard: None, lease: Some(lease) }
    }

    fn release(mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
        #[cfg(feature = "wasi-p3")]
        if let Some(lease) = self.lease.take() {
            lease.finished();
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        #[cfg(feature = "wasi-p3")]
        if let Some(lease) = &mut self.lease {
            return lease.poll_late(cx);
        }
        let _ = cx;
        Poll::Pending
    }
}

/// What gathering found.
enum Gathered {
    Complete,
    Trailers,
    More,
    Broken,
}

impl GuestBody {
    /// The page that stands in for an answer.
    pub(crate) fn page(page: Full<Bytes>) -> GuestBody {
        GuestBody { inner: Inner::Page(page), counted: None }
    }

    /// Takes what the guest has written; the rest streams.
    pub(crate) async fn gather(mut rest: WasiBody, fate: Fate, hold: Hold) -> GuestBody {
        let mut ready = VecDeque::new();
        let found = collect(&mut rest, &mut ready).await;
        let dead = fate.is_dead();
        match found {
            Gathered::Complete if !dead => {
                hold.release();
                Inner::Whole(join(ready)).into()
            }
            Gathered::Trailers => {
                hold.release();
                Inner::Stream(Box::new(Stream { ready, rest, fate, hold: None, ended: true })).into()
            }
            _ => Inner::Stream(Box::new(Stream { ready, rest, fate, hold: Some(hold), ended: false })).into(),
        }
    }
}

/// How a request ended whose body broke off.
fn ended_by(error: &Error) -> Ended {
    match error {
        Error::HttpResponseTimeout => Ended::Timeout,
        _ => Ended::Failed,
    }
}

impl From<Inner> for GuestBody {
    fn from(inner: Inner) -> GuestBody {
        GuestBody { inner, counted: None }
    }
}

impl GuestBody {
    /// Counts the request as ended in `how` once this body was read: at once when it is all there.
    pub(crate) fn count(&mut self, counted: Counted, how: Ended) {
        match &self.inner {
            Inner::Stream(stream) if !stream.ended => self.counted = Some((counted, how)),
            _ => counted.end(how),
        }
    }

    /// The next frame, with the error of wasi:http where there is one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.inner {
            Inner::Whole(bytes) => return Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Inner::Page(page) => return Pin::new(page).poll_frame(cx).map_err(|never| match never {}),
            Inner::Stream(stream) => std::task::ready!(stream.poll(cx)),
        };
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => {}
            Some(Err(error)) => self.end(Some(ended_by(error))),
            _ => self.end(None),
        }
        Poll::Ready(frame)
    }

    fn end(&mut self, instead: Option<Ended>) {
        if let Some((counted, how)) = self.counted.take() {
            counted.end(instead.unwrap_or(how));
        }
    }
}

/// Polls the body until it ends, waits, fails or is large.
async fn collect(rest: &mut WasiBody, ready: &mut VecDeque<Frame<Bytes>>) -> Gathered {
    let (mut size, mut yields, mut waits_since) = (0, 0, None);
    while size <= GATHER_BYTES {
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut *rest).poll_frame(cx))).await {
            Poll::Ready(Some(Ok(frame))) => {
                let trailers = frame.is_trailers();
                size += frame.data_ref().map_or(0, Bytes::len);
                ready.push_back(frame);
                if trailers {
                    return Gathered::Trailers;
                }
            }
            Poll::Ready(Some(Err(error))) => {
                *rest = broken(error);
                return Gathered::Broken;
            }
            Poll::Ready(None) => return Gathered::Complete,
            Poll::Pending if yields < GATHER_YIELDS && waits_since.get_or_insert_with(Instant::now).elapsed() < GATHER_TIME => {
                yields += 1;
                tokio::task::yield_now().await;
            }
            Poll::Pending => return Gathered::More,
        }
    }
    Gathered::More
}

/// A body that fails with `error`, after what was gathered before it.
fn broken(error: Error) -> WasiBody {
    use http_body_util::BodyExt;
    let mut error = Some(error);
    http_body_util::StreamBody::new(futures::stream::poll_fn(move |_| Poll::Ready(error.take().map(Err)))).boxed_unsync()
}

fn join(mut frames: VecDeque<Frame<Bytes>>) -> Option<Bytes> {
    if frames.len() <= 1 {
        return frames.pop_front().and_then(|f| f.into_data().ok());
    }
    let mut whole = BytesMut::with_capacity(frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum());
    frames.iter().filter_map(Frame::data_ref).for_each(|data| whole.extend_from_slice(data));
    Some(whole.freeze())
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => match self.hold.as_mut().map(|hold| hold.poll_late(cx)) {
                Some(Poll::Ready(())) => Some(Err(Error::HttpResponseTimeout)),
                _ => return Poll::Pending,
            },
        };
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => {}
            Some(Err(_)) => {
                self.ended = true;
                self.hold = None;
            }
            // The channel closed because the store went, not because the guest finished.
            None if self.fate.is_dead() => {
                self.ended = true;
                return Poll::Ready(Some(Err(Error::ConnectionTerminated)));
            }
            _ => {
                self.ended = true;
                if let Some(hold) = self.hold.take() {
                    hold.release();
                }
            }
        }
        Poll::Ready(frame)
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = berth_http::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.poll(cx).map_err(|e| e.to_string().into())
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Inner::Page(page) => page.is_end_stream(),
            Inner::Stream(stream) => stream.ended && stream.ready.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Inner::Page(page) => page.size_hint(),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}
