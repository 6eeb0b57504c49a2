//! The counts of a restore, with the meaning restic gives them.
//!
//! Directories, links and special files count as files without bytes. What was skipped, because the target had
//! it already, is in no total.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::format::snapshot::Summary;

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

/// How much a restore will be, while its plan is not complete: the walk is only a bounded part ahead of the writers.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    files: u64,
    bytes: u64,
    is_planned: AtomicBool,
}

impl Estimate {
    /// What the snapshot says of itself: too little where there are directories, too much where there are hard links.
    pub(super) fn of_whole(summary: &Summary) -> Self {
        let (files, bytes) = (summary.total_files_processed, summary.total_bytes_processed);
        Self { files, bytes, is_planned: AtomicBool::new(false) }
    }

    /// From now on what was counted is all there is.
    pub(super) fn planned(&self) {
        self.is_planned.store(true, Ordering::Relaxed);
    }

    /// Files and bytes.
    pub(super) fn totals(&self, counters: &Counters) -> (u64, u64) {
        let counted = (counters.files_total.count(), counters.bytes_total.count());
        if self.is_planned.load(Ordering::Relaxed) {
            return counted;
        }
        let files = self.files.saturating_sub(counters.files_skipped.count());
        let bytes = self.bytes.saturating_sub(counters.bytes_skipped.count());
        (counted.0.max(files), counted.1.max(bytes))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_known_before_the_plan_is_complete_and_exact_after() {
        let snapshot =
            Summary { total_files_processed: 10, total_bytes_processed: 1_000, ..Summary::default() };
        let (estimate, counters) = (Estimate::of_whole(&snapshot), Counters::default());
        counters.files_total.add(3);
        counters.bytes_total.add(200);
        assert_eq!(estimate.totals(&counters), (10, 1_000));
        counters.files_skipped.add(2);
        counters.bytes_skipped.add(100);
        assert_eq!(estimate.totals(&counters), (8, 900), "what is there already is not to be done");
        counters.files_total.add(20);
        assert_eq!(estimate.totals(&counters), (23, 900), "directories count as files");
        estimate.planned();
        assert_eq!(estimate.totals(&counters), (23, 200));
        assert_eq!(Estimate::default().totals(&counters), (23, 200), "of a part nothing is known");
    }
}
