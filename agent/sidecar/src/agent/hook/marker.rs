//! The word on the disk that a workload was told to hold still and was not yet told to go on.
//!
//! Written before the first hook begins and removed once the second one ran, so that an agent that is killed in between
//! finds it when it starts again. Several agents may share a cache directory: each has a marker of its own name, and an open
//! one is locked by the process whose it is, which the end of that process undoes.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use pillion_repository::format::id::Id;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::agent::config::Config;
use crate::agent::config::plan::Plan;
use crate::file;

const MAX_BYTES: u64 = 64 << 10;

/// What people find in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub opened_at: DateTime<Utc>,
    /// What the workload was told with.
    pub hook: String,
    /// The run that did.
    pub run: u64,
}

/// A quiesce that is open.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    /// Held for its lock.
    _file: File,
}

/// Where the marker of this agent's plan is.
pub fn path(config: &Config, plan: &Plan) -> PathBuf {
    let whose = match &plan.name {
        Some(plan) => format!("{}\n{plan}", config.name()),
        None => config.name().to_owned(),
    };
    config.cache_directory.join(format!("quiesce-{}.json", Id::of(whose.as_bytes()).short()))
}

impl Marker {
    /// Writes it, durably. One that is there already is replaced: the quiesce is open once.
    pub fn write(path: &Path, note: &Note) -> Result<Self> {
        file::replace(path, &serde_json::to_vec_pretty(note)?)?;
        let file = File::open(path)?;
        // A file system without locks has the marker all the same.
        let _locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { path: path.to_owned(), _file: file })
    }

    /// The marker of a process that ended without removing it, with what it says, if that can be read. `None` where there
    /// is none, or where its process lives.
    pub fn find(path: &Path) -> Result<Option<(Self, Option<Note>)>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK) {
            return Ok(None);
        }
        // Half a note, or none, says the one thing that counts: it is there.
        let note = file::read_regular(path, MAX_BYTES).ok();
        let note = note.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Some((Self { path: path.to_owned(), _file: file }, note)))
    }

    /// Removes it, durably.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path)?;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().expect("the file is in a directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note { opened_at: DateTime::UNIX_EPOCH, hook: "command /freeze".to_owned(), run: 3 }
    }

    #[test]
    fn a_marker_is_found_once_its_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/quiesce-0.json");
        assert!(Marker::find(&path).unwrap().is_none());
        let marker = Marker::write(&path, &note()).unwrap();
        assert!(Marker::find(&path).unwrap().is_none(), "whoever wrote it lives");
        drop(marker);
        let (found, said) = Marker::find(&path).unwrap().unwrap();
        assert_eq!(said, Some(note()));
        found.remove().unwrap();
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn half_a_note_counts_as_a_marker() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quiesce-0.json");
        std::fs::write(&path, "{\"opened_at\"").unwrap();
        let (_, said) = Marker::find(&path).unwrap().unwrap();
        assert_eq!(said, None);
        drop(Marker::write(&path, &note()).unwrap());
        assert_eq!(Marker::find(&path).unwrap().unwrap().1, Some(note()));
    }
}
