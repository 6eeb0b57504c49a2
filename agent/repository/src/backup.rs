//! A backup: from a source in the file system to a snapshot in the repository.
//!
//! ```text
//! lock -> index, parent -> quiesce -> begin -> scan -> changed? -> chunk -> seal -> pack -> upload -> index -> snapshot
//!                                     a closed directory becomes a tree and goes through seal too
//! ```
//! Each stage is a file; only this one knows all. The stages run on one pool of workers (`queue`), since on
//! few processors a thread for each stage would mostly wait.
//!
//! **Invariant:** packs before the index that names them, the index before the snapshot. Killed anywhere, the
//! repository holds garbage at worst, never a dangling reference (`a_stop_at_any_store_call_harms_nothing`).

mod begin;
mod changed;
mod chunk;
mod index;
mod known;
mod pack;
mod queue;
mod quiesce;
mod scan;
mod seal;
mod snapshot;
mod stdin;
mod summary;
mod tree;
mod upload;
mod worker;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use pillion_backend::FileKind;
use tokio_util::sync::CancellationToken;

pub use changed::Compare;
pub use quiesce::Quiesce;
pub use snapshot::{GroupBy, Parent};
pub use stdin::{Finish, Stream};
pub use summary::{Faults, Report};

use crate::cache::{Spool, least_bytes};
use crate::error::{Error, Result};
use crate::event::{Change, Event, Progress, Reporter, SkipReason};
use crate::filter::exclude::Exclusion;
use crate::format::chunker::Tables;
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::format::time::Timestamp;
use crate::format::tree::{ExtendedAttribute, Node, NodeKind};
use crate::index::Index;
use crate::lock::{self, Lock};
use crate::repository::{LoadedIndex, Repository};
use crate::source::{self, AccessTime, Accounts, Metadata};
use begin::Targets;
use changed::{Comparison, Verdict};
use known::Known;
use pack::Packer;
use queue::Queue;
use quiesce::Reading;
use summary::{Counters, count};
use tree::Directory;
use upload::Uploads;
use worker::Worker;

/// How the path of a source may lead to it.
#[derive(Clone, Debug)]
pub enum SourcePaths {
    /// A person's: links on the way are followed once.
    Resolved,
    /// The agent's: a link on the way may be the application's and is refused.
    WithoutLinks,
    /// In the file system of a test's script, to which there are no links.
    #[cfg(any(test, feature = "testing"))]
    Scripted(Arc<source::script::Script>),
}

impl SourcePaths {
    fn open(&self, path: &[u8]) -> Result<source::Source, source::RootError> {
        match self {
            Self::Resolved => source::open_resolved(path),
            Self::WithoutLinks => source::open_without_links(path),
            #[cfg(any(test, feature = "testing"))]
            Self::Scripted(script) => script.open(path),
        }
    }
}

/// What to do where another file system is mounted below a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Back it up too, as restic does where nothing excludes it.
    Cross,
    /// Count it as a skip: it may be there by accident, and an empty directory would be a lie.
    Refuse,
}

/// What is to be backed up.
#[derive(Debug)]
pub enum Source {
    /// Paths in the file system, all in one snapshot.
    Paths(Vec<Vec<u8>>),
    Stream(Mutex<Option<Stream>>),
}

#[derive(Debug)]
pub struct Options {
    pub source: Source,
    pub source_paths: SourcePaths,
    /// Where relative paths begin, in the file system as in the snapshot: absolute, whatever the process's own is.
    pub working_directory: Vec<u8>,
    pub mounts: Mounts,
    pub exclusion: Exclusion,
    /// What the snapshot says about exclusion.
    pub excludes: Vec<String>,
    pub parent: Parent,
    pub group_by: GroupBy,
    pub compare: Compare,
    pub access_time: AccessTime,
    pub host: String,
    pub username: String,
    /// Who reads: what the parent's run read as somebody else is not taken over unread.
    pub uid: u32,
    pub gid: u32,
    pub tags: Vec<String>,
    /// The tag among `tags` that says whose snapshot this is.
    pub identity: Option<String>,
    /// The snapshot's time, where it is not now.
    pub time: Option<Timestamp>,
    pub program_version: String,
    pub skip_if_unchanged: bool,
    /// `None`: nothing is locked and nothing is written, the store being one that only pretends to save.
    pub lock: Option<lock::Options>,
    /// Who is told of the reading.
    pub quiesce: Option<Arc<dyn Quiesce>>,
}

impl Options {
    /// Where a path of the source is found. Not cleaned: behind a link `..` is not the directory before it.
    fn located(&self, path: &[u8]) -> Vec<u8> {
        match path {
            [b'/', ..] => path.to_vec(),
            _ => [&self.working_directory, &b"/"[..], path].concat(),
        }
    }

    fn open(&self, path: &[u8]) -> Result<source::Source, source::RootError> {
        self.source_paths.open(&self.located(path))
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        crate::filter::absolute(path, &self.working_directory)
    }
}

