//! What is found, told at once and counted for the report. Shared by all threads.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pillion_backend::FileKind;

use super::Report;
use crate::error::{Error, Result};
use crate::event::{Event, Progress, Reporter};
use crate::format::id::Id;

pub(super) struct Findings<'a> {
    reporter: &'a dyn Reporter,
    progress: &'a Progress,
    errors: AtomicU64,
    /// Some blob that a snapshot may need is missing or damaged, or a tree says what cannot be.
    loss: AtomicBool,
    repair_index: AtomicBool,
    prune: AtomicBool,
    unreferenced_packs: AtomicU64,
    broken_packs: Mutex<BTreeSet<Id>>,
    broken_snapshots: Mutex<BTreeSet<Id>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(reporter: &'a dyn Reporter, progress: &'a Progress) -> Self {
        Self {
            reporter,
            progress,
            errors: AtomicU64::new(0),
            loss: AtomicBool::new(false),
            repair_index: AtomicBool::new(false),
            prune: AtomicBool::new(false),
            unreferenced_packs: AtomicU64::new(0),
            broken_packs: Mutex::default(),
            broken_snapshots: Mutex::default(),
        }
    }

    pub(super) fn step(&self, message: impl Into<String>) {
        self.reporter.report(Event::Step { message: message.into() });
    }

    /// No damage.
    pub(super) fn note(&self, message: impl Into<String>) {
        self.reporter.report(Event::Warning { message: message.into() });
    }

    pub(super) fn damage(&self, detail: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.progress.errors.fetch_add(1, Ordering::Relaxed);
        self.affects(detail);
    }

    /// A consequence of damage that has been counted.
    pub(super) fn affects(&self, detail: impl Into<String>) {
        self.reporter.report(Event::Damage { detail: detail.into() });
    }

    /// Damage that is not told again, as others of its kind were.
    pub(super) fn untold_damage(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.progress.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn broken_pack(&self, pack: Id, detail: impl std::fmt::Display) {
        self.broken_packs.lock().expect("no thread panics with it").insert(pack);
        self.damage(format!("pack {pack}: {detail}"));
    }

    pub(super) fn broken_snapshot(&self, snapshot: Id, detail: impl std::fmt::Display) {
        self.broken_snapshots.lock().expect("no thread panics with it").insert(snapshot);
        self.damage(format!("snapshot {snapshot}: {detail}"));
    }

    pub(super) fn lost_something(&self) {
        self.loss.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_loss(&self) -> bool {
        self.loss.load(Ordering::Relaxed)
    }

    pub(super) fn suggest_repair_index(&self) {
        self.repair_index.store(true, Ordering::Relaxed);
    }

    pub(super) fn suggest_prune(&self) {
        self.prune.store(true, Ordering::Relaxed);
    }

    pub(super) fn unreferenced_packs(&self, count: u64) {
        self.unreferenced_packs.store(count, Ordering::Relaxed);
        if count > 0 {
            self.suggest_prune();
            self.note(format!(
                "{count} additional files were found in the repository, which likely contain duplicate data. \
                 This is no damage; `restic prune` removes them."
            ));
        }
    }

    pub(super) fn conclude(self, report: &mut Report) {
        let sorted = |ids: Mutex<BTreeSet<Id>>| {
            ids.into_inner().expect("no thread panics with it").into_iter().collect::<Vec<_>>()
        };
        report.errors = self.errors.into_inner();
        report.suggest_repair_index = self.repair_index.into_inner();
        report.suggest_prune = self.prune.into_inner();
        report.unreferenced_packs = self.unreferenced_packs.into_inner();
        report.broken_packs = sorted(self.broken_packs);
        report.broken_snapshots = sorted(self.broken_snapshots);
    }
}

/// An error that ends the check is passed on; any other is about the one file that was looked at.
pub(super) fn of_the_file(error: Error) -> Result<Error> {
    match error {
        Error::Cancelled | Error::LockLost(_) => Err(error),
        other => Ok(other),
    }
}

/// The reason alone: who prints it has named the file.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Damaged { why, .. } | Error::DamagedBlob { why, .. } => why.to_string(),
        other => other.to_string(),
    }
}

/// A file in full, as the commands that repair it want it.
pub(super) fn full_name(kind: FileKind, id: &Id) -> String {
    format!("{} {id}", kind.noun())
}
