//! Compiled code on this machine's disk (L36), so that a component is compiled once for all starts and all processes.
//!
//! ```text
//! FOLDER/key           32 random bytes, 0600, made at the first start
//! FOLDER/entries/HEX   compiled components, each named for what it was made of and for; and plans of links, named for what they are of
//! ```
//! Machine code runs with all the rights of the host, so an entry is used only if it carries the authentication code that this
//! folder's key gives it. Its name stands for the component's digest, the engine's version and settings and the features of the
//! processor, and is authenticated too: an entry can't be passed off as another. What is damaged, foreign or of another version is
//! removed and compiled again, never run.

mod entry;
mod key;
mod load;

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use berth_link::LinkPlan;
use berth_model::digest::Digest;
use berth_oci::{CacheError, Folder, Prune, Verified, touch};
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::Component;

use self::entry::Meta;
use self::key::Key;
pub(crate) use self::load::Written;
use crate::intake::Inspection;

/// Compiled code is some three to ten times as large as its component.
const MAX_ENTRY_BYTES: u64 = 4 << 30;

/// Where compiled code is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSettings {
    /// The folder, which is made if need be and belongs to its user alone. Several processes may share it.
    pub folder: PathBuf,
    /// The most that entries take, bytes. Default 8 GiB. What was used longest ago goes first.
    pub max_bytes: u64,
}

impl CodeSettings {
    /// The defaults, in this folder.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> CodeSettings {
        CodeSettings { folder, max_bytes: 8 << 30 }
    }
}

/// One compiled component of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeEntry {
    /// The file's name.
    pub name: String,
    /// The digest of the component it was made from, or what stands for those that one was composed of; none where the entry isn't authentic, or can't be read.
    pub component: Option<Digest>,
    /// Whether it is no code but a plan of links, of which `component` is what stands for all that it was made of.
    pub is_plan: bool,
    /// Its size.
    pub bytes: u64,
    /// When it was written or last used.
    pub last_used: SystemTime,
}

/// What there is or was removed: entries, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSum {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl CodeSum {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

/// A cache of compiled code. Its methods block for as long as the disk takes.
#[derive(Debug)]
pub struct CodeCache {
    settings: CodeSettings,
    entries: Folder,
    key: RwLock<Arc<Key>>,
}

/// What is kept beside the code of a component.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) inspection: Inspection,
    /// Of a composed one: where the binaries of its members lie in it, by their seats.
    pub(crate) spans: Vec<(Range<u64>, usize)>,
}

/// What looking for an entry gave.
pub(crate) enum Found {
    /// Code that runs on the engine, and what its component is.
    Code(Component, Told),
    /// There is none.
    Nothing,
    /// There was one that this host's key didn't make, or that is damaged; it is gone.
    Foreign,
}

impl CodeCache {
    /// Opens the cache, makes its key if it has none, removes what killed writers left, and makes it as small as it may be.
    ///
    /// # Errors
    /// If the folder can't be made, listed or written.
    pub fn open(settings: CodeSettings) -> Result<CodeCache, CacheError> {
        let entries = Folder::open(settings.folder.join("entries"))?;
        let key = Key::open(&settings.folder)?;
        let cache = CodeCache { settings, entries, key: RwLock::new(Arc::new(key)) };
        cache.shrink(cache.settings.max_bytes)?;
        Ok(cache)
    }

    /// Where it is and how large it gets.
    pub fn settings(&self) -> &CodeSettings {
        &self.settings
    }

    /// The code of a component for `engine`, if it is here and authentic.
    pub(crate) fn load(&self, component: &Digest, engine: &Engine) -> Result<Found, CacheError> {
        let name = name(component, engine);
        let Some(file) = self.entries.open_file(&name)? else { return Ok(Found::Nothing) };
        let Some(meta) = self.authentic(&name, &file)?.filter(|meta| meta.component == *component && meta.plan.is_none()) else {
            warn!(%component, entry = name, "an entry in the cache of compiled code isn't authentic: it is removed, and made anew");
            self.entries.discard(&name);
            return Ok(Found::Foreign);
        };
        match load::authenticated(engine, &file, &self.entries.path_of(&name)) {
            Ok(code) => {
                touch(&file);
                Ok(Found::Code(code, meta.told()))
            }
            // Want of memory or of open files says nothing of the entry.
            Err(error) => match refused(&error) {
                Some(source) => Err(CacheError::at("mapping", &self.entries.path_of(&name))(source)),
                None => {
                    warn!(%component, entry = name, error = format!("{error:#}"), "an entry in the cache of compiled code can't be loaded: it is removed, and made anew");
                    self.entries.discard(&name);
                    Ok(Found::Foreign)
                }
            },
        }
    }

