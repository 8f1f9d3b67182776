//! Answers that go on: watches, logs and events as JSON lines. Each is pulled by the client, so a slow one costs no memory beyond
//! the bounded queue it reads from, and is told when it missed something.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;

use berth_host::logs::{LogBook, LogLine, Stream as LogStream};
use berth_model::event::Event;
use berth_model::resource::{Kind, ObjectKey, Resource};
use berth_operator::store::{Change, Store, StoreError, Watch};
use bytes::Bytes;
use futures::stream::{Stream, unfold};
use tokio::sync::broadcast;

use super::client::line;
use super::types::{WatchEvent, WatchKind};
use super::values::shown;
use crate::events::EventRing;

/// Something that yields JSON lines until it ends.
pub(super) trait Source: Send + 'static {
    /// A line's value.
    type Item: serde::Serialize + Send;
    /// The next one.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

/// The lines of a source.
pub(super) fn lines<S: Source>(source: S) -> impl Stream<Item = Bytes> + Send {
    unfold(source, |mut source| async move {
        let item = source.next().await?;
        Some((line(&item), source))
    })
}

/// Which objects a watch or list is about.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Selection {
    /// What there is, as anybody may see it.
    pub(super) async fn list(&self, store: &dyn Store) -> Result<Vec<Resource>, StoreError> {
        if let (Some(namespace), Some(name)) = (&self.namespace, &self.name) {
            let key = ObjectKey { kind: self.kind, namespace: namespace.clone(), name: name.clone() };
            return Ok(store.get(&key).await?.into_iter().map(shown).collect());
        }
        let all = store.list(self.kind, self.namespace.as_deref()).await?;
        Ok(all.into_iter().filter(|resource| self.matches(resource)).map(shown).collect())
    }

    fn matches(&self, resource: &Resource) -> bool {
        let meta = resource.metadata();
        resource.kind() == self.kind
            && self.namespace.as_ref().is_none_or(|n| *n == meta.namespace)
            && self.name.as_ref().is_none_or(|n| *n == meta.name)
    }
}

/// A watch: what there is, then what changes; an object that was missed is made good from the store.
pub(super) struct Watching {
    store: Arc<dyn Store>,
    selection: Selection,
    changes: Watch,
    known: BTreeMap<ObjectKey, Resource>,
    due: VecDeque<WatchEvent>,
}

impl Watching {
    pub(super) async fn start(store: Arc<dyn Store>, selection: Selection) -> Result<Watching, StoreError> {
        // Before the list, so that no change falls between the two.
        let changes = store.watch();
        let mut watching = Watching { store, selection, changes, known: BTreeMap::new(), due: VecDeque::new() };
        watching.compare().await?;
        Ok(watching)
    }

    async fn compare(&mut self) -> Result<(), StoreError> {
        let listed = self.selection.list(self.store.as_ref()).await?;
        let there: HashSet<ObjectKey> = listed.iter().map(Resource::key).collect();
        let gone: Vec<ObjectKey> = self.known.keys().filter(|key| !there.contains(key)).cloned().collect();
        for key in gone {
            if let Some(object) = self.known.remove(&key) {
                self.due.push_back(WatchEvent { kind: WatchKind::Deleted, object });
            }
        }
        for resource in listed {
            self.see(resource);
        }
        Ok(())
    }

    /// Takes an object as it is now; what is known in this or a newer version already is no news.
    fn see(&mut self, object: Resource) {
        let version = |r: &Resource| r.metadata().resource_version.parse::<u64>().unwrap_or(0);
        let kind = match self.known.get(&object.key()) {
            Some(old) if version(old) >= version(&object) => return,
            Some(_) => WatchKind::Modified,
            None => WatchKind::Added,
        };
        self.known.insert(object.key(), object.clone());
        self.due.push_back(WatchEvent { kind, object });
    }
}

