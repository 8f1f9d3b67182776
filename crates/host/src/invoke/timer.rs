//! A deadline around a future. The timer is armed only once the future waits: a guest that computes is cut by its epoch, and most
//! guests answer without ever waiting.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use crate::guest::DeadlinePassed;

/// Runs `future` until `deadline`.
pub(crate) async fn before<F: Future>(deadline: Instant, future: F) -> Result<F::Output, DeadlinePassed> {
    let mut future = pin!(future);
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep_until(deadline.into())));
        }
        let armed = timer.as_mut().as_pin_mut().expect("armed above");
        armed.poll(cx).map(|()| Err(DeadlinePassed))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn l30_a_future_that_waits_is_cut_at_the_deadline() {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(50);
        assert!(before(deadline, std::future::pending::<()>()).await.is_err());
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(before(deadline, async { 7 }).await.ok(), Some(7));
    }
}
