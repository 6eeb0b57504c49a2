//! Temporary files of this process: packs that grow, waiting to be uploaded.
//!
//! Each process has a directory of its own and holds a lock on a file in it while it lives; whoever opens a
//! spool removes the directories whose lock nobody holds. Nothing in here is needed by a later process.

#![allow(clippy::disallowed_methods, reason = "these files are the program's own, not a user's")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

const PREFIX: &str = "pillion-spool-";
const LOCK: &str = "in-use";

/// A directory for temporary files, removed when it is dropped.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// Held, not read: its lock says that this process lives.
    _lock: File,
    next: AtomicU64,
}

impl Spool {
    pub fn open(parent: &Path) -> Result<Self> {
        let failed = |source| Error::local("create a spool in", parent.display().to_string(), source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        sweep(parent);
        loop {
            let directory = parent.join(format!("{PREFIX}{:016x}", fastrand::u64(..)));
            fs::DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
            let lock = create(&directory.join(LOCK)).map_err(failed)?;
            // Before it is locked it looks like a dead one's to whoever sweeps just then.
            let is_locked = match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => lock.metadata().map_err(failed)?.nlink() > 0,
                Err(Errno::WOULDBLOCK) => false,
                Err(e) => return Err(failed(e.into())),
            };
            if is_locked {
                return Ok(Self { directory, _lock: lock, next: AtomicU64::new(0) });
            }
        }
    }

    pub fn create_file(&self) -> Result<SpoolFile> {
        let path = self.directory.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match create(&path) {
            Ok(file) => Ok(SpoolFile { file, path }),
            Err(source) => Err(Error::local("create", path.display().to_string(), source)),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _swept_later = fs::remove_dir_all(&self.directory);
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Removes what dead processes left. What cannot be removed is left to the next who tries.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _next_time = fs::remove_dir_all(entry.path());
        }
    }
}

/// A file in the spool, removed when it is dropped.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    path: PathBuf,
}

impl SpoolFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        let _with_the_spool = fs::remove_file(&self.path);
    }
}

impl Read for SpoolFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for SpoolFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SpoolFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dead = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).expect("create");
        fs::write(dead.join(LOCK), b"").expect("write");
        let first = Spool::open(parent.path()).expect("open");
        assert!(!dead.exists());
        let file = first.create_file().expect("create");
        let second = Spool::open(parent.path()).expect("open");
        assert!(file.path().exists());
        drop((file, first, second));
        assert_eq!(fs::read_dir(parent.path()).expect("read").count(), 0);
    }

    #[test]
    fn a_spool_that_is_being_opened_is_not_swept_by_another() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let spool = Spool::open(parent.path()).expect("open");
                        spool.create_file().expect("the directory is there");
                    }
                });
            }
        });
    }
}
