//! Giving back the memory of stores that end, away from the threads that serve.
//!
//! A store that held much takes milliseconds to drop: the kernel takes its pages back one by one, in a step that nothing interrupts. On
//! the thread that served it everybody else would wait that long, so threads of their own do it. What may wait for them is bounded, in
//! number and in bytes; past that a store is dropped where it ended, as small ones always are. Whoever hands over goes on at once; what
//! an item holds beside its memory, its slot above all, is held until the memory is given back.
//!
//! Knows of no store: an item is whatever gives memory back when it is dropped.

mod backlog;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use self::backlog::{Backlog, Bounds, Waiting};
use crate::config::ReclaimConfig;
use crate::limiter::MemoryBudget;
use crate::metrics::HostMetrics;

/// The least priority: `nice`, of -20 to 19. Where all cores are busy, a thread that serves loses its core to one of these otherwise, for as
/// long as giving back takes or the scheduler's slice; who fills memory then waits for its slots instead.
const NICE: i32 = 19;

/// The way to the threads that give memory back.
pub(crate) struct Reclaim<T> {
    queues: Vec<SyncSender<Order<T>>>,
    backlog: Arc<Backlog>,
    metrics: Arc<HostMetrics>,
}

/// What a thread is told.
enum Order<T> {
    Drop(T, Waiting),
    End,
}

