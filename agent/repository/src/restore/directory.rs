//! Directories of the target: opened on demand, closed when too many are open, finished when nothing in them is
//! left to be done.
//!
//! A directory counts what is still to come in it: the walk, each planned file, each directory below. Whoever
//! takes the last away sets its metadata, since every entry made before would have moved its times.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::metadata::Wanted;
use super::{Run, finish};
use crate::error::{Error, Result};
use crate::limits::MAX_OPEN_DIRECTORIES;
use crate::target::{Owner, TargetDir};

/// Whether the directory is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Only in a dry run: it would be made.
    Missing,
    /// It was there before this run and may hold anything.
    Found,
    /// This run made it, so nothing is in it but this run's.
    New,
}

#[derive(Debug)]
pub(super) struct Directory {
    above: Option<Arc<Directory>>,
    name: Box<[u8]>,
    pub(super) presence: Presence,
    opened: Mutex<Option<Arc<TargetDir>>>,
    /// What is still to be done in here, the walk included.
    pending: AtomicUsize,
    ending: Mutex<Option<Ending>>,
    /// What a file made in here is like before anything is set.
    pub(super) created: OnceLock<Created>,
}

/// What to do when everything in a directory is done.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// `None` for the target itself, whose metadata is left as it is.
    pub(super) metadata: Option<Box<Wanted>>,
    /// What is there and not in the snapshot, to be deleted.
    pub(super) superfluous: Vec<Box<[u8]>>,
}

/// How the system makes a new file in a directory: learned from the first one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    pub(super) owner: Owner,
    /// The directory hands down an access control list.
    pub(super) has_attributes: bool,
}

impl Directory {
    pub(super) fn root(opened: Arc<TargetDir>) -> Self {
        Self::new(None, b"", Presence::Found, Some(opened))
    }

    /// The target of a dry run that does not exist.
    pub(super) fn missing_root() -> Self {
        Self::new(None, b"", Presence::Missing, None)
    }

    /// A directory in `above`, which is not done before this one is.
    pub(super) fn below(
        above: &Arc<Self>,
        name: &[u8],
        presence: Presence,
        opened: Option<(&Run<'_>, Arc<TargetDir>)>,
    ) -> Arc<Self> {
        above.one_more();
        let (run, opened) = opened.unzip();
        let directory = Arc::new(Self::new(Some(Arc::clone(above)), name, presence, opened));
        if let Some(run) = run {
            run.open_directories.remember(&directory);
        }
        directory
    }

    fn new(
        above: Option<Arc<Self>>,
        name: &[u8],
        presence: Presence,
        opened: Option<Arc<TargetDir>>,
    ) -> Self {
        Self {
            above,
            name: name.into(),
            presence,
            opened: Mutex::new(opened),
            pending: AtomicUsize::new(1),
            ending: Mutex::new(None),
            created: OnceLock::new(),
        }
    }

    /// Where this is within what is restored, as restic shows it.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut directory = self;
        while let Some(above) = &directory.above {
            names.push(&directory.name);
            directory = above;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    pub(super) fn is_root(&self) -> bool {
        self.above.is_none()
    }

    /// The directory, opened; by its names from the target on, so that no link can lead away.
    pub(super) fn open(self: &Arc<Self>, run: &Run<'_>) -> Result<Arc<TargetDir>> {
        let mut opened = self.lock_opened();
        if let Some(opened) = &*opened {
            return Ok(Arc::clone(opened));
        }
        let Some(above) = &self.above else {
            return Err(Error::Refused("the target does not exist".to_owned()));
        };
        let directory = Arc::new(above.open(run)?.open_dir(&self.name)?);
        *opened = Some(Arc::clone(&directory));
        drop(opened);
        run.open_directories.remember(self);
        Ok(directory)
    }

    fn lock_opened(&self) -> MutexGuard<'_, Option<Arc<TargetDir>>> {
        self.opened.lock().expect("no thread panics with it")
    }

    pub(super) fn one_more(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// What is to be done at the end. Without it nothing is: the directory was only looked into.
    pub(super) fn set_ending(&self, ending: Ending) {
        *self.ending.lock().expect("no thread panics with it") = Some(ending);
    }

    /// One thing in the directory is done. If it was the last, so is the directory.
    pub(super) fn one_done(self: &Arc<Self>, run: &Run<'_>) -> Result<()> {
        let mut directory = self;
        while directory.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ending = directory.ending.lock().expect("no thread panics with it").take();
            if let Some(ending) = ending {
                finish::directory(run, directory, ending)?;
            }
            match &directory.above {
                Some(above) => directory = above,
                None => break,
            }
        }
        Ok(())
    }
}

/// The directories that are open, and the file systems they lie in.
#[derive(Debug, Default)]
pub(super) struct OpenDirectories {
    /// In the order they were opened. The target itself is not among them and stays open.
    recent: Mutex<VecDeque<Weak<Directory>>>,
    /// One directory of each file system mounted below the target, with its device.
    others: Mutex<Vec<(u64, Arc<TargetDir>)>>,
}

impl OpenDirectories {
    /// Closes the one that was opened first where there are too many.
    fn remember(&self, directory: &Arc<Directory>) {
        let mut recent = self.recent.lock().expect("no thread panics with it");
        recent.push_back(Arc::downgrade(directory));
        let oldest = if recent.len() > MAX_OPEN_DIRECTORIES { recent.pop_front() } else { None };
        drop(recent);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.lock_opened().take();
        }
    }

    /// To be told of every directory that is on another device than the one above it.
    pub(super) fn found_file_system(&self, device: u64, opened: &Arc<TargetDir>) {
        let mut others = self.others.lock().expect("no thread panics with it");
        if others.iter().all(|(known, _)| *known != device) {
            others.push((device, Arc::clone(opened)));
        }
    }

    /// Returns when all that was written survives a power cut.
    pub(super) fn sync_all(&self, run: &Run<'_>) -> Result<()> {
        run.root.open(run)?.sync_file_system()?;
        let others = self.others.lock().expect("no thread panics with it");
        others.iter().try_for_each(|(_, opened)| opened.sync_file_system())
    }
}
