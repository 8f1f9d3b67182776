//! Values that are made when they are first asked for, or a while after the start, so that nothing that doesn't need them waits for them.
//!
//! Knows of no value: whoever makes one says how.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
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

/// Makes values on a thread of its own, one after the other, once a delay is over. Dropping it ends the thread: what is being made is waited
/// for, what isn't begun never comes by itself.
pub(crate) struct Afterwards {
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Afterwards {
    /// # Errors
    ///
    /// Where the system has no thread.
    pub(crate) fn start(delay: Duration, works: Vec<Arc<dyn Come>>) -> std::io::Result<Afterwards> {
        let (alive, over) = channel::<()>();
        let thread = std::thread::Builder::new().name("berth-later".into()).spawn(move || {
            let mut wait = delay;
            for work in works {
                if over.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                work.come();
                wait = Duration::ZERO;
            }
        })?;
        Ok(Afterwards { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told when it came, and who asks for the value is told again.
            let _ = thread.join();
        }
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
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    /// Deadline of everything that is waited for.
    const PATIENCE: Duration = Duration::from_secs(20);

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
    #[should_panic(expected = "isn't made again")]
    fn what_panicked_while_it_was_made_isn_t_made_again() {
        let later = Later::<()>::new(|| panic!("on purpose"));
        assert!(catch_unwind(AssertUnwindSafe(|| later.get())).is_err());
        later.get();
    }

    #[test]
    fn what_nobody_asks_for_comes_after_the_delay_in_order() {
        let (sender, seen) = channel();
        let (again, first) = (sender.clone(), sender);
        let first = Arc::new(Later::new(move || first.send((1, Instant::now())).unwrap()));
        let second = Arc::new(Later::new(move || again.send((2, Instant::now())).unwrap()));
        let (start, delay) = (Instant::now(), Duration::from_millis(20));
        let _afterwards = Afterwards::start(delay, vec![first, second]).unwrap();
        let (number, came) = seen.recv_timeout(PATIENCE).unwrap();
        assert!(number == 1 && came - start >= delay, "{number} after {:?}", came - start);
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap().0, 2);
    }

    #[test]
    fn once_nobody_is_left_what_isn_t_begun_never_comes() {
        let never = Arc::new(Later::new(|| unreachable!("nobody asks for it")));
        let left = Arc::downgrade(&never);
        drop(Afterwards::start(Duration::from_secs(3600), vec![never]).unwrap());
        assert_eq!(left.strong_count(), 0, "the thread is gone");
    }
}