    /// Notes that the code of a component is in use, if it is here: what runs isn't what goes first.
    pub(crate) fn touch(&self, component: &Digest, engine: &Engine) {
        // One that can't be opened only looks older than it is.
        if let Ok(Some(file)) = self.entries.open_file(&name(component, engine)) {
            touch(&file);
        }
    }

    fn key(&self) -> Arc<Key> {
        self.key.read().expect("no panic while held").clone()
    }

    /// The key as it is on disk: another, if somebody removed the folder or the file since.
    fn current_key(&self) -> Result<Arc<Key>, CacheError> {
        if !Key::is_there(&self.settings.folder) {
            *self.key.write().expect("no panic while held") = Arc::new(Key::open(&self.settings.folder)?);
        }
        Ok(self.key())
    }

    /// Keeps the code of a component, in place of what there is of it. Whether there was room.
    pub(crate) fn store(&self, component: &Digest, engine: &Engine, code: Vec<u8>, told: Told) -> Result<bool, CacheError> {
        self.put(&name(component, engine), code, &Meta::new(component.clone(), told))
    }

    /// Removes the code of a component for `engine`, if it is here: there is better.
    pub(crate) fn discard(&self, component: &Digest, engine: &Engine) {
        self.entries.discard(&name(component, engine));
    }

    /// The plan that `key` stands for, if it is here and authentic; and whether there was one that isn't, which is gone.
    pub(crate) fn load_plan(&self, key: &Digest) -> Result<(Option<LinkPlan>, bool), CacheError> {
        let name = plan_name(key);
        let Some(file) = self.entries.open_file(&name)? else { return Ok((None, false)) };
        let meta = self.authentic(&name, &file)?.filter(|meta| meta.component == *key);
        let Some(plan) = meta.and_then(|meta| meta.plan) else {
            warn!(entry = name, "a plan in the cache of compiled code isn't authentic: it is removed, and made anew");
            self.entries.discard(&name);
            return Ok((None, true));
        };
        touch(&file);
        Ok((Some(plan), false))
    }

    /// Keeps the plan that `key` stands for. Whether there was room.
    pub(crate) fn store_plan(&self, key: &Digest, plan: LinkPlan) -> Result<bool, CacheError> {
        self.put(&plan_name(key), Vec::new(), &Meta::of_plan(key.clone(), plan))
    }

    fn put(&self, name: &str, code: Vec<u8>, meta: &Meta) -> Result<bool, CacheError> {
        let sealed = entry::seal(code, meta, name, &*self.current_key()?);
        let bytes = sealed.len() as u64;
        let Some(room) = self.settings.max_bytes.checked_sub(bytes) else { return Ok(false) };
        // What is just being read or written by others isn't removed, and leaves less room than there should be.
        if self.shrink(room)?.0 > room {
            return Ok(false);
        }
        self.entries.write(name, &sealed)?;
        // Others may have written at the same time.
        self.shrink(self.settings.max_bytes)?;
        Ok(true)
    }

