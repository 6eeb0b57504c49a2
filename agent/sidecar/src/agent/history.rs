//! What the agent remembers of itself over a restart: its last runs, and whether it is paused.
//!
//! A file in the cache directory, replaced as a whole. It informs and decides nothing of what is backed up: one that
//! cannot be read is told and begun anew, and one that cannot be written is told once a change.

use std::collections::VecDeque;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::RunRecord;
use crate::file;

/// How many runs are remembered.
pub const MAX_RUNS: usize = 32;

const NAME: &str = "history.json";

/// Far more than that many records with all their names take.
const MAX_BYTES: u64 = 4 << 20;

/// No run begins by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    pub since: DateTime<Utc>,
    /// `None`: until somebody resumes.
    pub until: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    pause: Option<Pause>,
    /// The newest last.
    #[serde(default)]
    runs: VecDeque<Arc<RunRecord>>,
}

#[derive(Debug, Default)]
pub struct History {
    /// `None` before the first good settings: nothing is written then.
    file: Option<PathBuf>,
    content: Content,
}

impl History {
    /// Keeps itself in that directory from now on. What is remembered there comes before what happened since.
    pub fn open(&mut self, directory: &Path) {
        let path = directory.join(NAME);
        if self.file.as_ref() == Some(&path) {
            return;
        }
        let earlier = read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the runs before this start are forgotten");
            Content::default()
        });
        self.file = Some(path);
        for run in earlier.runs.into_iter().rev() {
            if !self.content.runs.iter().any(|known| known.number == run.number) {
                self.content.runs.push_front(run);
            }
        }
        self.bound();
        self.content.pause = self.content.pause.or(earlier.pause);
    }

    /// The newest last.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Arc<RunRecord>> {
        self.content.runs.iter()
    }

    pub fn last_number(&self) -> u64 {
        self.runs().map(|run| run.number).max().unwrap_or(0)
    }

    pub fn add(&mut self, run: Arc<RunRecord>) {
        self.content.runs.push_back(run);
        self.bound();
        self.keep();
    }

    pub fn pause(&self) -> Option<Pause> {
        self.content.pause
    }

    pub fn set_pause(&mut self, pause: Option<Pause>) {
        if self.content.pause != pause {
            self.content.pause = pause;
            self.keep();
        }
    }

    fn bound(&mut self) {
        let excess = self.content.runs.len().saturating_sub(MAX_RUNS);
        self.content.runs.drain(..excess);
    }

    fn keep(&self) {
        let Some(path) = &self.file else { return };
        let written = serde_json::to_vec(&self.content).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|bytes| file::replace(path, &bytes)) {
            tracing::warn!(path = %path.display(), %error, "this run will be forgotten by a restart");
        }
    }
}

fn read(path: &Path) -> Result<Content> {
    match file::read_regular(path, MAX_BYTES) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Content::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::record::{Outcome, RunEnd, Work};
    use crate::agent::trigger::Trigger;

    fn run(number: u64) -> Arc<RunRecord> {
        let at = DateTime::UNIX_EPOCH;
        let trigger = Trigger::CatchUp { newest: at };
        let hint = Some("do it");
        let end = RunEnd { snapshot: Some("ab".repeat(32)), ..RunEnd::failed("away", hint) };
        let work = Work::default();
        Arc::new(RunRecord { number, work, trigger, requested_at: at, started_at: at, ended_at: at, end })
    }

    fn numbers(history: &History) -> Vec<u64> {
        history.runs().map(|run| run.number).collect()
    }

    #[test]
    fn the_last_runs_and_the_pause_are_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::default();
        history.open(directory.path());
        (1..=40).for_each(|number| history.add(run(number)));
        let pause = Pause { since: DateTime::UNIX_EPOCH, until: None };
        history.set_pause(Some(pause));

        let mut again = History::default();
        again.add(run(41));
        again.open(directory.path());
        assert_eq!(numbers(&again), (10..=41).collect::<Vec<_>>());
        assert_eq!((again.pause(), again.last_number()), (Some(pause), 41));
        let read = again.runs().next().unwrap();
        assert_eq!(**read, *run(10));
        assert_eq!(read.end.outcome, Outcome::Failed);
    }

    #[test]
    fn what_cannot_be_read_is_begun_anew_and_what_cannot_be_written_is_still_remembered() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(NAME), "{").unwrap();
        let mut history = History::default();
        history.open(directory.path());
        history.add(run(1));
        assert_eq!(read(&directory.path().join(NAME)).unwrap().runs.len(), 1);

        let mut nowhere = History::default();
        nowhere.open(&directory.path().join(NAME));
        nowhere.add(run(1));
        assert_eq!(numbers(&nowhere), [1]);
    }
}
