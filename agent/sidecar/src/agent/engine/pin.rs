//! Which repository is the agent's: its ID, kept in the cache directory from the moment it was first opened or made.
//!
//! **Invariant:** once an ID is pinned, a repository that is missing or another one is told and never made anew
//! (`a_repository_that_is_gone_is_never_made_anew`): a volume that is not mounted, or somebody's mistake, must not turn
//! years of snapshots into an empty repository that looks well. That is why a look pins it too, and a run before it
//! has backed anything up (`a_repository_that_was_only_looked_at_is_pinned`,
//! `a_repository_whose_first_run_failed_is_pinned`). A pod's cache may be lost with it; the setting `repositoryId` is not,
//! and stands before what is kept here (`an_id_of_the_settings_counts_before_anything_was_seen`). Where the directory keeps
//! nothing, the process does (`what_one_process_has_seen_is_never_made_anew_whatever_becomes_of_the_cache_directory`); and
//! where what it keeps is shut away, nothing is made (`where_the_pin_is_shut_away_a_repository_is_opened_and_none_made`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pillion_backend::location::Location;
use pillion_repository::filter;
use pillion_repository::format::id::Id;
use pillion_repository::repository::Repository;
use pillion_repository::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::agent::record::RunEnd;
use crate::file;

const NAME: &str = "agent.json";

/// Thousands of repositories: who has so many names them elsewhere.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// IDs by [`key`]: who writes another location into the settings means another repository.
    #[serde(default)]
    repositories: BTreeMap<String, Id>,
}

/// What this process has accepted, by [`key`].
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted(Arc<Mutex<BTreeMap<String, Remembered>>>);

#[derive(Clone, Copy, Debug)]
struct Remembered {
    id: Id,
    /// Then whoever deletes the file wants it forgotten.
    is_in_file: bool,
}

impl Accepted {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.0.lock().expect("no thread panics with it")
    }
}

/// What is known of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Known,
    /// Its directory is none, or has gone.
    Nowhere,
    /// Its directory lets nobody in.
    Denied,
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
    /// The [`key`] of the location.
    location: String,
    /// What to look at first where another repository is there, or none.
    hint: &'static str,
    content: Content,
    pub(super) reach: Reach,
    accepted: Accepted,
    /// The ID that the settings demand.
    demanded: Option<Id>,
}

