//! Values that are made when they are first asked for, or a while after the start, so that nothing that doesn't need them waits for them.
//!
//! Knows of no value: whoever makes one says how.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

type Make<T> = Box<dyn FnOnce() -> T + Send>;

/// A value to come.
pub(crate) struct Later<T> {
    made: OnceLock<T>,
    make: Mutex<Option<Make<T>>>,
}

impl<T> Later<T> {
    pub(crate) fn new(make: impl FnOnce() -> T + Send + 'static) -> Later<T> {
        Later { made: OnceLock::new(), make: Mutex::new(Some(Box::new(make))) }
    }

    /// The value. Blocks until it is made, by this call or another.
    ///
    /// # Panics
    ///
    /// Where making it panicked.
    pub(crate) fn get(&self) -> &T {
        self.made.get_or_init(|| {
            let make = self.make.lock().expect("no panic while held").take();
            make.expect("what panicked while it was made isn't made again")()
        })
    }

    /// The value, if it is made.
    pub(crate) fn made(&self) -> Option<&T> {
        self.made.get()
    }
}

/// Makes values on a thread of its own, one after the other, once a delay is over. Dropping it makes those that aren't begun never come
/// by themselves.
pub(crate) struct Afterwards {
    _alive: Sender<()>,
}

impl Afterwards {
    /// # Errors
    ///
    /// Where the system has no thread.
    pub(crate) fn start(delay: Duration, works: Vec<Arc<dyn Come>>) -> std::io::Result<Afterwards> {
        let (alive, over) = channel::<()>();
        std::thread::Builder::new().name("berth-later".into()).spawn(move || {
            let mut wait = delay;
            for work in works {
                if over.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                work.come();
                wait = Duration::ZERO;
            }
        })?;
        Ok(Afterwards { _alive: alive })
    }
}

/// A value to come, of whatever type.
pub(crate) trait Come: Send + Sync {
    /// Makes it, unless it is made.
    fn come(&self);
}

impl<T: Send + Sync> Come for Later<T> {
    fn come(&self) {
        self.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_value_is_made_once_however_many_ask() {
        let made = Arc::new(AtomicU32::new(0));
        let counted = made.clone();
        let later = Later::new(move || counted.fetch_add(1, Ordering::SeqCst));
        assert_eq!(later.made(), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(*later.get(), 0));
            }
        });
        assert_eq!((later.made(), made.load(Ordering::SeqCst)), (Some(&0), 1));
    }

    #[test]
    fn what_nobody_asks_for_comes_after_the_delay_and_not_once_nobody_is_left() {
        let (sender, seen) = channel();
        let (again, first) = (sender.clone(), sender);
        let first = Arc::new(Later::new(move || first.send(1).unwrap()));
        let second = Arc::new(Later::new(move || again.send(2).unwrap()));
        let afterwards = Afterwards::start(Duration::ZERO, vec![first, second]).unwrap();
        assert_eq!((seen.recv().unwrap(), seen.recv().unwrap()), (1, 2));
        drop(afterwards);

        let never = Arc::new(Later::new(|| unreachable!("nobody asks for it")));
        let left = Arc::downgrade(&never);
        drop(Afterwards::start(Duration::from_secs(3600), vec![never]).unwrap());
        // The thread lets go of it as soon as it sees that nobody is left.
        while left.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
