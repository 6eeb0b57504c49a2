//! Check: whether everything that snapshots need is there and whole.
//!
//! ```text
//! lock -> files -> indexes -> packs (list, headers) -> trees -> read data -> affected
//! ```
//! Every file of every kind is looked at, damage is told as it is found, and the check goes on with what is left;
//! an error of this function means that the check itself could not be done. A pack that looks wrong is read whole
//! at once, whatever was asked, so that it is known which of its blobs are lost. Only when something is lost are
//! the trees walked a second time, to name the snapshots and paths that need it.
//!
//! Nothing is ever written but the lock. Memory is the index, one bit a blob, and a bounded sum of buffers.

mod affected;
mod bits;
mod files;
mod findings;
mod indexes;
mod packs;
mod read;
mod subset;
mod trees;

use std::sync::Arc;

use pillion_backend::FileKind;

pub use affected::{Affected, AffectedPath, Loss};
pub use subset::Subset;

use crate::error::Result;
use crate::event::{Event, Progress, Reporter};
use crate::format::id::Id;
use crate::index::Index;
use crate::lock::{self, Lock};
use crate::repository::Repository;
use bits::Bits;
use findings::Findings;

/// How much of the packs is read beside their headers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReadData {
    /// Only what looks wrong.
    #[default]
    Suspicious,
    All,
    Subset(Subset),
}

#[derive(Clone, Debug)]
pub struct Options {
    /// Restic's check takes an exclusive one. A shared one keeps out who removes, which is enough: whatever a snapshot
    /// needs was there before it was listed. `None`: nothing is locked, and who removes meanwhile may make good things look
    /// bad.
    pub lock: Option<lock::Options>,
    pub read_data: ReadData,
    /// `None`: every snapshot. Of others only the files are looked at, not what they hold, and data is read only
    /// from packs that the chosen ones need.
    pub snapshots: Option<Vec<Id>>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Findings that are damage, each told as one [`Event::Damage`]; what it affects is not counted again.
    pub errors: u64,
    /// Damaged or missing: what `restic repair packs` is to be given. Sorted.
    pub broken_packs: Vec<Id>,
    /// Snapshot files that cannot be read. Sorted.
    pub broken_snapshots: Vec<Id>,
    /// `restic repair index` heals something.
    pub suggest_repair_index: bool,
    /// `restic prune` tidies something up that is no damage.
    pub suggest_prune: bool,
    /// Packs no index names: what interrupted backups leave.
    pub unreferenced_packs: u64,
    /// Blobs that are stored more than once. Harmless.
    pub duplicate_blobs: u64,
    pub snapshots: u64,
    pub trees: u64,
    pub blobs: u64,
    pub packs: u64,
    /// Packs of which every byte was read, and their size.
    pub packs_read: u64,
    pub bytes_read: u64,
    pub affected: Affected,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }
}

/// Checks the repository. `progress` counts packs while packs are looked at (with bytes where they are read), and
/// trees in between.
pub fn check(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    progress: &Progress,
) -> Result<Report> {
    // What a cache of this machine holds says nothing of the store.
    let repository = &repository.without_cache();
    let Some(lock_options) = &options.lock else {
        return run(repository, options, reporter, progress);
    };
    if lock_options.mode == lock::Mode::Exclusive {
        reporter.report(Event::Step { message: "create exclusive lock for repository".to_owned() });
    }
    let lock = Lock::acquire(repository, lock_options)?;
    let locked = repository.with_store(repository.store.with_cancel(lock.token().clone()));
    let report = run(&locked, options, reporter, progress);
    lock.conclude(report, reporter)
}

/// What the stages share.
struct Check<'a> {
    repository: &'a Repository,
    findings: &'a Findings<'a>,
    progress: &'a Progress,
    index: Arc<Index>,
    /// Places of the index that hold no whole blob.
    damaged: Bits,
    /// Places of blobs that a checked snapshot needs.
    used: Bits,
    /// Threads for what mostly waits for the store.
    connections: usize,
}

impl Check<'_> {
    fn step(&self, message: impl Into<String>) {
        self.findings.step(message);
    }
}

fn run(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    progress: &Progress,
) -> Result<Report> {
    let findings = Findings::new(reporter, progress);
    // Listed before the index is loaded: whatever a listed snapshot needs was indexed before it was saved.
    let listed = repository.store.list_ids(FileKind::Snapshot)?;
    files::check_small_files(repository, &findings)?;
    findings.step("load indexes");
    let index = indexes::load(repository, &findings)?;
    let check = Check {
        repository,
        findings: &findings,
        progress,
        damaged: Bits::new(index.len()),
        used: Bits::new(index.len()),
        connections: repository.loading_threads(),
        index: Arc::new(index),
    };
    check.step("check all packs");
    let packs = packs::list(&check)?;
    packs.check_presence(&check);
    // Where every pack is read, its header is among what is read.
    if options.read_data != ReadData::All || options.snapshots.is_some() {
        packs.check_headers(&check)?;
    }
    let stray = packs.unreferenced(&check)?;

    check.step("check snapshots, trees and blobs");
    let snapshots = files::load_snapshots(&check, &listed, options.snapshots.as_deref())?;
    let trees = trees::walk(&check, &packs, &snapshots, &stray)?;

    let read = subset::choose(&check, &packs, options);
    if let Some(message) = read.message {
        check.step(message);
    }
    let (packs_read, bytes_read) = packs.read(&check, &read.packs)?;

    let affected = affected::find(&check, &snapshots)?;
    let mut report = Report {
        duplicate_blobs: packs::count_duplicates(&check.index),
        snapshots: snapshots.len() as u64,
        trees,
        blobs: check.index.len() as u64,
        packs: packs.len() as u64,
        packs_read,
        bytes_read,
        affected,
        ..Report::default()
    };
    findings.conclude(&mut report);
    Ok(report)
}
