//! One reading, on its thread: opens the repository, finds the snapshot and the entry, and sends what is there.
//!
//! What may take long, a file or a folder's archive, is read under a lock, as `pillion dump` does, so that nobody prunes
//! meanwhile; where this agent may not write to the store, without. A list is read without: its trees are mostly in the
//! cache, and a lock would cost more than they do. What is pruned meanwhile is told as an error and never as other bytes.

use std::cell::RefCell;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pillion_backend::retry::Hook;
use pillion_backend::{ErrorKind, Operation};
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot;
use pillion_repository::format::tree::{Node, NodeKind};
use pillion_repository::lock::{self, Holder, Lock};
use pillion_repository::repository::{BlobReader, Modesty, NamedSnapshot, Repository, Settings};
use pillion_repository::store::Store;
use pillion_repository::{Error, dump, snapshots};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::stream::{self, Body, Writer};
use super::{Answer, File, Name, Portion, Readings, Unreadable, Wanted};
use crate::agent::config::secret::{self, Credentials};
use crate::agent::config::{Config, PLAN_TAG};
use crate::agent::engine::pin::{Pin, Refusal};
use crate::agent::view::snapshots::{Entry, Snapshot};
use crate::open::{Ears, open_backend, open_repository, retry_sentence};
use crate::percent;
use crate::process::Process;

/// Some 45,000 entries: the tree of a folder is in memory while it is looked into.
const MAX_TREE_BYTES: u64 = 16 << 20;

/// The tag that names an identity.
const IDENTITY: &str = "pillion=";

type Result<T, E = Unreadable> = std::result::Result<T, E>;

pub(super) struct Reader<'a> {
    readings: &'a Readings,
    config: &'a Config,
    runtime: Handle,
    cancel: CancellationToken,
    /// Until the answer was given.
    answer: RefCell<Option<oneshot::Sender<Result<Answer>>>>,
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        let told = match error.hint() {
            Some(hint) => format!("{error}: {hint}"),
            None => error.to_string(),
        };
        match error {
            Error::NoRepository { .. } => Self::NoRepository(told),
            Error::NoSnapshot(_) => Self::NoSuchSnapshot,
            Error::AmbiguousPrefix(_) => Self::Ambiguous,
            Error::NotInSnapshot { .. } => Self::NoSuchEntry,
            Error::LargeTree { .. } => Self::LargeFolder(told),
            Error::Locked(_) => Self::Locked(error.to_string()),
            Error::Cancelled => Self::Ended,
            _ => Self::Failed(told),
        }
    }
}

impl From<std::io::Error> for Unreadable {
    /// Of the answer: nobody takes it any more.
    fn from(_: std::io::Error) -> Self {
        Self::Ended
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        readings: &'a Readings,
        config: &'a Config,
        runtime: Handle,
        cancel: CancellationToken,
        answer: oneshot::Sender<Result<Answer>>,
    ) -> Self {
        Self { readings, config, runtime, cancel, answer: RefCell::new(Some(answer)) }
    }

    /// Answers, whatever comes of it.
    pub(super) fn read(&self, wanted: &Wanted) {
        let Err(problem) = self.try_read(wanted) else { return };
        match self.answer.take() {
            Some(answer) => _ = answer.send(Err(problem)),
            None if self.cancel.is_cancelled() => {}
            None => tracing::warn!(%problem, "what a snapshot holds could be read in part only"),
        }
    }

    fn try_read(&self, wanted: &Wanted) -> Result<()> {
        let repository = self.open()?;
        match wanted {
            Wanted::Snapshots => {
                let own = self.own(&repository, |_| true)?;
                let shown = own.iter().rev().map(|(id, snapshot)| Snapshot::of(*id, snapshot));
                self.answer(Answer::Snapshots(shown.collect()));
            }
            Wanted::Snapshot(name) => {
                let (id, snapshot) = self.find(&repository, name)?;
                self.answer(Answer::Snapshot(Box::new(Snapshot::of(id, &snapshot))));
            }
            Wanted::Files(name, path) => self.list(&repository, name, path)?,
            Wanted::Content(name, path, portion) => {
                self.locked(&repository, |repository| self.file(repository, name, path, portion))?;
            }
            Wanted::Archive(name, path) => {
                self.locked(&repository, |repository| self.archive(repository, name, path))?;
            }
        }
        Ok(())
    }

