//! What a run counts while it goes, and what it says at the end.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::snapshot::{Snapshot, Summary};
use crate::format::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files: Changes,
    pub(super) dirs: Changes,
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
    added_bytes: AtomicU64,
    added_packed_bytes: AtomicU64,
    pub(super) processed_bytes: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) torn: AtomicU64,
    pub(super) vanished: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) new: AtomicU64,
    pub(super) changed: AtomicU64,
    pub(super) unmodified: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(super) fn blob_added(&self, kind: BlobKind, plain_bytes: u64, packed_bytes: u64) {
        count(if kind == BlobKind::Data { &self.data_blobs } else { &self.tree_blobs }, 1);
        count(&self.added_bytes, plain_bytes);
        count(&self.added_packed_bytes, packed_bytes);
    }

    pub(super) fn summary(&self, backup_start: Timestamp, backup_end: Timestamp) -> Summary {
        let (files, dirs) = (&self.files, &self.dirs);
        Summary {
            backup_start,
            backup_end,
            files_new: value(&files.new),
            files_changed: value(&files.changed),
            files_unmodified: value(&files.unmodified),
            dirs_new: value(&dirs.new),
            dirs_changed: value(&dirs.changed),
            dirs_unmodified: value(&dirs.unmodified),
            data_blobs: value(&self.data_blobs),
            tree_blobs: value(&self.tree_blobs),
            data_added: value(&self.added_bytes),
            data_added_packed: value(&self.added_packed_bytes),
            total_files_processed: value(&files.new) + value(&files.changed) + value(&files.unmodified),
            total_bytes_processed: value(&self.processed_bytes),
        }
    }

    pub(super) fn faults(&self) -> Faults {
        Faults { skipped: value(&self.skipped), torn: value(&self.torn), vanished: value(&self.vanished) }
    }
}

/// What was not, or not surely, backed up as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Left out though it should be in the snapshot: the outcome is incomplete.
    pub skipped: u64,
    /// Changed while it was read.
    pub torn: u64,
    /// Gone before it could be read.
    pub vanished: u64,
}

/// How a backup ended that did not fail.
#[derive(Clone, Debug)]
pub struct Report {
    /// `None` where nothing had changed and no snapshot was wanted then. Of a dry run the one that would have been.
    pub snapshot_id: Option<Id>,
    pub snapshot: Snapshot,
    pub summary: Summary,
    pub faults: Faults,
    pub parent: Option<Id>,
    /// All blobs that the repository names in an index now, as they are stored.
    pub stored_bytes: u64,
}

impl Report {
    /// Whether everything that was asked for is in the snapshot.
    pub fn is_complete(&self) -> bool {
        self.faults.skipped == 0
    }
}
