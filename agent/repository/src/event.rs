//! What the engine tells while it works. Errors end a job; events do not.

use std::sync::atomic::AtomicU64;

/// Why something of the source is not, or not surely, in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    Unreadable,
    InputOutput,
    /// A mount point below the source that the agent does not cross.
    NestedMount,
    /// It changed its type or identity between being listed and being opened.
    Swapped,
    /// The name can be in no tree, or the directory is larger than the limits.
    Unsupported,
    MissingTarget,
}

/// One thing that happened. Paths are raw bytes as the system has them.
#[derive(Debug)]
pub enum Event<'a> {
    /// Left out: the outcome is incomplete.
    Skipped {
        path: &'a [u8],
        reason: SkipReason,
        detail: String,
    },
    /// Changed while it was read: kept, but perhaps in no state it ever had.
    Torn {
        path: &'a [u8],
    },
    /// Gone between being listed and being opened.
    Vanished {
        path: &'a [u8],
    },
    /// Left out on the user's word.
    Excluded {
        path: &'a [u8],
    },
    /// An entry is done. Told only where [`Reporter::wants_items`].
    Item {
        path: &'a [u8],
        change: Change,
        size_bytes: u64,
    },
    /// Something restored differs from what was asked (owner, attribute), or could not be restored.
    RestoreProblem {
        path: &'a [u8],
        detail: String,
    },
    /// Something `check` found.
    Damage {
        detail: String,
    },
    Warning {
        message: String,
    },
    /// A step of a job that takes long begins, for people.
    Step {
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    New,
    Modified,
    Unchanged,
    Restored,
    Updated,
    Deleted,
}

/// Who is told. Called from many threads.
pub trait Reporter: Send + Sync {
    fn report(&self, event: Event<'_>);

    fn wants_items(&self) -> bool {
        false
    }
}

/// Told to nobody.
#[derive(Debug)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: Event<'_>) {}
}

/// Counters of a running job, for progress bars and metrics: read them whenever you like.
#[derive(Debug, Default)]
pub struct Progress {
    pub files_done: AtomicU64,
    pub bytes_done: AtomicU64,
    /// What the whole is, or probably is; 0 while nobody can tell.
    pub files_total: AtomicU64,
    pub bytes_total: AtomicU64,
    pub errors: AtomicU64,
    /// Of a restore: what the target has already, and what went from it.
    pub files_skipped: AtomicU64,
    pub bytes_skipped: AtomicU64,
    pub files_deleted: AtomicU64,
}