    fn answer(&self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // Who asked may be gone.
            let _ = sender.send(Ok(answer));
        }
    }

    /// What is written follows this answer.
    fn begin(&self, answer: impl FnOnce(Body) -> Answer) -> Answering<'_> {
        let (writer, body) = stream::channel(&self.runtime, &self.cancel);
        Answering { reader: self, answer: Some(answer(body)), writer }
    }

    /// Opens the agent's repository with the key that its jobs have, or anew where none has opened it.
    fn open(&self) -> Result<Repository> {
        let Self { readings, config, .. } = self;
        let Readings { kept, environment, .. } = readings;
        let credentials = secret::load(&config.credentials_directory, environment, &config.repository);
        let credentials = credentials.map_err(|unusable| Unreadable::NoCredentials(unusable.to_string()))?;
        let Config { cache_directory, repository, repository_id, .. } = config;
        let mut pin = Pin::read(cache_directory, repository, *repository_id, kept.accepted())?;
        let _one_at_a_time = readings.opening.lock().unwrap_or_else(PoisonError::into_inner);
        pin.accept(self.open_any(&credentials)).map_err(|refusal| match refusal {
            Refusal::Replaced { message, hint } => Unreadable::NoRepository(format!("{message}: {hint}")),
            Refusal::Failed(error) => error.into(),
        })
    }

    fn open_any(&self, credentials: &Credentials) -> Result<Repository, Error> {
        let Config { repository, connection, cache_directory, cache_bytes, pack_size, .. } = self.config;
        let kept = &self.readings.kept;
        let hook: Hook = Box::new(|error, wait| tracing::debug!("{}", retry_sentence(error, wait)));
        let backend = open_backend(repository, &credentials.access, connection, &Ears::default(), hook)?;
        let store = Store::new(backend, self.runtime.clone(), self.cancel.clone());
        let settings = Settings {
            cache: kept.cache(cache_directory, *cache_bytes, pack_size.bytes()),
            index: kept.index().clone(),
            workers: 1,
            costly_keys: Some(Arc::new(kept.costly_keys(self.config))),
            ..Settings::default()
        };
        if let Some(opened) = kept.opened(self.config, credentials)
            && let Some(again) = opened.open_beside(store.clone(), settings.clone())?
        {
            return Ok(again);
        }
        open_repository(&credentials.password, |password| {
            Repository::open(store.clone(), password, settings.clone())
        })
    }

    /// The agent's own snapshots, oldest first.
    fn own(&self, repository: &Repository, wants_id: impl Fn(&Id) -> bool) -> Result<Vec<NamedSnapshot>> {
        let is_own = |snapshot: &snapshot::Snapshot| is_own(self.config, snapshot);
        let (own, damaged) = repository.select_snapshots(wants_id, is_own)?;
        for error in &damaged {
            tracing::warn!(%error, "a snapshot cannot be read");
        }
        match (own.is_empty(), damaged.into_iter().next()) {
            // It could have been the one.
            (true, Some(error)) => Err(error.into()),
            _ => Ok(own),
        }
    }

    fn find(&self, repository: &Repository, name: &Name) -> Result<NamedSnapshot> {
        let mut own = match name {
            Name::Latest => self.own(repository, |_| true)?,
            Name::Prefix(prefix) => {
                let own = self.own(repository, |id| id.to_string().starts_with(prefix))?;
                if own.len() > 1 {
                    return Err(Unreadable::Ambiguous);
                }
                own
            }
        };
        own.pop().ok_or(Unreadable::NoSuchSnapshot)
    }

    fn blobs(&self, repository: &Repository) -> Result<BlobReader> {
        let modesty = Modesty { max_tree_bytes: MAX_TREE_BYTES, turn: Arc::clone(&self.readings.turn) };
        let _one_at_a_time = self.readings.opening.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(repository.reader_beside(modesty)?)
    }

    fn find_folder(&self, blobs: &mut BlobReader, root: &Id, path: &[u8]) -> Result<(Node, Id)> {
        let node = snapshots::find_node(blobs, root, path)?;
        let tree = node.subtree.filter(|_| node.kind == NodeKind::Dir).ok_or(Unreadable::NotAFolder)?;
        Ok((node, tree))
    }

    fn list(&self, repository: &Repository, name: &Name, path: &[u8]) -> Result<()> {
        let (id, snapshot) = self.find(repository, name)?;
        let mut blobs = self.blobs(repository)?;
        let (_, tree) = self.find_folder(&mut blobs, &snapshot.tree, path)?;
        let mut out = self.begin(Answer::Listing);
        let folder = if path == b"/" { path.to_vec() } else { [path, b"/"].concat() };
        write!(out, "{{\"snapshot\":\"{id}\",\"path\":\"{}\",\"entries\":[", percent::encode(path))?;
        let mut separator = "";
        blobs.each_node(&tree, &mut |node| {
            let entry = serde_json::to_vec(&Entry::of(&folder, &node)).expect("text and numbers");
            let written = out.write_all(separator.as_bytes()).and_then(|()| out.write_all(&entry));
            separator = ",";
            written.map_err(|e| Error::local("write", "the answer", e))
        })?;
        out.write_all(b"]}\n")?;
        out.finish()
    }

    fn file(&self, repository: &Repository, name: &Name, path: &[u8], portion: &Portion) -> Result<()> {
        let (_, snapshot) = self.find(repository, name)?;
        let mut blobs = self.blobs(repository)?;
        let node = snapshots::find_node(&mut blobs, &snapshot.tree, path)?;
        if node.kind != NodeKind::File {
            return Err(Unreadable::NotAFile);
        }
        dump::check_size(&blobs, &node)?;
        let (size_bytes, tag) = (node.size, content_tag(&node));
        let part = part(portion, size_bytes, &tag)?;
        let wanted = part.clone().unwrap_or(0..size_bytes);
        let file = File { name: node.name.clone(), size_bytes, part, tag };
        let mut out = self.begin(|body| Answer::File(file, body));
        dump::write_part(&mut blobs, &node, wanted, &mut out)?;
        out.finish()
    }

    fn archive(&self, repository: &Repository, name: &Name, path: &[u8]) -> Result<()> {
        let (id, snapshot) = self.find(repository, name)?;
        let mut blobs = self.blobs(repository)?;
        let (node, tree) = self.find_folder(&mut blobs, &snapshot.tree, path)?;
        let name = if node.name.is_empty() { id.short().into_bytes() } else { node.name };
        let mut out = self.begin(|body| Answer::Archive { name, body });
        let left_out = dump::write_tar(&mut blobs, &tree, path, &mut out)?;
        if left_out.special_files > 0 {
            let count = left_out.special_files;
            tracing::warn!(count, "devices, FIFOs or sockets are not in an archive that was asked for");
        }
        out.finish()
    }

    /// Reads under a lock; without, where none can be written.
    fn locked(&self, repository: &Repository, read: impl FnOnce(&Repository) -> Result<()>) -> Result<()> {
        let Readings { kept, environment, .. } = self.readings;
        let options = lock::Options {
            holder: Holder {
                hostname: self.config.name().to_owned(),
                username: kept.processes().username(self.config),
                ..Process::current(environment).holder()
            },
            mode: lock::Mode::Shared,
            retry_for: Duration::ZERO,
            timing: lock::Timing::default(),
            given_up: lock::GivenUp::default(),
            ended: kept.processes().ended(self.config, repository.settings.cache.standing()),
        };
        let lock = match Lock::acquire(repository, &options) {
            Ok(lock) => lock,
            Err(error) if error.is_denied_lock() || is_full(&error) => {
                tracing::debug!(%error, "no lock can be written: reading without");
                return read(repository);
            }
            Err(error) => return Err(error.into()),
        };
        let done = read(&repository.with_store(repository.store.with_cancel(lock.token().clone())));
        let done = done.map_err(|problem| lock.lost().map_or(problem, Unreadable::from));
        if let Err(error) = lock.release() {
            tracing::warn!(%error, "the lock of a reading could not be removed");
        }
        done
    }
}