impl Source for Watching {
    type Item = WatchEvent;

    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            match self.changes.next().await? {
                Change::Added(resource) | Change::Modified(resource) if self.selection.matches(&resource) => {
                    self.see(shown(Arc::unwrap_or_clone(resource)));
                }
                Change::Deleted(resource) if self.selection.matches(&resource) => {
                    if self.known.remove(&resource.key()).is_some() {
                        self.due.push_back(WatchEvent { kind: WatchKind::Deleted, object: shown(Arc::unwrap_or_clone(resource)) });
                    }
                }
                Change::Resync => self.compare().await.ok()?,
                Change::Added(_) | Change::Modified(_) | Change::Deleted(_) => {}
            }
        }
    }
}

/// Logs of the workloads of one name: the last lines, then what comes.
pub(super) struct Logging {
    due: VecDeque<Arc<LogLine>>,
    live: Option<broadcast::Receiver<Arc<LogLine>>>,
    /// Lines of the tail, which may come live as well; held, so that their addresses stay theirs.
    tail: Vec<Arc<LogLine>>,
    seen: HashSet<usize>,
    namespace: String,
    name: String,
}

impl Logging {
    pub(super) fn start(book: &LogBook, namespace: String, name: String, lines: usize, follow: bool) -> Logging {
        let live = follow.then(|| book.follow());
        let mut tail = book.tail(&namespace, Some(&name), usize::MAX);
        tail.retain(|line| is_of(&line.workload, &name));
        let seen = tail.iter().map(address).collect();
        let due = tail.iter().skip(tail.len().saturating_sub(lines)).cloned().collect();
        Logging { due, live, tail, seen, namespace, name }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Tells the reader, in the log itself, that it was too slow.
    fn lost(&self, lines: u64) -> Arc<LogLine> {
        Arc::new(LogLine {
            time: jiff::Timestamp::now(),
            namespace: self.namespace.clone(),
            workload: self.name.clone(),
            component: String::new(),
            request: None,
            stream: LogStream::Host,
            text: format!("{lines} lines were lost, because they came faster than they were read"),
        })
    }
}

impl Source for Logging {
    type Item = Arc<LogLine>;

    async fn next(&mut self) -> Option<Arc<LogLine>> {
        loop {
            if let Some(line) = self.due.pop_front() {
                return Some(line);
            }
            match self.live.as_mut()?.recv().await {
                Ok(line) => {
                    if line.namespace == self.namespace && is_of(&line.workload, &self.name) && !self.seen.contains(&address(&line)) {
                        return Some(line);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => return Some(self.lost(missed)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn address(line: &Arc<LogLine>) -> usize {
    Arc::as_ptr(line).addr()
}

/// Whether a workload is the one called `name`, or one of a deployment or replica set called so: those add a template hash and a
/// suffix, neither with a dash. (A prefix alone would take `hello-world`'s lines for `hello`'s.)
pub(super) fn is_of(workload: &str, name: &str) -> bool {
    let Some(rest) = workload.strip_prefix(name) else { return false };
    rest.is_empty() || (rest.starts_with('-') && rest.matches('-').count() <= 2 && !rest.ends_with('-'))
}

/// Events: those kept, then what comes.
pub(super) struct Following {
    due: VecDeque<Arc<Event>>,
    live: Option<broadcast::Receiver<Arc<Event>>>,
    ring: Arc<EventRing>,
}

impl Following {
    pub(super) fn start(ring: Arc<EventRing>, follow: bool) -> Following {
        let (past, live) = ring.follow();
        Following { due: past.into(), live: follow.then_some(live), ring }
    }
}

impl Source for Following {
    type Item = Arc<Event>;

    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            match self.live.as_mut()?.recv().await {
                Ok(event) => return Some(event),
                // What was missed is in the ring, merged; it is told again from there.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (past, live) = self.ring.follow();
                    self.due = past.into();
                    self.live = Some(live);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_name_finds_its_workloads_and_not_those_of_a_longer_name() {
        assert!(is_of("hello", "hello"));
        assert!(is_of("hello-6d4cf56db6", "hello"));
        assert!(is_of("hello-6d4cf56db6-x7k2p", "hello"));
        assert!(is_of("hello-6d4cf56db6-x7k2p", "hello-6d4cf56db6"));
        assert!(!is_of("hello-world-6d4cf56db6-x7k2p", "hello"));
        assert!(!is_of("hello2-6d4cf56db6-x7k2p", "hello"));
        assert!(!is_of("hell", "hello"));
    }
}