/// One backup in progress, as the stages see it.
struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    progress: &'a Progress,
    /// Ends this run: the caller's wish, a lost lock, or a failure.
    token: CancellationToken,
    index: Arc<Index>,
    known: Known,
    packs: Packer<'a>,
    queue: Queue,
    counters: Counters,
    comparison: Comparison,
    accounts: Accounts,
    tables: Tables,
    /// Paths are only built where something looks at them.
    wants_paths: bool,
    zero_chunk: OnceLock<Id>,
    root: OnceLock<(Id, usize)>,
    failure: Mutex<Option<Error>>,
}

/// What a run needs to know before it begins.
struct Prepared {
    index: LoadedIndex,
    parent: Option<(Id, Snapshot)>,
}

/// Backs up and says how it went. What could not be read is reported and counted; an error means that there is
/// no snapshot. Whatever was stored until then is reused by the next run.
pub fn backup(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    progress: &Progress,
) -> Result<Report> {
    let start = Timestamp::from(SystemTime::now());
    let targets = Targets::resolve(options, reporter, progress)?;
    let prepare = |repository: &Repository| {
        let parent = find_parent(repository, options, reporter, &targets.paths, start)?;
        Ok(Prepared { index: repository.load_index()?, parent })
    };
    let Some(lock_options) = &options.lock else {
        let prepared = prepare(repository)?;
        let tokens =
            Tokens { run: repository.store.cancel_token().child_token(), lock: CancellationToken::new() };
        return run(repository, options, (reporter, progress), &targets, prepared, start, tokens);
    };
    let (lock, prepared) = Lock::acquire_while(repository, lock_options, prepare)?;
    let tokens = Tokens { run: lock.token().child_token(), lock: lock.valid_token().clone() };
    let guarded = repository.with_store(lock.guarded(&repository.store, lock_options));
    let report = run(&guarded, options, (reporter, progress), &targets, prepared, start, tokens);
    lock.conclude(report, reporter)
}

fn find_parent(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    paths: &[String],
    start: Timestamp,
) -> Result<Option<(Id, Snapshot)>> {
    match options.source {
        Source::Paths(_) => {
            snapshot::find_parent(repository, options, reporter, paths, options.time.unwrap_or(start))
        }
        // A stream has no metadata to compare.
        Source::Stream(_) => Ok(None),
    }
}

struct Tokens {
    run: CancellationToken,
    lock: CancellationToken,
}

fn run(
    repository: &Repository,
    options: &Options,
    (reporter, progress): (&dyn Reporter, &Progress),
    targets: &Targets,
    prepared: Prepared,
    start: Timestamp,
    Tokens { run: token, lock }: Tokens,
) -> Result<Report> {
    let cache = &repository.settings.cache;
    cache.refuse_below(least_bytes(repository.settings.pack_size_bytes))?;
    let spool = Spool::open(cache)?;
    let durable = repository.with_store(repository.store.with_cancel(lock));
    let reading = repository.with_store(repository.store.with_cancel(token.clone()));
    let uploads = Uploads::new(durable.clone(), token.clone());
    let Prepared { index, parent } = prepared;
    reporter.report(Event::Step {
        message: match &parent {
            Some((id, _)) => format!("using parent snapshot {}", id.short()),
            None => "no parent snapshot found, will read all files".to_owned(),
        },
    });
    let run = Run {
        repository: &reading,
        options,
        reporter,
        progress,
        token,
        known: Known::new(Arc::clone(&index.index)),
        index: index.index,
        packs: Packer::new(&reading, &spool, &uploads),
        queue: Queue::new(repository.settings.workers),
        counters: Counters::default(),
        comparison: Comparison::new(
            options.compare,
            options.access_time,
            parent.as_ref().map(|(_, snapshot)| snapshot),
            (options.uid, options.gid),
        ),
        accounts: Accounts::load(),
        tables: repository.tables(),
        wants_paths: !options.exclusion.is_empty(),
        zero_chunk: OnceLock::new(),
        root: OnceLock::new(),
        failure: Mutex::new(None),
    };
    count(&run.counters.skipped, targets.missing);
    // Counting ahead would cost a second walk; the last snapshot is a good guess.
    if let Some(summary) = parent.as_ref().and_then(|(_, snapshot)| snapshot.summary.as_ref()) {
        count(&progress.files_total, summary.total_files_processed);
        count(&progress.bytes_total, summary.total_bytes_processed);
    }
    let worked = run.work(targets, parent.as_ref().map(|(_, snapshot)| snapshot), start);
    // What was stored before an error is named in an index all the same: the next run goes on from there.
    let finished = uploads.finish();
    let tree = match (worked, finished) {
        // A failed upload stops the workers: the reason is what it says.
        (Err(Error::Cancelled), Err(e)) => return Err(e),
        (worked, finished) => worked.and_then(|tree| finished.map(|()| tree))?,
    };
    run.token.is_cancelled().then_some(()).map_or(Ok(()), |()| Err(Error::Cancelled))?;
    run.leave_snapshot(&durable, targets, parent, tree, start)
}

