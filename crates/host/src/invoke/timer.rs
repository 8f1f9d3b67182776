//! A deadline around a future, and a cut. Both are armed only once the future waits: a guest that computes is cut by its epoch, and
//! most guests answer without ever waiting.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// Why a future was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// Its deadline passed.
    Late,
    /// Its workload ended.
    Cut,
}

/// Runs `future` until `deadline`, or until `cut`. It comes pinned: moving a guest's takes longer than all that is done here.
pub(crate) async fn before<F: Future>(
    deadline: Instant,
    cut: &CancellationToken,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Interrupted> {
    let mut outside = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if outside.is_none() {
            outside.set(Some(outside_of(deadline, cut)));
        }
        let armed = outside.as_mut().as_pin_mut().expect("armed above");
        armed.poll(cx).map(Err)
    })
    .await
}

async fn outside_of(deadline: Instant, cut: &CancellationToken) -> Interrupted {
    tokio::select! {
        () = tokio::time::sleep_until(deadline.into()) => Interrupted::Late,
        () = cut.cancelled() => Interrupted::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn l30_a_future_that_waits_is_cut_at_the_deadline() {
        let start = Instant::now();
        let (deadline, cut) = (start + Duration::from_millis(50), CancellationToken::new());
        assert_eq!(before(deadline, &cut, pin!(std::future::pending::<()>())).await, Err(Interrupted::Late));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(before(deadline, &cut, pin!(async { 7 })).await, Ok(7));
    }

    #[tokio::test]
    async fn l34_a_future_that_waits_ends_with_its_workload() {
        let (deadline, cut) = (Instant::now() + Duration::from_secs(3600), CancellationToken::new());
        let waits = pin!(std::future::pending::<()>());
        let (ended, ()) = tokio::join!(before(deadline, &cut, waits), async { cut.cancel() });
        assert_eq!(ended, Err(Interrupted::Cut));
    }
}
