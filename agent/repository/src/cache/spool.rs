//! Temporary files of this process: packs that grow, waiting to be uploaded.
//!
//! Each process has a directory of its own and holds a lock on a file in it while it lives; whoever opens a
//! spool removes the directories whose lock nobody holds. Nothing in here is needed by a later process.
//!
//! **Invariant:** no byte is written that was not reserved of the cache's budget before. Who waits for a place waits
//! for uploads, never for somebody who waits (`a_run_whose_spool_is_full_waits_for_its_uploads`).

#![allow(clippy::disallowed_methods, reason = "these files are the program's own, not a user's")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Cache;
use crate::error::{Error, Result, is_full};

/// What the name of a spool's directory begins with.
pub const SPOOL_PREFIX: &str = "pillion-spool-";
const LOCK: &str = "in-use";

/// A directory for temporary files, removed when it is dropped.
#[derive(Debug)]
pub struct Spool {
    cache: Cache,
    directory: PathBuf,
    /// Held, not read: its lock says that this process lives.
    _lock: File,
    next: AtomicU64,
}

impl Spool {
    pub fn open(cache: &Cache) -> Result<Self> {
        let parent = cache.spools();
        let failed = |source| Error::local("create a spool in", parent.display().to_string(), source);
        super::make_directory(parent).map_err(failed)?;
        sweep(parent);
        loop {
            let directory = parent.join(format!("{SPOOL_PREFIX}{:016x}", fastrand::u64(..)));
            fs::DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
            let lock = create(&directory.join(LOCK)).map_err(failed)?;
            // Before it is locked it looks like a dead one's to whoever sweeps just then.
            let is_locked = match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => lock.metadata().map_err(failed)?.nlink() > 0,
                Err(Errno::WOULDBLOCK) => false,
                Err(e) => return Err(failed(e.into())),
            };
            if is_locked {
                return Ok(Self { cache: cache.clone(), directory, _lock: lock, next: AtomicU64::new(0) });
            }
        }
    }

    /// Waits until so many bytes can be reserved. Fails where they never can, beside `others_bytes` that others may
    /// hold until this one has its place.
    pub async fn place(&self, bytes: u64, others_bytes: u64) -> Result<Place> {
        let shared = &self.cache.0;
        if bytes.saturating_add(others_bytes) > self.cache.max_bytes() {
            return Err(self.cache.too_small(bytes.saturating_add(others_bytes)));
        }
        loop {
            let mut freed = std::pin::pin!(shared.freed.notified());
            // Listens from here on: what is given back after a vain try is not missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_place(bytes) {
                return Ok(place);
            }
            freed.await;
        }
    }

    /// Reserves so many bytes if they are free.
    pub fn try_place(&self, bytes: u64) -> Option<Place> {
        let is_reserved = self.cache.0.budget().reserve(bytes);
        is_reserved.then(|| Place { cache: self.cache.clone(), reserved_bytes: bytes, written_bytes: 0 })
    }

    /// A file that stays within its place.
    pub fn create_file(&self, place: Place) -> Result<SpoolFile> {
        self.create(place, Growth::Bounded)
    }

    /// A file that takes what it needs of the budget while it grows, and fails to grow where there is no more.
    pub fn create_growing_file(&self) -> Result<SpoolFile> {
        let nothing = Place { cache: self.cache.clone(), reserved_bytes: 0, written_bytes: 0 };
        self.create(nothing, Growth::Unbounded)
    }

    fn create(&self, place: Place, growth: Growth) -> Result<SpoolFile> {
        let path = self.directory.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match create(&path) {
            Ok(file) => Ok(SpoolFile { file, path, place, growth }),
            Err(source) => Err(Error::local("create", path.display().to_string(), source)),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _swept_later = fs::remove_dir_all(&self.directory);
    }
}

/// Reserved bytes of the budget; given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place {
    cache: Cache,
    reserved_bytes: u64,
    written_bytes: u64,
}

impl Place {
    /// Before so many bytes are written. What is kept gives way to them.
    fn charge(&mut self, bytes: u64) {
        let shared = &self.cache.0;
        let mut budget = shared.budget();
        let going = budget.write(bytes);
        shared.remove(&mut budget, &going);
        self.written_bytes += bytes;
    }

