//! Which repository is the agent's: its ID, kept in the cache directory from the first success on.
//!
//! **Invariant:** once an ID is pinned, a repository that is missing or another one is told and never made anew
//! (`a_repository_that_is_gone_is_never_made_anew`): a volume that is not mounted, or somebody's mistake, must not turn
//! years of snapshots into an empty repository that looks well.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pillion_repository::format::id::Id;
use pillion_repository::repository::Repository;
use pillion_repository::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::agent::config::redact_location;
use crate::agent::record::RunEnd;

const NAME: &str = "agent.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// IDs by location: who writes another location into the settings means another repository.
    #[serde(default)]
    repositories: BTreeMap<String, Id>,
}

/// Why a job did not get its repository, or ended early.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is there now, in place of the pinned one, and what a person does about it.
    Replaced {
        message: String,
        hint: &'static str,
    },
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for RunEnd {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Replaced { message, hint } => Self::replaced(message, Some(hint)),
            Refusal::Failed(error) => Self::from(error),
        }
    }
}

#[derive(Debug)]
pub(super) struct Pin {
    path: PathBuf,
    location: String,
    content: Content,
}

impl Pin {
    /// Reads what is pinned for a location. A file that cannot be read is an error and not "nothing".
    pub(super) fn read(cache_directory: &Path, location: &str) -> Result<Self> {
        let path = cache_directory.join(NAME);
        let shown = || path.display().to_string();
        let content = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::Refused(format!(
                    "{} is damaged: {e}; delete it if the repository is the right one",
                    shown()
                ))
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(e) => return Err(Error::local("read", shown(), e)),
        };
        Ok(Self { location: redact_location(location), path, content })
    }

    pub(super) fn id(&self) -> Option<&Id> {
        self.content.repositories.get(&self.location)
    }

    /// Passes on what was opened if it is what is pinned, or nothing is.
    pub(super) fn accept(&self, opened: Result<Repository>) -> Result<Repository, Refusal> {
        let Some(pinned) = self.id() else { return Ok(opened?) };
        let (shown, path) = (pinned.short(), self.path.display());
        let replaced = |there_is: &str, meant: &str| Refusal::Replaced {
            message: format!(
                "repository replaced: there is {there_is} at {}, and this agent's snapshots are in {shown}; \
                 {meant}, delete {path}",
                self.location,
            ),
            hint: "look first whether a volume is not mounted: the next scheduled run sees what was done",
        };
        match opened {
            Ok(repository) if repository.config.id == *pinned => Ok(repository),
            Ok(other) => {
                let id = other.config.id.short();
                Err(replaced(&format!("the repository {id}"), &format!("to go on in {id}")))
            }
            Err(Error::NoRepository { .. }) => Err(replaced("none", "to begin a new one there")),
            Err(e) => Err(e.into()),
        }
    }

    /// Pins the repository, durably, unless it is pinned already.
    pub(super) fn keep(mut self, id: &Id) -> Result<()> {
        if self.id() == Some(id) {
            return Ok(());
        }
        self.content.repositories.insert(self.location.clone(), *id);
        self.write().map_err(|e| Error::local("write", self.path.display().to_string(), e))
    }

    fn write(&self) -> std::io::Result<()> {
        let directory = self.path.parent().expect("the file is in a directory");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let temporary = self.path.with_extension("json.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(&self.content)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        std::fs::File::open(directory)?.sync_all()
    }
}
