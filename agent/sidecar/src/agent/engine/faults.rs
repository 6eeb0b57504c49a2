//! What a run tells of the source: each thing to the log, the first names of each class and the counts by reason to the
//! record.
//!
//! A volume may hold a million unreadable files: what is kept and what is logged aloud is bounded, the counts are not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pillion_repository::backup;
use pillion_repository::event::{Event, Reporter, SkipReason};

use crate::agent::record::{Fault, FaultyEntry};
use crate::cli::output::quote::quote;

/// Names of each class that the record holds.
const MAX_NAMES: usize = 5;

/// Things of each class that are logged for everybody; further ones only where everything is.
const MAX_LOGGED: u64 = 50;

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    counts: BTreeMap<Fault, u64>,
    reasons: BTreeMap<&'static str, u64>,
    entries: Vec<FaultyEntry>,
}

/// A word of a closed list, for labels and records.
pub(super) fn reason_label(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Unreadable => "unreadable",
        SkipReason::InputOutput => "input-output",
        SkipReason::NestedMount => "nested-mount",
        SkipReason::Swapped => "swapped",
        SkipReason::Unsupported => "unsupported",
        SkipReason::MissingTarget => "missing-target",
    }
}

impl Faults {
    /// Whether it is to be logged aloud.
    fn add(&self, fault: Fault, path: &str, reason: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = told.counts.entry(fault).or_default();
        *count += 1;
        let is_loud = *count <= MAX_LOGGED;
        if *count <= MAX_NAMES as u64 {
            told.entries.push(FaultyEntry { fault, path: path.to_owned(), reason: reason.to_owned() });
        }
        is_loud
    }

    fn add_reason(&self, reason: SkipReason) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told.reasons.entry(reason_label(reason)).or_default() += 1;
    }

    /// The first of each class, the skipped ones first.
    pub(super) fn entries(&self) -> Vec<FaultyEntry> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.clone();
        entries.sort_by_key(|entry| entry.fault);
        entries
    }

    pub(super) fn skipped_by_reason(&self) -> BTreeMap<String, u64> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }

    /// One sentence for the record; empty where there is nothing to say.
    pub(super) fn sentence(&self, counts: &backup::Faults) -> String {
        let entries = self.entries();
        let part = |fault: Fault, count: u64, what: &str| {
            let names: Vec<&str> = entries
                .iter()
                .filter(|entry| entry.fault == fault)
                .map(|entry| entry.path.as_str())
                .collect();
            let more = if count > names.len() as u64 { ", ..." } else { "" };
            (count > 0).then(|| format!("{count} {what} ({}{more})", names.join(", ")))
        };
        let parts = [
            part(Fault::Skipped, counts.skipped, "left out"),
            part(Fault::Torn, counts.torn, "changed while they were read"),
            part(Fault::Vanished, counts.vanished, "gone before they could be read"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Reporter for Faults {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Skipped { path, reason, detail } => {
                let path = quote(path);
                self.add_reason(reason);
                match self.add(Fault::Skipped, &path, &detail) {
                    true => tracing::warn!(%path, ?reason, detail, "left out"),
                    false => tracing::debug!(%path, ?reason, detail, "left out"),
                }
            }
            Event::Torn { path } => {
                let path = quote(path);
                match self.add(Fault::Torn, &path, "") {
                    true => tracing::warn!(%path, "changed while it was read"),
                    false => tracing::debug!(%path, "changed while it was read"),
                }
            }
            Event::Vanished { path } => {
                let path = quote(path);
                match self.add(Fault::Vanished, &path, "") {
                    true => tracing::info!(%path, "gone before it could be read"),
                    false => tracing::debug!(%path, "gone before it could be read"),
                }
            }
            Event::Warning { message } => tracing::warn!("{message}"),
            Event::Damage { detail } => tracing::warn!("{detail}"),
            Event::Step { message } => tracing::debug!("{message}"),
            Event::RestoreProblem { .. } | Event::Excluded { .. } | Event::Item { .. } => {}
        }
    }
}
