//! The files of the cache: taking stock when it is opened, reading, writing, removing.
//!
//! A file gets its name when it is whole, and is not synced: whoever reads it checks every byte. All that changes
//! the directory is done while the budget is locked, so that what is counted is what is there.

#![allow(clippy::disallowed_methods, reason = "these files are the program's own, not a user's")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::budget::{Budget, FirstUse};
use super::{Key, REPOSITORIES, Shared, What, make_directory};
use crate::format::id::Id;

/// The name of a file that is being written. There is one writer.
const NEW: &str = "new";

impl Shared {
    fn folder(&self, repository: u32, what: What) -> PathBuf {
        let id = self.repositories.lock().expect("no thread panics with it")[repository as usize];
        self.directory.join(REPOSITORIES).join(id.to_string()).join(what.folder())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder(key.repository, key.what).join(key.file_name())
    }

    /// Counts what is there, the longest unused first, and deletes what a killed process left half done.
    pub(super) fn take_stock(&self) {
        let mut found: Vec<(SystemTime, Key, u64)> = Vec::new();
        for (name, path) in entries(&self.directory.join(REPOSITORIES)) {
            let Ok(id) = name.parse::<Id>() else { continue };
            let repository = self.number_of(id);
            for what in [What::Snapshot, What::Index, What::Trees(0)] {
                let folder = path.join(what.folder());
                for (name, path) in entries(&folder) {
                    let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                    match Key::parse(repository, what, &name).filter(|_| metadata.is_file()) {
                        Some(key) => {
                            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                            found.push((used, key, metadata.len()));
                        }
                        None if metadata.is_dir() => {}
                        None => drop(fs::remove_file(&path)),
                    }
                }
                // Goes only where it is empty, as those of repositories that nobody uses any more.
                let _in_use = fs::remove_dir(&folder);
            }
            let _in_use = fs::remove_dir(&path);
        }
        found.sort_unstable();
        let mut budget = self.budget();
        for (_, key, size_bytes) in found {
            let going = budget.found(key, size_bytes);
            self.remove(&mut budget, &going);
        }
    }

    /// What a file holds, or a range of it. `None` where it is not kept, or is not what was kept.
    pub(super) fn read(&self, key: &Key, part: Part) -> Option<Vec<u8>> {
        let first_use = match self.is_owner() {
            true => self.budget().used(key)?,
            false => FirstUse(false),
        };
        match read(&self.path(key), part, first_use) {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                self.discard(key);
                None
            }
        }
    }

    /// Keeps a file, if there is room for it.
    pub(super) fn keep(&self, key: Key, bytes: &[u8]) {
        if !self.is_owner() {
            return;
        }
        let mut budget = self.budget();
        if budget.holds(&key) {
            return;
        }
        let Some(going) = budget.keep(key, bytes.len() as u64) else { return };
        self.remove(&mut budget, &going);
        let folder = self.folder(key.repository, key.what);
        if let Err(e) = write(&folder, &key.file_name(), bytes) {
            budget.forget(&key);
            self.trouble(&format!(
                "the cache cannot be written, and is done without: {}: {e}",
                folder.display()
            ));
        }
    }

    /// A kept file is odd, or of no use any more.
    pub(super) fn discard(&self, key: &Key) {
        if self.is_owner() {
            let mut budget = self.budget();
            budget.forget(key);
            self.remove(&mut budget, &[*key]);
        }
    }

    /// Every kept file of a folder for which `is_gone` says so.
    pub(super) fn discard_all(&self, repository: u32, what: What, is_gone: impl Fn(&Key) -> bool) {
        if !self.is_owner() {
            return;
        }
        let mut budget = self.budget();
        let is_one =
            |key: &Key| key.repository == repository && key.what.folder() == what.folder() && is_gone(key);
        let going = budget.select(is_one);
        going.iter().for_each(|key| budget.forget(key));
        self.remove(&mut budget, &going);
    }

    /// Removes files that the budget has forgotten.
    pub(super) fn remove(&self, budget: &mut MutexGuard<'_, Budget>, going: &[Key]) {
        for key in going {
            let path = self.path(key);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
                Err(e) => {
                    let size_bytes = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                    budget.lose(size_bytes);
                    self.trouble(&format!("the cache cannot be tidied up: remove {}: {e}", path.display()));
                }
            }
        }
    }
}

/// How much of a file.
pub(super) enum Part {
    /// All of it, up to so many bytes.
    Whole {
        max_bytes: u64,
    },
    Range(Range<u64>),
}

fn read(path: &Path, part: Part, FirstUse(first): FirstUse) -> io::Result<Vec<u8>> {
    // Nothing in the place of a file may hold up who reads it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let bytes = match part {
        Part::Whole { max_bytes } if metadata.len() > max_bytes => {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Part::Whole { max_bytes } => {
            let mut bytes =
                Vec::with_capacity(usize::try_from(metadata.len()).expect("files fit into memory"));
            (&file).take(max_bytes).read_to_end(&mut bytes)?;
            bytes
        }
        Part::Range(range) => {
            let mut bytes =
                vec![0; usize::try_from(range.end - range.start).expect("ranges fit into memory")];
            file.read_exact_at(&mut bytes, range.start)?;
            bytes
        }
    };
    if first {
        // For the order after a restart.
        let _as_it_was = file.set_modified(SystemTime::now());
    }
    Ok(bytes)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    make_directory(folder)?;
    let new = folder.join(NEW);
    let written = create(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&new, folder.join(name)));
    if written.is_err() {
        let _at_the_next_start = fs::remove_file(&new);
    }
    written
}

fn create(path: &Path) -> io::Result<File> {
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(no_link).open(path)
}

/// What is in a directory, by names. What cannot be listed holds nothing that could be used.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}