    fn discharge(&mut self, bytes: u64) {
        self.cache.0.budget().unwrite(bytes);
        self.written_bytes -= bytes;
    }

    /// Gives back what has not been written.
    fn settle(&mut self) {
        self.cache.0.budget().give_back(self.reserved_bytes - self.written_bytes);
        self.reserved_bytes = self.written_bytes;
        self.cache.0.freed.notify_waiters();
    }

    /// The disk is fuller than the budget knows: all that is kept gives way. Whether there was anything.
    fn clear_disk(&self) -> bool {
        let shared = &self.cache.0;
        let mut budget = shared.budget();
        let going = budget.take_all();
        shared.remove(&mut budget, &going);
        !going.is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.discharge(self.written_bytes);
        self.settle();
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Removes what dead processes left. What cannot be removed is left to the next who tries.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(SPOOL_PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _next_time = fs::remove_dir_all(entry.path());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Bounded,
    Unbounded,
}

/// A file in the spool, removed when it is dropped.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    path: PathBuf,
    /// Dropped after the file was removed: no byte counts as free while it is there.
    place: Place,
    growth: Growth,
}

impl SpoolFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file is whole: gives back what it has not used of its place.
    pub fn settle(&mut self) {
        self.place.settle();
    }

    fn reserve_for(&mut self, bytes: u64) -> io::Result<()> {
        let missing = (self.place.written_bytes + bytes).saturating_sub(self.place.reserved_bytes);
        if missing == 0 {
            return Ok(());
        }
        if self.growth == Growth::Bounded {
            return Err(io::Error::other("a file of the spool grows beyond its place"));
        }
        if !self.place.cache.0.budget().reserve(missing) {
            let needed = self.place.written_bytes + bytes;
            return Err(io::Error::other(self.place.cache.too_small(needed).to_string()));
        }
        self.place.reserved_bytes += missing;
        Ok(())
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

/// At the end of the file only: what is written counts once.
impl Write for SpoolFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        self.reserve_for(length)?;
        self.place.charge(length);
        let written = match self.file.write(bytes) {
            Err(e) if is_full(&e) && self.place.clear_disk() => self.file.write(bytes),
            written => written,
        };
        self.place.discharge(length - *written.as_ref().unwrap_or(&0) as u64);
        written
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

    fn place(spool: &Spool) -> Place {
        spool.try_place(10).expect("there is no bound")
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dead = parent.path().join(format!("{SPOOL_PREFIX}dead"));
        fs::create_dir(&dead).expect("create");
        fs::write(dead.join(LOCK), b"").expect("write");
        let cache = Cache::absent(parent.path().to_owned());
        let first = Spool::open(&cache).expect("open");
        assert!(!dead.exists());
        let file = first.create_file(place(&first)).expect("create");
        let second = Spool::open(&cache).expect("open");
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
                        let spool = Spool::open(&Cache::absent(parent.path().to_owned())).expect("open");
                        spool.create_file(place(&spool)).expect("the directory is there");
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_kept_gives_way_where_the_disk_is_full() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(super::super::Options {
            directory: parent.path().to_owned(),
            max_bytes: 1_000,
            guest_bytes: 0,
            fallback: parent.path().to_owned(),
            tell: std::sync::Arc::new(|_| {}),
        });
        let spool = Spool::open(&cache).expect("open");
        let id = crate::format::id::Id::of(b"content");
        let files = cache.of(id);
        files.keep(pillion_backend::FileKind::Index, &id, b"content");
        let mut full = spool.create_file(place(&spool)).expect("create");
        full.file = OpenOptions::new().write(true).open("/dev/full").expect("the system has one");
        let e = full.write(b"x").expect_err("it is full all the same");
        assert!(is_full(&e), "{e}");
        assert!(!cache.0.budget().select(|_| true).iter().any(|_| true), "what was kept is gone");
        drop(full);
        assert!(cache.0.budget().reserve(1_000), "and nothing was written");
    }
}