impl Pin {
    /// Reads what is pinned for a location. A file that cannot be read is an error and not "nothing". That a directory that
    /// cannot be used is done without is told when an ID is to be kept.
    pub(super) fn read(
        cache_directory: &Path,
        location: &Location,
        demanded: Option<Id>,
        accepted: &Accepted,
    ) -> Result<Self> {
        let path = cache_directory.join(NAME);
        let shown = || path.display().to_string();
        let mut reach = Reach::Known;
        let content = match file::read_regular(&path, MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::Refused(format!(
                    "{} is damaged: {e}; delete it if the repository is the right one",
                    shown()
                ))
            })?,
            Err(e) => {
                reach = reach_of_unread(&path).ok_or_else(|| Error::local("read", shown(), e))?;
                Content::default()
            }
        };
        let hint = match location {
            Location::Local(_) => {
                "look first whether a volume is not mounted: the next scheduled run sees what was done"
            }
            Location::S3(_) | Location::Azure(_) | Location::B2(_) => {
                "look first whether bucket, prefix and credentials are the right ones: the next scheduled run sees what \
                 was done"
            }
        };
        let (location, accepted) = (key(location)?, accepted.clone());
        // Also once there is a new directory.
        if reach != Reach::Known
            && let Some(remembered) = accepted.all().get_mut(&location)
        {
            remembered.is_in_file = false;
        }
        Ok(Self { location, hint, path, content, reach, accepted, demanded })
    }

    /// The ID the repository has to have; `None` where any will do, and none at all.
    pub(super) fn id(&self) -> Option<Id> {
        self.demanded.or_else(|| self.remembered()).or_else(|| self.kept().copied())
    }

    /// What this process has accepted, unless the file tells, or its being deleted.
    fn remembered(&self) -> Option<Id> {
        let remembered = *self.accepted.all().get(&self.location)?;
        (!remembered.is_in_file).then_some(remembered.id)
    }

    /// Refuses to make a repository where there may have been one that is pinned.
    pub(super) fn refuse_unknown(&self) -> Result<()> {
        if self.reach != Reach::Denied {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "there is no repository at {}, and {}, which tells whether there was one, is in a directory that lets this \
             user not in: none is made; let the user in, set another cacheDir, or make one with `pillion init`",
            self.location,
            self.path.display(),
        )))
    }

    fn kept(&self) -> Option<&Id> {
        self.content.repositories.get(&self.location)
    }

    /// Passes on what was opened if it is what it has to be. It is kept from now on.
    pub(super) fn accept(&mut self, opened: Result<Repository>) -> Result<Repository, Refusal> {
        let opened = match self.id() {
            Some(id) => self.compare(opened, &id)?,
            None => opened?,
        };
        let id = opened.config.id;
        let mut is_in_file = self.kept() == Some(&id);
        if !is_in_file {
            match self.keep(id) {
                Ok(()) => is_in_file = true,
                // Not to back up because of it would be worse.
                Err(error) => tracing::warn!(
                    %error, "the repository's ID could not be kept: after a restart, a lost one would be made anew"
                ),
            }
        }
        self.accepted.all().insert(self.location.clone(), Remembered { id, is_in_file });
        Ok(opened)
    }

    fn compare(&self, opened: Result<Repository>, id: &Id) -> Result<Repository, Refusal> {
        let (location, shown) = (&self.location, id.short());
        let replaced = |there_is: &str, meant: &str| {
            let why_and_how = match self.demanded {
                Some(_) => {
                    format!("the setting repositoryId names {shown}; {meant}, change or remove the setting")
                }
                None if self.remembered().is_some() => {
                    format!("this agent's snapshots are in {shown}; {meant}, restart the agent")
                }
                None => {
                    format!("this agent's snapshots are in {shown}; {meant}, delete {}", self.path.display())
                }
            };
            Refusal::Replaced {
                message: format!("repository replaced: there is {there_is} at {location}, and {why_and_how}"),
                hint: self.hint,
            }
        };
        match opened {
            Ok(repository) if repository.config.id == *id => Ok(repository),
            Ok(other) => {
                let id = other.config.id.short();
                Err(replaced(&format!("the repository {id}"), &format!("to go on in {id}")))
            }
            Err(Error::NoRepository { why, .. }) => {
                let there_is = why.map_or("none".to_owned(), |why| format!("none ({why})"));
                Err(replaced(&there_is, "to begin a new one there"))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Pins the repository, durably.
    pub(super) fn keep(&mut self, id: Id) -> Result<()> {
        self.content.repositories.insert(self.location.clone(), id);
        self.write().map_err(|e| Error::local("write", self.path.display().to_string(), e))
    }

    fn write(&self) -> std::io::Result<()> {
        file::replace(&self.path, &serde_json::to_vec_pretty(&self.content)?)
    }
}

/// What is known of a file that could not be read; `None` where it is there, or nothing is known that will not pass.
fn reach_of_unread(path: &Path) -> Option<Reach> {
    match std::fs::symlink_metadata(path).map_err(|e| e.kind()) {
        Err(ErrorKind::NotFound) if path.parent().is_some_and(Path::is_dir) => Some(Reach::Known),
        Err(ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(Reach::Nowhere),
        Err(ErrorKind::PermissionDenied) => Some(Reach::Denied),
        _ => None,
    }
}

/// A location as one name, however it was written: `/r/` and `/x/../r` are `/r`. A link on the way is not followed, since
/// where it leads may change with what is mounted.
fn key(location: &Location) -> Result<String> {
    let Location::Local(path) = location else { return Ok(location.to_string()) };
    let path = std::path::absolute(path).map_err(|e| Error::local("find", path.display().to_string(), e))?;
    Ok(String::from_utf8_lossy(&filter::absolute(path.as_os_str().as_bytes(), b"/")).into_owned())
}
