//! The life of a guest's task, in the hands of who waits for it.

use tokio::task::AbortHandle;

/// Ends a task with whatever waits for it, unless disarmed.
pub(crate) struct AbortOnDrop(Option<AbortHandle>);

impl AbortOnDrop {
    pub(crate) fn new(task: AbortHandle) -> AbortOnDrop {
        AbortOnDrop(Some(task))
    }

    /// Lets the task go on by itself. Gives up the handle too: one that is only forgotten keeps the task's memory for good.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}
