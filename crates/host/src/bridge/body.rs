//! Bodies between two components: frame by frame, each side held back by the other.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Processed;
use super::counted::CountedCall;
use super::link::By;
use crate::invoke::body::GuestBody;
use crate::invoke::fate::Fate;
use crate::metrics::Ended;

/// How much of a body that its callee doesn't read is taken from a caller of 0.2 all the same, bytes: as much as the server of Go's
/// `net/http` reads on before it closes a connection.
const UNREAD_BYTES: u64 = 256 << 10;
/// For how long: a caller that was about to write has written by then, and one that writes for ever learns that nobody reads.
const UNREAD_FOR: Duration = Duration::from_secs(5);

/// The body of a guest's request, as who gets it sees it: a component of its workload, or a server elsewhere. It never looks whole when its
/// writer is gone before it was. Dropped before its end, it goes to `left`.
pub(crate) fn request(body: WasiBody, fate: Fate, limit: u64, left: Option<Left>) -> WasiBody {
    if body.is_end_stream() {
        return http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    RequestBody { body, fate, left, room: limit, limit, ended: false }.boxed_unsync()
}

/// Where a body goes that wasn't read to its end, with how much of it might have been read yet, bytes.
pub(crate) type Left = oneshot::Sender<(WasiBody, u64)>;

/// What takes the rest of a body from its writer; nothing is left where it terminated.
pub(crate) type Unread = Fuse<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// For a request that leaves by `by`: where what is left of its body goes, and what takes it from there and throws it away. A caller of 0.2 fails
/// where its stream is closed before it has written, as wstd's client does with the empty body of a GET. In 0.3 a writer is told that its
/// reader has gone, and that is no error.
pub(crate) fn rest(by: By, body: &WasiBody) -> (Option<Left>, Unread) {
    if by != By::OutgoingHandler || body.is_end_stream() {
        return (None, Unread::terminated());
    }
    let (left, unread) = oneshot::channel();
    let take = async move {
        if let Ok((body, room)) = unread.await {
            discard(body, UNREAD_BYTES.min(room)).await;
        }
    };
    (Some(left), take.boxed().fuse())
}

/// Lets the writer of a request that failed end what it writes: it may ask for the error only then.
pub(crate) fn discard_rest(unread: Unread) {
    if !unread.is_terminated() {
        // tidy: allow(spawn): it ends by itself in UNREAD_FOR, or before that with its writer, and holds nothing but what that writes
        tokio::spawn(tokio::time::timeout(UNREAD_FOR, unread));
    }
}

/// The same for a request that a server answered: as long as the response is held.
pub(crate) fn taken(unread: Unread) -> Processed {
    if unread.is_terminated() {
        return Box::new(async { Ok(()) });
    }
    Box::new(unread.map(Ok))
}

/// The same for a request of which nothing was passed on.
pub(super) fn discard_refused(by: By, body: WasiBody) {
    if by == By::OutgoingHandler && !body.is_end_stream() {
        // tidy: allow(spawn): it ends by itself in UNREAD_FOR, or before that with its writer
        tokio::spawn(discard(body, UNREAD_BYTES));
    }
}

/// Takes the rest of a request's body while `main` goes on.
pub(crate) async fn beside<T>(unread: &mut Unread, main: impl Future<Output = T>) -> T {
    let mut main = std::pin::pin!(main);
    std::future::poll_fn(|cx| {
        let _ = unread.poll_unpin(cx);
        main.as_mut().poll(cx)
    })
    .await
}

/// Takes what comes until the end or an error, or until it is more than `most` bytes or took too long.
async fn discard(mut body: WasiBody, mut most: u64) {
    let take = async {
        while let Some(Ok(frame)) = body.frame().await {
            match most.checked_sub(frame.data_ref().map_or(0, Bytes::len) as u64) {
                Some(left) => most = left,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(UNREAD_FOR, take).await;
}

/// A request body that fails past its limit, and where its writer is gone before it was whole.
struct RequestBody {
    body: WasiBody,
    fate: Fate,
    left: Option<Left>,
    /// How much more it may be, bytes.
    room: u64,
    limit: u64,
    ended: bool,
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(left), false) = (self.left.take(), self.ended) {
            // Nobody waits for it where the caller is gone.
            let _ = left.send((std::mem::take(&mut self.body), self.room));
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = match frame {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.room.checked_sub(size) {
                    Some(room) => {
                        self.room = room;
                        self.ended = frame.is_trailers();
                        Some(Ok(frame))
                    }
                    None => Some(Err(Error::HttpRequestBodySize(Some(self.limit)))),
                }
            }
            // The channel closed because the caller's store went, not because the body is whole.
            None if self.fate.is_dead() => Some(Err(Error::ConnectionTerminated)),
            other => other,
        };
        self.ended |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}

/// The body of a callee's response, as its caller sees it: with the call in the figures until it ends.
pub(super) struct ResponseBody {
    body: GuestBody,
    counted: Option<(CountedCall, Ended)>,
    /// The caller's own bound on the time between two frames.
    between: Option<Duration>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Ready when nobody wants the caller's own answer any more.
    gone: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    cut: bool,
}

impl ResponseBody {
    pub(super) fn new(
        body: GuestBody,
        (counted, how): (CountedCall, Ended),
        between: Option<Duration>,
        gone: Option<WaitForCancellationFutureOwned>,
    ) -> ResponseBody {
        let counted = if body.is_end_stream() {
            counted.end(how);
            None
        } else {
            Some((counted, how))
        };
        ResponseBody { body, counted, between, timer: None, gone: gone.map(Box::pin), cut: false }
    }

    fn end(&mut self, instead: Option<Ended>) {
        if let Some((counted, how)) = self.counted.take() {
            counted.end(instead.unwrap_or(how));
        }
    }

    /// What breaks the body off while it waits.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(gone) = &mut self.gone
            && gone.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Error::ConnectionTerminated);
        }
        let Some(between) = self.between else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
        timer.as_mut().poll(cx).map(|()| Error::ConnectionReadTimeout)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.cut {
            return Poll::Ready(None);
        }
        let frame = match self.body.poll(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                frame
            }
            Poll::Pending => {
                let error = std::task::ready!(self.poll_cut(cx));
                self.cut = true;
                self.body = GuestBody::page(http_body_util::Full::default());
                Some(Err(error))
            }
        };
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => {}
            Some(Err(Error::HttpResponseTimeout)) => self.end(Some(Ended::Timeout)),
            Some(Err(_)) => self.end(Some(Ended::Failed)),
            _ => self.end(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    fn chunks(sizes: &[usize]) -> WasiBody {
        let frames: Vec<_> = sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![0; *size])))).collect();
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn l31_a_request_body_beyond_the_callees_limit_fails() {
        let whole = request(chunks(&[4, 6]), Fate::default(), 10, None).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 10);
        let error = request(chunks(&[4, 7]), Fate::default(), 10, None).collect().await.unwrap_err();
        assert!(matches!(error, Error::HttpRequestBodySize(Some(10))), "{error:?}");
    }

    #[tokio::test]
    async fn a_request_body_whose_writer_is_gone_is_not_whole() {
        let fate = Fate::default();
        fate.dead();
        let mut body = request(chunks(&[4]), fate, 10, None);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(Error::ConnectionTerminated))));
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn a_request_without_a_body_has_none_on_the_other_side() {
        let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        assert!(request(empty, Fate::default(), 10, None).is_end_stream());
    }

    /// How much is taken of a body of which its callee reads nothing, from a writer that waits so long between two KiB.
    async fn taken_unread(limit: u64, pause: Duration) -> u64 {
        let (writer, reader) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = futures::stream::unfold(reader, |mut reader| async { Some((Ok(Frame::data(reader.recv().await?)), reader)) });
        let body = StreamBody::new(frames).boxed_unsync();
        let (left, unread) = rest(By::OutgoingHandler, &body);
        let body = request(body, Fate::default(), limit, left);
        // As a store is dropped, where no runtime is.
        std::thread::spawn(|| drop(body)).join().unwrap();
        let unread = tokio::spawn(unread);
        let (mut taken, chunk) = (0, Bytes::from(vec![0; 1024]));
        while taken < 2 * UNREAD_BYTES && writer.send(chunk.clone()).await.is_ok() {
            taken += chunk.len() as u64;
            // What is taken at once is taken before time goes on.
            tokio::task::yield_now().await;
            tokio::time::advance(pause).await;
        }
        unread.await.unwrap();
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_callee_leaves_unread_is_taken_up_to_a_bound_and_for_a_time() {
        // What goes past the bound is taken too, and so is what was on its way then.
        let past = 2 * 1024;
        let all = taken_unread(u64::MAX, Duration::from_millis(1)).await;
        assert!((UNREAD_BYTES..=UNREAD_BYTES + past).contains(&all), "{all}");
        let little = taken_unread(10 * 1024, Duration::from_millis(1)).await;
        assert!((10 * 1024..=10 * 1024 + past).contains(&little), "no more than the callee may get: {little}");
        let slow = taken_unread(u64::MAX, Duration::from_secs(1)).await;
        assert!((4 * 1024..=6 * 1024 + past).contains(&slow), "{slow}");
    }

    #[tokio::test]
    async fn a_body_that_was_read_leaves_nothing() {
        let body = chunks(&[4, 6]);
        let (left, unread) = rest(By::OutgoingHandler, &body);
        let whole = request(body, Fate::default(), 10, left).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 10);
        unread.await;
    }
}
