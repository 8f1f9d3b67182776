//! What is being pulled right now, for who shows it to a person.

use tokio::sync::watch;

/// One pull under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulling {
    /// The image, as its reference is written.
    pub image: String,
    /// What it is doing.
    pub stage: PullStage,
    /// Bytes of the component that came so far.
    pub done_bytes: u64,
    /// Bytes of the component; 0 until the manifest has said it.
    pub total_bytes: u64,
}

/// What a pull is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStage {
    /// It waits for other pulls.
    Waiting,
    /// It asks the registry what the reference means.
    Resolving,
    /// The component is coming.
    Transferring,
    /// A request failed and is tried again soon.
    Retrying,
}

/// The pulls under way, the oldest first.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<Vec<(u64, Pulling)>>);

impl Board {
    pub fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    pub fn watch(&self) -> PullsWatch {
        PullsWatch(self.0.subscribe())
    }

    /// A new line, which is there until it is dropped.
    pub fn line(&self, image: String) -> Line {
        let mut id = 0;
        self.0.send_modify(|lines| {
            id = lines.last().map_or(0, |(last, _)| last + 1);
            lines.push((id, Pulling { image, stage: PullStage::Waiting, done_bytes: 0, total_bytes: 0 }));
        });
        Line { id, board: self.0.clone() }
    }
}

/// What is being pulled, to look at and to wait for. It shows the latest state and skips what nobody looked at.
#[derive(Clone, Debug)]
pub struct PullsWatch(watch::Receiver<Vec<(u64, Pulling)>>);

impl PullsWatch {
    /// The pulls under way, the oldest first.
    #[must_use]
    pub fn now(&mut self) -> Vec<Pulling> {
        self.0.borrow_and_update().iter().map(|(_, pulling)| pulling.clone()).collect()
    }

    /// Waits until something changed since [`PullsWatch::now`]; false once the source is gone. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// One pull's place on the board.
#[derive(Debug)]
pub(super) struct Line {
    id: u64,
    board: watch::Sender<Vec<(u64, Pulling)>>,
}

impl Line {
    pub fn stage(&self, stage: PullStage) {
        self.update(|pulling| pulling.stage = stage);
    }

    /// The component begins to come, from its first byte.
    pub fn transferring(&self, total_bytes: u64) {
        self.update(|pulling| {
            (pulling.stage, pulling.done_bytes, pulling.total_bytes) = (PullStage::Transferring, 0, total_bytes);
        });
    }

    pub fn done(&self, bytes: u64) {
        self.update(|pulling| pulling.done_bytes = bytes);
    }

    fn update(&self, change: impl FnOnce(&mut Pulling)) {
        self.board.send_modify(|lines| {
            if let Some((_, pulling)) = lines.iter_mut().find(|(id, _)| *id == self.id) {
                change(pulling);
            }
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.board.send_modify(|lines| lines.retain(|(id, _)| *id != self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_on_the_board_until_it_ends_however_it_ends() {
        let board = Board::new();
        let mut watch = board.watch();
        let (first, second) = (board.line("a".to_owned()), board.line("b".to_owned()));
        first.transferring(10);
        first.done(4);
        let shown: Vec<_> = watch.now().into_iter().map(|pulling| (pulling.image, pulling.done_bytes, pulling.total_bytes)).collect();
        assert_eq!(shown, [("a".to_owned(), 4, 10), ("b".to_owned(), 0, 0)]);
        drop(first);
        let third = board.line("c".to_owned());
        second.stage(PullStage::Resolving);
        assert_eq!(watch.now().iter().map(|pulling| pulling.stage).collect::<Vec<_>>(), [PullStage::Resolving, PullStage::Waiting]);
        drop((second, third));
        assert_eq!(watch.now(), []);
    }
}
