//! The way back of an answer: given at most once, by the guest or by what became of it.

#[cfg(feature = "wasi-p3")]
use std::sync::Weak;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::failure::Failure;

/// What comes back: a response whose body is still being written, or a failure.
pub(crate) type Answer = Result<http::Response<WasiBody>, Failure>;

/// The sending side.
#[derive(Clone)]
pub(crate) struct Head(Arc<Mutex<Option<oneshot::Sender<Answer>>>>);

impl Head {
    pub(crate) fn new() -> (Head, oneshot::Receiver<Answer>) {
        let (tx, rx) = oneshot::channel();
        (Head(Arc::new(Mutex::new(Some(tx)))), rx)
    }

    /// Answers, unless somebody did. Says whether this was the answer.
    pub(crate) fn answer(&self, answer: Answer) -> bool {
        let sender = self.0.lock().expect("no panic while held").take();
        sender.is_some_and(|tx| tx.send(answer).is_ok())
    }

    /// Whether an answer was given.
    pub(crate) fn answered(&self) -> bool {
        self.0.lock().expect("no panic while held").is_none()
    }

    /// The same, without keeping who waits from hearing that nobody is left to answer.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn downgrade(&self) -> WeakHead {
        WeakHead(Arc::downgrade(&self.0))
    }
}

/// The sending side in the hands of who isn't the one to answer.
#[cfg(feature = "wasi-p3")]
pub(crate) struct WeakHead(Weak<Mutex<Option<oneshot::Sender<Answer>>>>);

#[cfg(feature = "wasi-p3")]
impl WeakHead {
    /// The head, if nobody has answered yet.
    pub(crate) fn open(&self) -> Option<Head> {
        self.0.upgrade().map(Head).filter(|head| !head.answered())
    }
}