    /// What an entry says of itself, if this folder's key made it and nothing changed it since.
    fn authentic(&self, name: &str, file: &File) -> Result<Option<Meta>, CacheError> {
        let path = self.entries.path_of(name);
        let failed = || CacheError::at("reading", &path);
        let metadata = file.metadata().map_err(failed())?;
        // What others may write isn't ours, whatever it says at the moment.
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Ok(None);
        }
        let content = read(file).map_err(failed())?;
        Ok(content.and_then(|content| entry::open(&content, name, &self.key())))
    }

    /// What is in the cache, the most recently used first. Every entry is read whole.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub fn entries(&self) -> Result<Vec<CodeEntry>, CacheError> {
        let mut entries = Vec::new();
        for listed in self.entries.list()?.into_iter().filter(|file| !file.part) {
            // None: it was removed meanwhile.
            let meta = match self.look_at(&listed.name) {
                Ok(None) => continue,
                Ok(Some(meta)) => meta,
                Err(_unreadable) => None,
            };
            let is_plan = meta.as_ref().is_some_and(|meta| meta.plan.is_some());
            let component = meta.map(|meta| meta.component);
            entries.push(CodeEntry { name: listed.name, component, is_plan, bytes: listed.bytes, last_used: listed.used });
        }
        entries.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.name.cmp(&b.name)));
        Ok(entries)
    }

    /// What all entries take, bytes.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn bytes(&self) -> Result<CodeSum, CacheError> {
        let mut sum = CodeSum::default();
        self.entries.list()?.iter().for_each(|file| sum.add(file.bytes));
        Ok(sum)
    }

    /// Removes what `prune` says. Code that runs goes on running.
    ///
    /// # Errors
    /// If the folder can't be read or written.
    pub fn prune(&self, prune: Prune) -> Result<CodeSum, CacheError> {
        match prune {
            Prune::All => self.shrink(0).map(|(_, removed)| removed),
            Prune::ToBytes(bytes) => self.shrink(bytes).map(|(_, removed)| removed),
            Prune::UnusedFor(age) => {
                let Some(oldest) = SystemTime::now().checked_sub(age) else { return Ok(CodeSum::default()) };
                let mut removed = CodeSum::default();
                for file in self.entries.list()?.iter().filter(|file| !file.part && file.used < oldest) {
                    if self.entries.remove(&file.name)? {
                        removed.add(file.bytes);
                    }
                }
                Ok(removed)
            }
        }
    }

    /// Checks every entry, and removes those that aren't authentic. One that can't be read is noted, and doesn't end it.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn verify(&self) -> Result<Verified, CacheError> {
        let mut verified = Verified::default();
        for listed in self.entries.list()?.into_iter().filter(|file| !file.part) {
            let checked = self.look_at(&listed.name).map(|found| found.map(|meta| meta.is_some()));
            if verified.add(&listed.name, listed.bytes, checked) {
                self.entries.discard(&listed.name);
            }
        }
        Ok(verified.sorted())
    }

    /// What an entry says of itself, if it is authentic; none if it isn't there any more.
    fn look_at(&self, name: &str) -> Result<Option<Option<Meta>>, CacheError> {
        let Some(file) = self.entries.open_file(name)? else { return Ok(None) };
        self.authentic(name, &file).map(Some)
    }

    /// Removes what was used longest ago until at most so many bytes are left: how many are, and what was removed.
    fn shrink(&self, max_bytes: u64) -> Result<(u64, CodeSum), CacheError> {
        let mut files = self.entries.list()?;
        let mut left: u64 = files.iter().map(|file| file.bytes).sum();
        let mut removed = CodeSum::default();
        files.retain(|file| !file.part);
        files.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.name.cmp(&b.name)));
        for file in &files {
            if left <= max_bytes && !(max_bytes == 0 && file.bytes == 0) {
                break;
            }
            if self.entries.remove(&file.name)? {
                left = left.saturating_sub(file.bytes);
                removed.add(file.bytes);
            }
        }
        Ok((left, removed))
    }
}

/// What the system refused, if that is why code couldn't be loaded. What is wrong with the code itself is said in words alone.
pub(crate) fn refused(error: &wasmtime::Error) -> Option<std::io::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref::<std::io::Error>() {
        Some(io) => Some(io.raw_os_error().map_or_else(|| std::io::Error::other(io.to_string()), std::io::Error::from_raw_os_error)),
        None => cause.downcast_ref::<rustix::io::Errno>().map(|errno| std::io::Error::from(*errno)),
    })
}

/// What an entry is called: what it was made of, what made it, and for which processor.
fn name(component: &Digest, engine: &Engine) -> String {
    // What is kept beside the code is this version's.
    let mut made_by = Collect([entry::FORMAT, env!("CARGO_PKG_VERSION").as_bytes()].concat());
    engine.precompile_compatibility_hash().hash(&mut made_by);
    made_by.0.extend_from_slice(component.hex().as_bytes());
    Digest::of(&made_by.0).hex().to_owned()
}

/// What the entry of a plan is called. No engine has a part in it.
fn plan_name(key: &Digest) -> String {
    let text = format!("plan of links, {}, {}", env!("CARGO_PKG_VERSION"), key.hex());
    let made_by = [entry::FORMAT, text.as_bytes()].concat();
    Digest::of(&made_by).hex().to_owned()
}

/// Takes all that is hashed as it is, so that the name is a cryptographic hash of it.
struct Collect(Vec<u8>);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// The whole of a file; none if it is longer than any entry.
fn read(mut file: &File) -> std::io::Result<Option<Vec<u8>>> {
    let bytes = file.metadata()?.len();
    if bytes > MAX_ENTRY_BYTES {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.read_to_end(&mut content)?;
    Ok(Some(content))
}
