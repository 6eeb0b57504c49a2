//! How a run ended: what metrics, status and exit codes are made of.

use std::fmt;

use chrono::{DateTime, Utc};

use super::trigger::Trigger;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything of the source is in the snapshot.
    Complete,
    /// There is a snapshot, and something is not in it.
    Incomplete,
    Failed,
    /// Where this agent's repository was there is none, or another one. Somebody has to decide; no retry can.
    RepositoryReplaced,
    /// The process was told to end before the run had ended.
    Stopped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "Complete",
            Self::Incomplete => "Incomplete",
            Self::Failed => "Failed",
            Self::RepositoryReplaced => "RepositoryReplaced",
            Self::Stopped => "Stopped",
        })
    }
}

/// What the engine says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub outcome: Outcome,
    /// The full ID of the new snapshot.
    pub snapshot: Option<String>,
    /// Entries that were left out.
    pub skipped: u64,
    /// Entries that changed while they were read.
    pub torn: u64,
    /// Entries that were gone before they could be read.
    pub vanished: u64,
    pub files_processed: u64,
    pub bytes_processed: u64,
    /// Bytes added to the repository, as stored.
    pub bytes_added: u64,
    /// What is wrong, one sentence; empty where nothing is.
    pub message: String,
    pub hint: Option<&'static str>,
}

impl RunEnd {
    pub fn failed(message: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { message: message.into(), hint, ..Self::empty(Outcome::Failed) }
    }

    pub fn replaced(message: String, hint: Option<&'static str>) -> Self {
        Self { message, hint, ..Self::empty(Outcome::RepositoryReplaced) }
    }

    pub fn stopped() -> Self {
        Self::empty(Outcome::Stopped)
    }

    /// An end with nothing counted yet.
    pub fn empty(outcome: Outcome) -> Self {
        Self {
            outcome,
            snapshot: None,
            skipped: 0,
            torn: 0,
            vanished: 0,
            files_processed: 0,
            bytes_processed: 0,
            bytes_added: 0,
            message: String::new(),
            hint: None,
        }
    }
}

impl From<pillion_repository::Error> for RunEnd {
    fn from(error: pillion_repository::Error) -> Self {
        match error {
            pillion_repository::Error::Cancelled => Self::stopped(),
            error => Self::failed(error.to_string(), hint(&error)),
        }
    }
}

/// What to do, where the engine's words are those of the command line.
fn hint(error: &pillion_repository::Error) -> Option<&'static str> {
    match error {
        pillion_repository::Error::WrongPassword => {
            Some("check RESTIC_PASSWORD, the file in credentialsDir and the variable")
        }
        pillion_repository::Error::Locked(_) => {
            Some("wait, set a longer retryLock, or remove a dead process's lock with `pillion unlock`")
        }
        error => error.hint(),
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    pub number: u64,
    pub trigger: Trigger,
    pub requested_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub end: RunEnd,
}

impl RunRecord {
    /// Tells the log, once.
    pub(super) fn log(&self) {
        let seconds = (self.ended_at - self.started_at).num_milliseconds() as f64 / 1000.0;
        let end = &self.end;
        let snapshot = end.snapshot.as_deref().map(|id| id.get(..8).unwrap_or(id));
        macro_rules! tell {
            ($level:ident, $text:expr) => {
                tracing::$level!(
                    run = self.number,
                    outcome = %end.outcome,
                    seconds,
                    snapshot,
                    skipped = end.skipped,
                    torn = end.torn,
                    vanished = end.vanished,
                    files = end.files_processed,
                    bytes = end.bytes_processed,
                    bytes_added = end.bytes_added,
                    problem = (!end.message.is_empty()).then_some(end.message.as_str()),
                    hint = end.hint,
                    $text
                )
            };
        }
        match end.outcome {
            Outcome::Complete | Outcome::Stopped => tell!(info, "run ended"),
            Outcome::Incomplete => tell!(warn, "run ended: something is not in the snapshot"),
            Outcome::Failed => tell!(error, "run failed"),
            Outcome::RepositoryReplaced => tell!(error, "run refused"),
        }
    }
}
