//! What snapshots hold, for whoever asks over the control listener: read beside the runs, which know nothing of it.
//!
//! Each reading has a thread of its own and ends with whoever asked. What it takes is bounded, since a run may be at work in
//! the same memory: there are [`MAX_READINGS`] at most, they load one blob at a time between them, share the index with
//! the run, and open the repository with the key that the run has. The store is asked over a way of its own, so that what
//! a reading asks is no sign of life of a run.
//!
//! **Invariant:** nobody is shown a snapshot that is not this agent's own, nor told that there is one
//! (`a_snapshot_of_somebody_else_is_as_unknown_as_one_that_never_was`).

mod reader;
mod stream;

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use crate::agent::config::Config;
use crate::agent::view::snapshots::Snapshot;
use crate::environment::Environment;
use reader::Reader;
pub use stream::Body;

/// At once. Who comes later waits a moment, and is told to come again.
pub const MAX_READINGS: usize = 2;

/// A reading that is over still has its lock to remove.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// After this nobody waits any more for a reading to end.
const MAX_FAREWELL: Duration = Duration::from_secs(5);

/// What is asked for. Paths are absolute and lead through no `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Snapshots,
    Snapshot(Name),
    /// What a folder holds.
    Files(Name, Vec<u8>),
    /// What a file holds.
    Content(Name, Vec<u8>, Portion),
    /// A folder, as a tar archive.
    Archive(Name, Vec<u8>),
}

/// Which snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Latest,
    /// The beginning of an ID: small hex digits, at least one and at most 64.
    Prefix(String),
}

/// Which bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Portion {
    Whole,
    /// From there, to the end unless that is set too. Only of the file with that tag, where one is given.
    From {
        first: u64,
        last: Option<u64>,
        tag: Option<String>,
    },
    /// So many at the end.
    Last {
        count: u64,
        tag: Option<String>,
    },
}

#[derive(Debug)]
pub enum Answer {
    /// The newest first.
    Snapshots(Vec<Snapshot>),
    Snapshot(Box<Snapshot>),
    Listing(Body),
    File(File, Body),
    Archive {
        name: Vec<u8>,
        body: Body,
    },
}

/// What is known of a file before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: Vec<u8>,
    pub size_bytes: u64,
    /// What follows, where that is not all.
    pub part: Option<Range<u64>>,
    /// The same for the same content and no other.
    pub tag: String,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("as many readings as there may be are under way")]
    Busy,
    #[error("{0}")]
    NoCredentials(String),
    /// The repository is not there, or another one is.
    #[error("{0}")]
    NoRepository(String),
    #[error("this agent has no such snapshot")]
    NoSuchSnapshot,
    #[error("more than one snapshot of this agent begins like this")]
    Ambiguous,
    #[error("nothing is at this path in the snapshot")]
    NoSuchEntry,
    #[error("this is no file; a folder is read as an archive")]
    NotAFile,
    #[error("this is no folder")]
    NotAFolder,
    #[error("the file ends before that")]
    OutOfRange { size_bytes: u64 },
    #[error("{0}")]
    LargeFolder(String),
    /// Somebody else changes the repository.
    #[error("{0}")]
    Locked(String),
    #[error("the store gave no answer in time")]
    Silent,
    /// Whoever asked has gone, or the agent ends.
    #[error("the reading was ended")]
    Ended,
    #[error("{0}")]
    Failed(String),
}

/// All readings of an agent.
#[derive(Debug)]
pub struct Readings {
    kept: Arc<Kept>,
    environment: Environment,
    room: Arc<Semaphore>,
    /// To open a repository that no run has opened takes much memory for a moment, and so does its index.
    opening: Mutex<()>,
    /// Held for one blob.
    turn: Arc<Mutex<()>>,
}

impl Readings {
    pub(super) fn new(kept: Arc<Kept>, environment: Environment) -> Self {
        let room = Arc::new(Semaphore::new(MAX_READINGS));
        Self { kept, environment, room, opening: Mutex::default(), turn: Arc::default() }
    }

    /// Begins to read. What is long follows in a [`Body`], with whose end the reading ends too, as with `stop`. The store
    /// is waited for on `runtime`.
    pub async fn read(
        self: &Arc<Self>,
        config: Arc<Config>,
        wanted: Wanted,
        runtime: Handle,
        stop: &CancellationToken,
    ) -> Result<Answer, Unreadable> {
        let room = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.room).acquire_owned()).await;
        let room = room.map_err(|_| Unreadable::Busy)?.expect("the semaphore is never closed");
        let (sender, answer) = oneshot::channel();
        let cancel = stop.child_token();
        // Also if whoever waits here is gone before there is an answer. A body has a guard of its own.
        let end = cancel.clone().drop_guard();
        let (readings, its) = (Arc::clone(self), cancel.clone());
        let read = move || {
            Reader::new(&readings, &config, runtime, its, sender).read(&wanted);
            drop(room);
        };
        let spawned = std::thread::Builder::new().name("reading".to_owned()).spawn(read);
        spawned.map_err(|e| Unreadable::Failed(format!("start a thread: {e}")))?;
        let answer = tokio::time::timeout(stream::MAX_SILENCE, answer).await;
        let answer = answer.map_err(|_| Unreadable::Silent)?;
        let answer = answer.map_err(|_| Unreadable::Failed("a bug ended the reading".to_owned()))??;
        end.disarm();
        Ok(answer)
    }

    /// Waits until all have ended, which they do with their tokens: a lock is to be removed.
    pub async fn ended(&self) {
        let all = u32::try_from(MAX_READINGS).expect("they are few");
        let _some_hang = tokio::time::timeout(MAX_FAREWELL, self.room.acquire_many(all)).await;
    }
}
