//! A restore: from a snapshot in the repository to a target in the file system.
//!
//! ```text
//! lock -> index -> marker -> walk (select, compare) -> plan -> fetch -> write -> finish -> sync -> marker gone
//! ```
//! One thread walks the trees, makes directories and plans files in batches of bounded size; the workers load
//! packs by ranges and write. A file appears under its name when it is whole and has all its metadata; a
//! directory gets its own when everything in it is done.
//!
//! **Invariant:** the marker lies in the target from before the first change until everything is durable, and
//! stays after any error (`a_stop_at_any_store_call_leaves_the_marker_and_the_next_run_completes`).

mod compare;
mod delete;
mod directory;
mod fetch;
mod finish;
mod link;
pub mod marker;
mod metadata;
mod plan;
mod queue;
mod special;
mod summary;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod write;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

pub use summary::Report;

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::event::{Event, Progress, Reporter};
use crate::filter::restore_select::RestoreSelect;
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::index::Index;
use crate::limits;
use crate::lock::{self, Lock};
use crate::repository::{BlobReader, Repository};
use crate::snapshots;
use crate::source::Accounts;
use crate::target::TargetDir;
use directory::{Directory, OpenDirectories};
use link::HardLinks;
use marker::{Marker, Owner};
use plan::File;
use queue::Queue;
use summary::{Counters, Estimate};
use verify::Restored;

/// How the path of a target may lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPath {
    /// A person's: links on the way are followed once.
    Resolved,
    /// The agent's: a link on the way may be the application's and is refused.
    WithoutLinks,
}

/// What happens to what is there already; restic's four words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Content that is the same already is left, everything else is restored.
    #[default]
    Always,
    /// A file of the same size and modification time is believed to have the same content.
    IfChanged,
    /// Only what is older than what is stored.
    IfNewer,
    Never,
}

/// What of the things that can lend out rights is restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Special {
    #[default]
    AsStored,
    /// No devices, no set-user-ID and set-group-ID bits, no capabilities of files.
    LeftOut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    #[default]
    ByNumber,
    /// By the names of user and group on this machine; unknown ones become root's, as with restic.
    ByName,
}

/// What is to be restored, and how.
#[derive(Debug)]
pub struct Options {
    pub snapshot_id: Id,
    pub snapshot: Snapshot,
    /// The directory in the snapshot whose content is restored; empty for all of it.
    pub path: Vec<u8>,
    pub target: Vec<u8>,
    pub target_path: TargetPath,
    pub select: RestoreSelect,
    pub overwrite: Overwrite,
    /// Remove what is in a restored directory and not in the snapshot.
    pub delete: bool,
    /// Say what would be done. Nothing in the target changes.
    pub dry_run: bool,
    /// Read back what was written.
    pub verify: bool,
    pub special: Special,
    pub ownership: Ownership,
    /// Who restores, for the marker.
    pub owner: Owner,
    /// `None`: the repository is not locked.
    pub lock: Option<lock::Options>,
}

/// One restore in progress, as all its threads see it.
struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    progress: &'a Progress,
    /// Ends this run: the caller's wish, a lost lock, or a failure.
    token: CancellationToken,
    index: Arc<Index>,
    root: Arc<Directory>,
    /// The marker was there: temporary files in the target are an earlier run's, and nobody writes them.
    is_continued: bool,
    is_root: bool,
    accounts: Accounts,
    queue: Queue,
    /// What the plan holds, and what the workers hold of packs.
    plan_budget: Budget,
    buffer_budget: Budget,
    open_directories: OpenDirectories,
    open_files: AtomicUsize,
    /// Files with a temporary name between two of their blobs, by their number.
    unfinished: Mutex<HashMap<u64, Arc<File>>>,
    links: HardLinks,
    counters: Counters,
    estimate: Estimate,
    /// For reading back.
    restored: Restored,
    failure: Mutex<Option<Error>>,
}

/// Restores and says how it went. What could not be restored is reported and counted; an error means that the
/// run ended early. In both cases the marker stays in the target.
pub fn restore(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    progress: &Progress,
) -> Result<Report> {
    let prepare = |repository: &Repository| repository.load_index();
    let Some(lock_options) = &options.lock else {
        let index = prepare(repository)?.index;
        let token = repository.store.cancel_token().child_token();
        return run(repository, options, (reporter, progress), index, token);
    };
    let (lock, loaded) = Lock::acquire_while(repository, lock_options, prepare)?;
    let token = lock.token().child_token();
    let report = run(repository, options, (reporter, progress), loaded.index, token);
    lock.conclude(report, reporter)
}

fn run(
    repository: &Repository,
    options: &Options,
    (reporter, progress): (&dyn Reporter, &Progress),
    index: Arc<Index>,
    token: CancellationToken,
) -> Result<Report> {
    let reading = repository.with_store(repository.store.with_cancel(token.clone()));
    let mut trees = BlobReader::new(&reading, &index);
    let tree = snapshots::find_tree(&mut trees, &options.snapshot.tree, &options.path)?;
    let (root, marker) = open_target(repository, options)?;
    let run = Run {
        repository: &reading,
        options,
        reporter,
        progress,
        token,
        index,
        root,
        is_continued: marker.as_ref().is_some_and(|marker| marker.continues_a_broken_restore),
        is_root: rustix::process::geteuid().is_root(),
        accounts: Accounts::load(),
        queue: Queue::default(),
        plan_budget: Budget::new(limits::RESTORE_PLAN_BYTES),
        buffer_budget: Budget::new(limits::RESTORE_BUFFER_BYTES),
        open_directories: OpenDirectories::default(),
        open_files: AtomicUsize::new(0),
        unfinished: Mutex::default(),
        links: HardLinks::default(),
        counters: Counters::default(),
        estimate: estimate(options),
        restored: Restored::default(),
        failure: Mutex::new(None),
    };
    run.tell_totals();
    let marker_path = marker.as_ref().map(Marker::path);
    let report = run.work(&tree, trees).and_then(|()| run.end(marker));
    if let (Err(_), Some(path)) = (&report, &marker_path) {
        run.tell_that_it_stays(path);
    }
    report
}