impl<'a> Run<'a> {
    /// Does all the work up to the last blob and returns the root tree.
    fn work(&self, targets: &Targets, parent: Option<&Snapshot>, start: Timestamp) -> Result<Id> {
        let reading = Reading::begin(self.options.quiesce.as_deref(), &self.token)?;
        let mut first = Worker::new(self);
        // Only the root's subtree is ever looked at: the snapshot has no node for it.
        let previous_root =
            parent.map(|parent| Node { subtree: Some(parent.tree), ..Node::new(Vec::new(), NodeKind::Dir) });
        match (&targets.tree, &self.options.source) {
            (Some(tree), _) => first.begin(tree, previous_root)?,
            (None, Source::Stream(stream)) => first.stream(stream, self.options.time.unwrap_or(start))?,
            (None, Source::Paths(_)) => unreachable!("paths have been resolved to a tree"),
        }
        std::thread::scope(|scope| {
            for number in 1..self.repository.settings.workers {
                let name = format!("backup-{number}");
                let spawned =
                    std::thread::Builder::new().name(name).spawn_scoped(scope, || Worker::new(self).work());
                if let Err(e) = spawned {
                    self.fail(Error::local("start", "a worker thread", e));
                }
            }
            first.work();
        });
        // Before what is packed is waited for: that takes as long as the store does.
        drop(reading);
        if let Some(e) = self.failure.lock().expect("no thread panics with it").take() {
            return Err(e);
        }
        self.check()?;
        let (tree, entries) = *self.root.get().expect("every entry was done, so the root is");
        if entries == 0 {
            return Err(Error::Refused("the snapshot would be empty: nothing was backed up".to_owned()));
        }
        self.packs.flush()?;
        Ok(tree)
    }

    fn leave_snapshot(
        &self,
        repository: &Repository,
        targets: &Targets,
        parent: Option<(Id, Snapshot)>,
        tree: Id,
        start: Timestamp,
    ) -> Result<Report> {
        let summary = self.counters.summary(start, Timestamp::from(SystemTime::now()));
        let options = self.options;
        let parent_id = parent.as_ref().map(|(id, _)| *id);
        let snapshot = Snapshot {
            time: options.time.unwrap_or(start),
            parent: parent_id,
            tree,
            paths: targets.paths.clone(),
            hostname: options.host.clone(),
            username: options.username.clone(),
            uid: options.uid,
            gid: options.gid,
            excludes: options.excludes.clone(),
            tags: options.tags.clone(),
            original: None,
            program_version: options.program_version.clone(),
            summary: Some(summary.clone()),
        };
        let is_unchanged = parent.as_ref().is_some_and(|(_, parent)| parent.tree == tree);
        let snapshot_id = if options.skip_if_unchanged && is_unchanged {
            None
        } else {
            Some(repository.save_file(FileKind::Snapshot, &snapshot.encode())?)
        };
        let faults = self.counters.faults();
        let stored_bytes = self.index.stored_bytes() + summary.data_added_packed;
        Ok(Report { snapshot_id, snapshot, summary, faults, parent: parent_id, stored_bytes })
    }

    /// Fails when the run is to end.
    fn check(&self) -> Result<()> {
        if self.token.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The first failure is the run's; it ends all workers.
    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().expect("no thread panics with it");
        // Others that stop because of the first failure say "cancelled".
        if failure.as_ref().is_none_or(|first| matches!(first, Error::Cancelled)) {
            *failure = Some(error);
        }
        self.queue.stop();
    }

    fn set_root(&self, tree: Id, entries: usize) {
        self.root.set((tree, entries)).expect("the root closes once");
    }

    fn node(
        &self,
        name: Vec<u8>,
        metadata: &Metadata,
        link_target: Vec<u8>,
        attributes: Vec<ExtendedAttribute>,
    ) -> Node {
        source::build_node(name, metadata, link_target, attributes, &self.accounts, self.options.access_time)
    }

    fn verdict(&self, metadata: &Metadata, previous: &Node) -> Verdict {
        self.comparison.verdict(metadata, previous)
    }

    fn source_failed(&self, path: &[u8], error: &source::Error) {
        match error.skip_reason() {
            Some(reason) => self.skipped(path, reason, error.to_string()),
            None => {
                count(&self.counters.vanished, 1);
                self.reporter.report(Event::Vanished { path });
            }
        }
    }

    fn skipped(&self, path: &[u8], reason: SkipReason, detail: String) {
        count(&self.counters.skipped, 1);
        count(&self.progress.errors, 1);
        self.reporter.report(Event::Skipped { path, reason, detail });
    }

    fn file_done(&self, directory: &Directory, name: &[u8], change: Change, size_bytes: u64) {
        let files = &self.counters.files;
        let counter = match change {
            Change::New => &files.new,
            Change::Unchanged => &files.unmodified,
            _ => &files.changed,
        };
        count(counter, 1);
        count(&self.counters.processed_bytes, size_bytes);
        count(&self.progress.files_done, 1);
        if self.reporter.wants_items() {
            self.reporter.report(Event::Item { path: &directory.path_of(name), change, size_bytes });
        }
    }
}

#[cfg(test)]
mod tests;