/// The threads. Dropping it ends them, once all that was handed over is given back.
pub(crate) struct Reclaimer<T> {
    queues: Vec<SyncSender<Order<T>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Reclaim<T> {
    /// Starts the threads, for a host that may have so many instances at once; with none, everything is given back where it ends.
    pub(crate) fn start(
        config: &ReclaimConfig,
        instances: u32,
        budget: Arc<MemoryBudget>,
        metrics: Arc<HostMetrics>,
    ) -> (Reclaim<T>, Reclaimer<T>) {
        let bounds = Bounds::of(config, instances);
        let (queues, threads) = (0..config.threads).map(|n| thread(n, bounds.most)).unzip::<_, _, Vec<_>, Vec<_>>();
        let reclaim = Reclaim { queues: queues.clone(), backlog: Arc::new(Backlog::new(bounds, budget, metrics.clone())), metrics };
        (reclaim, Reclaimer { queues, threads })
    }

    /// Drops `item`, which holds `bytes` of memory: at once and here, or soon and elsewhere.
    pub(crate) fn drop(&self, item: T, bytes: u64) {
        if self.queues.is_empty() || !self.backlog.is_much(bytes) {
            return drop(item);
        }
        let Some(waiting) = self.backlog.enter(bytes) else {
            self.metrics.reclaimed_in_place.inc();
            return drop(item);
        };
        // In turn, so that a long one delays few.
        let queue = &self.queues[waiting.number() % self.queues.len()];
        match queue.try_send(Order::Drop(item, waiting)) {
            Ok(()) => self.metrics.reclaimed.inc(),
            // The threads have ended, and the memory is given back here.
            Err(unsent) => {
                self.metrics.reclaimed_in_place.inc();
                drop(unsent);
            }
        }
    }
}

impl<T> Drop for Reclaimer<T> {
    fn drop(&mut self) {
        for queue in &self.queues {
            // Behind what waits. A thread that has gone already needs no telling.
            let _ = queue.send(Order::End);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A thread, and the queue before it, with room for all that may wait.
fn thread<T: Send + 'static>(number: usize, most: usize) -> (SyncSender<Order<T>>, JoinHandle<()>) {
    let (sender, queue) = sync_channel(most);
    let thread = std::thread::Builder::new().name(format!("berth-reclaim-{number}")).spawn(move || run(&queue));
    (sender, thread.expect("a thread at start: without one the process is of no use"))
}

fn run<T>(queue: &Receiver<Order<T>>) {
    // Of the calling thread alone, as Linux has it. Where it isn't allowed, the thread is as good as others.
    let _ = rustix::process::setpriority_process(None, NICE);
    while let Ok(Order::Drop(item, waiting)) = queue.recv() {
        // A thread that served would survive it too.
        if catch_unwind(AssertUnwindSafe(|| drop(item))).is_err() {
            tracing::error!("a store panicked while it was dropped");
        }
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::thread::ThreadId;

    const MUCH: u64 = 4 << 20;

    /// Says on which thread it was dropped, once it may be.
    struct Item {
        dropped: Arc<Mutex<Vec<ThreadId>>>,
        may: Option<Receiver<()>>,
    }

    impl Drop for Item {
        fn drop(&mut self) {
            let waited = self.may.take().map(|may| may.recv());
            self.dropped.lock().unwrap().push(std::thread::current().id());
            assert!(waited != Some(Err(std::sync::mpsc::RecvError)), "nobody lets it go");
        }
    }

    struct Scene {
        reclaim: Reclaim<Item>,
        reclaimer: Reclaimer<Item>,
        metrics: Arc<HostMetrics>,
        dropped: Arc<Mutex<Vec<ThreadId>>>,
    }

    impl Scene {
        fn new(threads: usize, most_waiting: u32) -> Scene {
            let config = ReclaimConfig { threads, threshold_bytes: MUCH, most_waiting };
            let metrics = Arc::new(HostMetrics::default());
            let (reclaim, reclaimer) = Reclaim::start(&config, 1000, Arc::new(MemoryBudget::new(1 << 30)), metrics.clone());
            Scene { reclaim, reclaimer, metrics, dropped: Arc::default() }
        }

        fn item(&self, may: Option<Receiver<()>>) -> Item {
            Item { dropped: self.dropped.clone(), may }
        }

        fn dropped_here(&self) -> usize {
            let here = std::thread::current().id();
            self.dropped.lock().unwrap().iter().filter(|thread| **thread == here).count()
        }

        fn dropped(&self) -> usize {
            self.dropped.lock().unwrap().len()
        }
    }

    #[test]
    fn l31_much_memory_is_given_back_on_another_thread_and_little_where_it_ends() {
        let scene = Scene::new(2, 8);
        scene.reclaim.drop(scene.item(None), MUCH - 1);
        assert_eq!((scene.dropped(), scene.metrics.reclaimed.get(), scene.metrics.reclaimed_in_place.get()), (1, 0, 0));
        let (first, may_first) = channel();
        let (second, may_second) = channel();
        scene.reclaim.drop(scene.item(Some(may_first)), MUCH);
        scene.reclaim.drop(scene.item(Some(may_second)), MUCH);
        // Neither is done, and whoever handed them over goes on.
        assert_eq!(scene.metrics.reclaim_bytes.get(), 2 * MUCH as i64);
        second.send(()).unwrap();
        first.send(()).unwrap();
        drop(scene.reclaimer);
        let here = std::thread::current().id();
        assert_eq!(scene.dropped.lock().unwrap().iter().filter(|thread| **thread != here).count(), 2);
        assert_eq!((scene.metrics.reclaimed.get(), scene.metrics.reclaim_bytes.get()), (2, 0));
    }

    #[test]
    fn l31_past_what_may_wait_memory_is_given_back_where_it_ended_and_counted() {
        let scene = Scene::new(1, 2);
        let (first, may_first) = channel();
        scene.reclaim.drop(scene.item(Some(may_first)), MUCH);
        scene.reclaim.drop(scene.item(None), MUCH);
        assert_eq!(scene.dropped(), 0);
        scene.reclaim.drop(scene.item(None), MUCH);
        assert_eq!((scene.dropped_here(), scene.metrics.reclaimed_in_place.get()), (1, 1));
        assert_eq!(scene.metrics.reclaim_bytes.get(), 2 * MUCH as i64);
        first.send(()).unwrap();
        drop(scene.reclaimer);
        assert_eq!((scene.dropped.lock().unwrap().len(), scene.metrics.reclaim_bytes.get()), (3, 0));
    }

    #[test]
    fn l34_ending_gives_back_all_that_waits_and_what_comes_later_is_given_back_where_it_ends() {
        let scene = Scene::new(2, 64);
        let items: Vec<_> = (0..20).map(|_| scene.item(None)).collect();
        items.into_iter().for_each(|item| scene.reclaim.drop(item, MUCH));
        drop(scene.reclaimer);
        assert_eq!(scene.dropped.lock().unwrap().len(), 20);
        let late = Item { dropped: scene.dropped.clone(), may: None };
        scene.reclaim.drop(late, MUCH);
        assert_eq!(scene.dropped.lock().unwrap().len(), 21);
        assert_eq!((scene.metrics.reclaimed_in_place.get(), scene.metrics.reclaim_bytes.get()), (1, 0));
    }

    #[test]
    fn without_threads_memory_is_given_back_where_it_ends() {
        let scene = Scene::new(0, 8);
        scene.reclaim.drop(scene.item(None), MUCH);
        assert_eq!(scene.dropped_here(), 1);
    }

    #[test]
    fn a_drop_that_panics_takes_no_thread_along() {
        let scene = Scene::new(1, 8);
        let (gone, may) = channel();
        drop(gone);
        scene.reclaim.drop(scene.item(Some(may)), MUCH);
        scene.reclaim.drop(scene.item(None), MUCH);
        drop(scene.reclaimer);
        assert_eq!((scene.metrics.reclaimed.get(), scene.metrics.reclaim_bytes.get()), (2, 0));
        assert_eq!(scene.dropped.lock().unwrap().len(), 2);
    }
}
