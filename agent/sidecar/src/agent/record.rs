//! How a run ended: the one record that metrics, status, page and exit codes are views of.
//!
//! Plain data, kept over restarts ([`super::history`]): a field that is added later has a default, and one that is here
//! keeps its name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::plan::PlanName;
use super::trigger::Trigger;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Outcome {
    /// Everything of the source is in the snapshot.
    Complete,
    /// There is a snapshot, and something is not in it.
    Incomplete,
    /// The check found damage: something that was backed up may not be restorable.
    Damaged,
    Failed,
    /// Where this agent's repository was there is none, or another one. Somebody has to decide; no retry can.
    RepositoryReplaced,
    /// The process was told to end before the run had ended.
    Stopped,
    /// Somebody did not want the run any more.
    Cancelled,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Incomplete,
        Self::Damaged,
        Self::Failed,
        Self::RepositoryReplaced,
        Self::Stopped,
        Self::Cancelled,
    ];

    /// Whether there is a new snapshot that can be restored.
    pub fn has_snapshot(self) -> bool {
        matches!(self, Self::Complete | Self::Incomplete)
    }

    /// Whether what was asked for was done, whatever it showed.
    pub fn is_conclusive(self) -> bool {
        matches!(self, Self::Complete | Self::Incomplete | Self::Damaged)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "Complete",
            Self::Incomplete => "Incomplete",
            Self::Damaged => "Damaged",
            Self::Failed => "Failed",
            Self::RepositoryReplaced => "RepositoryReplaced",
            Self::Stopped => "Stopped",
            Self::Cancelled => "Cancelled",
        })
    }
}

/// What a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Backup,
    /// Whether everything that snapshots need is there and whole.
    Check,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Check => "check",
        })
    }
}

/// What is done, and for which plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Work {
    #[serde(default)]
    pub kind: Kind,
    /// `None` where there is but one plan, and for what is about the whole repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
}

impl Work {
    pub const CHECK: Self = Self { kind: Kind::Check, plan: None };

    pub fn backup(plan: Option<PlanName>) -> Self {
        Self { kind: Kind::Backup, plan }
    }

    /// The plan as a label: nothing, where it has no name.
    pub fn plan_label(&self) -> &str {
        self.plan.as_ref().map_or("", PlanName::as_str)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plan {
            Some(plan) => write!(f, "{} of {plan}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

/// What a check looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Checked {
    /// Findings that are damage.
    pub errors: u64,
    pub snapshots: u64,
    pub packs: u64,
    /// Packs of which every byte was read: those of one group of several.
    pub packs_read: u64,
    pub group: u64,
    pub groups: u64,
}

/// Files or directories, by what the last snapshot knew of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Changes {
    pub new: u64,
    pub changed: u64,
    pub unmodified: u64,
}

impl AddAssign for Changes {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.changed += more.changed;
        self.unmodified += more.unmodified;
    }
}

/// How an entry did not come into the snapshot as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Left out, and should not have been.
    Skipped,
    /// Changed while it was read.
    Torn,
    /// Gone before it could be read.
    Vanished,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skipped => "left out",
            Self::Torn => "changed while it was read",
            Self::Vanished => "gone before it could be read",
        })
    }
}

/// An entry that did not come into the snapshot as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultyEntry {
    pub fault: Fault,
    /// Control characters and what is no text are escaped.
    pub path: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What the engine says of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    pub outcome: Outcome,
    /// The full ID of the new snapshot.
    pub snapshot: Option<String>,
    /// Entries that were left out.
    pub skipped: u64,
    /// The same by their reasons, which are words of a closed list.
    #[serde(default)]
    pub skipped_by_reason: BTreeMap<String, u64>,
    /// Entries that changed while they were read.
    pub torn: u64,
    /// Entries that were gone before they could be read.
    pub vanished: u64,
    /// The first of each sort.
    #[serde(default)]
    pub faulty_entries: Vec<FaultyEntry>,
    #[serde(default)]
    pub files: Changes,
    #[serde(default)]
    pub directories: Changes,
    pub files_processed: u64,
    pub bytes_processed: u64,
    /// Bytes added to the repository, as stored.
    pub bytes_added: u64,
    /// All blobs of the repository after the run, as stored; `None` where that was not seen.
    #[serde(default)]
    pub repository_bytes: Option<u64>,
    /// Of a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Box<Checked>>,
    /// Whether it came to nothing because the store does not answer: trying again is of no use until it does.
    #[serde(default)]
    pub store_is_away: bool,
    /// What is wrong, one sentence; empty where nothing is.
    pub message: String,
    pub hint: Option<Cow<'static, str>>,
}

impl RunEnd {
    pub fn failed(message: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self { message: message.into(), hint: hint.map(Cow::from), ..Self::empty(Outcome::Failed) }
    }

    pub fn replaced(message: String, hint: Option<&'static str>) -> Self {
        Self { message, hint: hint.map(Cow::from), ..Self::empty(Outcome::RepositoryReplaced) }
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
            skipped_by_reason: BTreeMap::new(),
            torn: 0,
            vanished: 0,
            faulty_entries: Vec::new(),
            files: Changes::default(),
            directories: Changes::default(),
            files_processed: 0,
            bytes_processed: 0,
            bytes_added: 0,
            repository_bytes: None,
            checked: None,
            store_is_away: false,
            message: String::new(),
            hint: None,
        }
    }
}

impl From<pillion_repository::Error> for RunEnd {
    fn from(error: pillion_repository::Error) -> Self {
        match error {
            pillion_repository::Error::Cancelled => Self::stopped(),
            error => {
                let store_is_away =
                    matches!(&error, pillion_repository::Error::Backend(e) if !e.is_permanent());
                Self { store_is_away, ..Self::failed(error.to_string(), hint(&error)) }
            }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    pub number: u64,
    #[serde(flatten)]
    pub work: Work,
    pub trigger: Trigger,
    pub requested_at: DateTime<Utc>,
    /// Of a backup: what was written before is in the snapshot.
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    #[serde(flatten)]
    pub end: RunEnd,
}

impl RunRecord {
    pub fn seconds(&self) -> f64 {
        // A clock that was set back makes no time negative.
        (self.ended_at - self.started_at).num_milliseconds().max(0) as f64 / 1000.0
    }

    /// Tells the log, once.
    pub(super) fn log(&self) {
        let seconds = self.seconds();
        let end = &self.end;
        let snapshot = end.snapshot.as_deref().map(|id| id.get(..8).unwrap_or(id));
        macro_rules! tell {
            ($level:ident, $text:expr) => {
                tracing::$level!(
                    run = self.number,
                    work = %self.work,
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
                    hint = end.hint.as_deref(),
                    $text
                )
            };
        }
        match end.outcome {
            Outcome::Complete | Outcome::Stopped | Outcome::Cancelled => tell!(info, "run ended"),
            Outcome::Incomplete => tell!(warn, "run ended: something is not in the snapshot"),
            Outcome::Damaged => tell!(error, "run ended: the repository is damaged"),
            Outcome::Failed => tell!(error, "run failed"),
            Outcome::RepositoryReplaced => tell!(error, "run refused"),
        }
    }
}