/// An answer that begins with the first piece of what follows it: until then, what fails is told in its place.
struct Answering<'a> {
    reader: &'a Reader<'a>,
    answer: Option<Answer>,
    writer: Writer,
}

impl Answering<'_> {
    fn answer(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.reader.answer(answer);
        }
    }

    fn finish(mut self) -> Result<()> {
        self.answer();
        Ok(self.writer.finish()?)
    }
}

impl Write for Answering<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.writer.write(bytes)?;
        if self.writer.has_sent() {
            self.answer();
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether the store takes nothing any more: what it has can still be read.
fn is_full(error: &Error) -> bool {
    matches!(error, Error::Backend(e) if e.kind == ErrorKind::Full && e.operation == Operation::Save)
}

/// Whether a snapshot is this agent's, of whatever plan: by its tag, else by host and source, as its runs find it. The disk
/// is not asked: it may hang.
fn is_own(config: &Config, snapshot: &snapshot::Snapshot) -> bool {
    let has = |tag: &String| snapshot.tags.contains(tag);
    if let Some(tag) = config.identity_tag() {
        return has(&tag);
    }
    let is_somebodys = snapshot.tags.iter().any(|tag| tag.starts_with(IDENTITY) || tag.starts_with(PLAN_TAG));
    let holds = |source: &PathBuf| snapshot.has_paths(&[source.to_string_lossy().into_owned()]);
    config.plans.iter().any(|plan| match config.own_tag(plan) {
        Some(tag) => has(&tag),
        None => !is_somebodys && snapshot.hostname == config.host && plan.sources.iter().any(holds),
    })
}

/// The same for the same content and no other.
fn content_tag(node: &Node) -> String {
    let content = node.content.as_deref().unwrap_or_default();
    let ids: Vec<u8> = content.iter().flat_map(|id| *id.as_bytes()).collect();
    Id::of(&ids).to_string()
}

/// The bytes that are wanted, where that is not all.
fn part(portion: &Portion, size_bytes: u64, tag: &str) -> Result<Option<Range<u64>>> {
    let (Portion::From { tag: only, .. } | Portion::Last { tag: only, .. }) = portion else {
        return Ok(None);
    };
    if only.as_ref().is_some_and(|only| only != tag) {
        return Ok(None);
    }
    let part = match portion {
        Portion::Whole => 0..size_bytes,
        Portion::From { first, last, .. } => {
            *first..last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes))
        }
        Portion::Last { count, .. } => size_bytes.saturating_sub(*count)..size_bytes,
    };
    match part.is_empty() {
        true => Err(Unreadable::OutOfRange { size_bytes }),
        false => Ok(Some(part)),
    }
}
