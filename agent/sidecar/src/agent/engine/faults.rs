//! What a run tells of the source: each thing to the log, the first names of each class to the record.
//!
//! A volume may hold a million unreadable files: what is kept and what is logged aloud is bounded, the counts are not.

use std::sync::{Mutex, PoisonError};

use pillion_repository::backup;
use pillion_repository::event::{Event, Reporter};

use crate::cli::output::quote::quote;

/// Names of each class that the record holds.
const MAX_NAMES: usize = 5;

/// Things of each class that are logged for everybody; further ones only where everything is.
const MAX_LOGGED: u64 = 50;

#[derive(Debug, Default)]
pub(super) struct Faults {
    skipped: Class,
    torn: Class,
    vanished: Class,
}

#[derive(Debug, Default)]
struct Class(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    count: u64,
    names: Vec<String>,
}

impl Class {
    /// Whether it is to be logged aloud.
    fn add(&self, name: String) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.count += 1;
        if told.names.len() < MAX_NAMES {
            told.names.push(name);
        }
        told.count <= MAX_LOGGED
    }

    fn part(&self, count: u64, what: &str) -> Option<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = if count > told.names.len() as u64 { ", ..." } else { "" };
        (count > 0).then(|| format!("{count} {what} ({}{more})", told.names.join(", ")))
    }
}

impl Faults {
    /// One sentence for the record; empty where there is nothing to say.
    pub(super) fn sentence(&self, counts: &backup::Faults) -> String {
        let parts = [
            self.skipped.part(counts.skipped, "left out"),
            self.torn.part(counts.torn, "changed while they were read"),
            self.vanished.part(counts.vanished, "gone before they could be read"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Reporter for Faults {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Skipped { path, reason, detail } => {
                let path = quote(path);
                match self.skipped.add(path.clone().into_owned()) {
                    true => tracing::warn!(%path, ?reason, detail, "left out"),
                    false => tracing::debug!(%path, ?reason, detail, "left out"),
                }
            }
            Event::Torn { path } => {
                let path = quote(path);
                match self.torn.add(path.clone().into_owned()) {
                    true => tracing::warn!(%path, "changed while it was read"),
                    false => tracing::debug!(%path, "changed while it was read"),
                }
            }
            Event::Vanished { path } => {
                let path = quote(path);
                match self.vanished.add(path.clone().into_owned()) {
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
