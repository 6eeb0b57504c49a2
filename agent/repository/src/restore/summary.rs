//! The counts of a restore, with the meaning restic gives them.
//!
//! Directories, links and special files count as files without bytes. What was skipped, because the target had
//! it already, is in no total.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a restore went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub files_total: u64,
    pub files_restored: u64,
    pub files_skipped: u64,
    pub files_deleted: u64,
    pub bytes_total: u64,
    pub bytes_restored: u64,
    pub bytes_skipped: u64,
    /// Files whose content was read back and found right, where that was asked for.
    pub files_verified: Option<u64>,
    /// What could not be restored as it is stored; each was reported.
    pub errors: u64,
    /// Where the marker stayed because of them.
    pub marker: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files_total: Counter,
    pub(super) files_restored: Counter,
    pub(super) files_skipped: Counter,
    pub(super) files_deleted: Counter,
    pub(super) bytes_total: Counter,
    pub(super) bytes_restored: Counter,
    pub(super) bytes_skipped: Counter,
    pub(super) files_verified: Counter,
    pub(super) errors: Counter,
    /// Entries whose owner or attributes only root could have set.
    pub(super) withheld: Counter,
    /// Entries with extended attributes that the file system of the target does not take.
    pub(super) unsupported: Counter,
    /// Devices that were left out on the user's word.
    pub(super) left_out: Counter,
}

impl Counters {
    pub(super) fn report(&self, verified: bool) -> Report {
        Report {
            files_total: self.files_total.count(),
            files_restored: self.files_restored.count(),
            files_skipped: self.files_skipped.count(),
            files_deleted: self.files_deleted.count(),
            bytes_total: self.bytes_total.count(),
            bytes_restored: self.bytes_restored.count(),
            bytes_skipped: self.bytes_skipped.count(),
            files_verified: verified.then(|| self.files_verified.count()),
            errors: self.errors.count(),
            marker: None,
        }
    }

    /// What is no error and must not pass in silence either: told once, not for each entry.
    pub(super) fn notes(&self) -> Option<String> {
        let mut notes = Vec::new();
        let mut note = |counter: &Counter, what: &str| {
            if counter.count() > 0 {
                notes.push(format!("{} {what}", counter.count()));
            }
        };
        note(&self.withheld, "owners or attributes were not restored, since only root can");
        note(&self.unsupported, "entries lost attributes that the target's file system does not take");
        note(&self.left_out, "devices were left out");
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}