fn estimate(options: &Options) -> Estimate {
    let is_whole = options.path.is_empty() && options.select.is_everything();
    let summary = options.snapshot.summary.as_ref().filter(|_| is_whole);
    summary.map(Estimate::of_whole).unwrap_or_default()
}

/// The target's own directory, and the marker in it. A dry run makes neither.
fn open_target(repository: &Repository, options: &Options) -> Result<(Arc<Directory>, Option<Marker>)> {
    if options.dry_run {
        return Ok((Arc::new(open_existing(options)?), None));
    }
    let opened = Arc::new(match options.target_path {
        TargetPath::Resolved => TargetDir::create_resolved(&options.target)?,
        TargetPath::WithoutLinks => TargetDir::create_without_links(&options.target)?,
    });
    let marker = Marker::leave(&opened, options, repository.store.runtime())?;
    Ok((Arc::new(Directory::root(opened)), Some(marker)))
}

fn open_existing(options: &Options) -> Result<Directory> {
    let opened = match options.target_path {
        TargetPath::Resolved => TargetDir::open_resolved(&options.target)?,
        TargetPath::WithoutLinks => TargetDir::open_without_links(&options.target)?,
    };
    Ok(match opened {
        Some(opened) => Directory::root(Arc::new(opened)),
        None => Directory::missing_root(),
    })
}

impl Run<'_> {
    /// Does all the work up to the last directory's metadata.
    fn work(&self, tree: &Id, mut trees: BlobReader) -> Result<()> {
        let workers = self.repository.loading_threads();
        let worked = std::thread::scope(|scope| {
            // Whatever ends the walk, the workers must not wait for more.
            let _closing = CloseQueue(&self.queue);
            for number in 0..workers {
                let name = format!("restore-{number}");
                std::thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, || fetch::Worker::new(self).work())
                    .map_err(|e| Error::local("start", "a worker thread", e))?;
            }
            walk::walk(self, &mut trees, tree)?;
            self.estimate.planned();
            self.tell_totals();
            self.queue.wait_until_idle();
            if self.options.verify && !self.options.dry_run && self.check().is_ok() {
                self.step("verifying the restored files");
                verify::verify(self, &mut trees, tree)?;
                self.queue.wait_until_idle();
            }
            Ok(())
        });
        if let Err(e) = worked {
            self.fail(e);
        }
        let failure = self.failure.lock().expect("no thread panics with it").take();
        let result = failure.map_or_else(|| self.check(), Err);
        if result.is_err() {
            self.remove_unfinished();
        }
        result
    }

    /// Makes all durable, and takes the marker away if everything is as it should be.
    fn end(&self, marker: Option<Marker>) -> Result<Report> {
        let mut report = self.counters.report(self.options.verify);
        if let Some(message) = self.counters.notes() {
            self.reporter.report(Event::Warning { message });
        }
        let Some(marker) = marker else { return Ok(report) };
        self.open_directories.sync_all(self)?;
        if report.errors == 0 {
            marker.remove()?;
        } else {
            let path = marker.path();
            self.tell_that_it_stays(&path);
            report.marker = Some(path);
        }
        Ok(report)
    }

    fn tell_that_it_stays(&self, marker: &str) {
        let message = format!(
            "the restore is incomplete: {marker} stays to keep an agent's backups away; restore again, or delete \
             that file"
        );
        self.reporter.report(Event::Warning { message });
    }

    fn step(&self, message: &str) {
        self.reporter.report(Event::Step { message: message.to_owned() });
    }

    /// Fails when the run is to end.
    fn check(&self) -> Result<()> {
        if self.token.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The first failure is the run's; it ends all threads.
    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().expect("no thread panics with it");
        // Others that stop because of the first failure say "cancelled".
        if failure.as_ref().is_none_or(|first| matches!(first, Error::Cancelled)) {
            *failure = Some(error);
        }
        drop(failure);
        self.token.cancel();
        self.queue.stop();
        self.plan_budget.stop();
        self.buffer_budget.stop();
    }

    /// Tells of something that could not be restored and goes on, unless nothing else could be either.
    fn problem(&self, path: &[u8], error: Error) -> Result<()> {
        if ends_the_run(&error) {
            return Err(error);
        }
        self.counters.errors.add(1);
        summary::add(&self.progress.errors, 1);
        self.reporter.report(Event::RestoreProblem { path, detail: error.to_string() });
        Ok(())
    }
}

struct CloseQueue<'a>(&'a Queue);

impl Drop for CloseQueue<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Whether an error says that the store, the lock or the whole target is of no use, and not one file.
fn ends_the_run(error: &Error) -> bool {
    use rustix::io::Errno;

    match error {
        Error::Cancelled | Error::LockLost(_) => true,
        Error::Backend(_) => !is_damage(error),
        Error::Local { source, .. } => matches!(
            Errno::from_io_error(source),
            Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::MFILE | Errno::NFILE)
        ),
        _ => false,
    }
}

/// Whether an error says that something in the repository is broken or missing, so that another copy of it may
/// be whole.
fn is_damage(error: &Error) -> bool {
    use pillion_backend::ErrorKind;

    match error {
        Error::Damaged { .. } | Error::DamagedBlob { .. } | Error::MissingBlob { .. } => true,
        Error::Backend(e) => matches!(e.kind, ErrorKind::NotFound | ErrorKind::OutOfRange),
        _ => false,
    }
}
