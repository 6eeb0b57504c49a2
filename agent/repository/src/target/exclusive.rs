//! What a restore needs beside writing files: names that are made once, and taken away one by one.
//!
//! Everything in here says whether it was this call that did it, so that of two processes at one target each
//! knows what is its own.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{TEMPORARY_PREFIX, TargetDir, TargetFile, file};
use crate::error::Result;
use crate::source::attributes::Subject;
use crate::source::handle;

/// A name for a file that is not whole yet, which nothing else has.
pub fn temporary_name() -> Vec<u8> {
    let mut name = TEMPORARY_PREFIX.to_vec();
    name.extend(std::iter::repeat_with(fastrand::alphanumeric).take(12).map(|letter| letter as u8));
    name
}

impl TargetDir {
    /// Makes a directory that only its owner may enter; `false` where there is something of that name already.
    pub fn make_dir(&self, name: &[u8]) -> Result<bool> {
        self.entry("create directory", name, |directory, name| {
            match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(errno) => Err(errno),
            }
        })
    }

    /// Makes an empty file; `None` where there is something of that name already.
    pub fn create_file(&self, name: &[u8]) -> Result<Option<TargetFile>> {
        let flags = file::WRITE.union(OFlags::CREATE).union(OFlags::EXCL);
        let mode = Mode::from_raw_mode(0o644);
        match handle::open(self.as_fd(), name, flags, mode, self.resolution) {
            Ok(opened) => Ok(Some(TargetFile::new(opened, self.path_of(name)))),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(self.error("create file", name, errno)),
        }
    }

    /// Returns when a file of this directory survives a power cut, with its name.
    pub fn sync_entry(&self, file: &TargetFile) -> Result<()> {
        rustix::fs::fsync(&file.handle).map_err(|errno| file.error("sync", errno))?;
        rustix::fs::fsync(&self.handle).map_err(|errno| self.error("sync", b"", errno))
    }

    /// Removes one entry, a directory only if it is empty. Nothing there is fine.
    pub fn remove_one(&self, name: &[u8]) -> Result<()> {
        self.entry("remove", name, |directory, name| {
            let removed = match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                // POSIX says EPERM for a directory, Linux says EISDIR.
                Err(Errno::ISDIR | Errno::PERM) => rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR),
                removed => removed,
            };
            match removed {
                Err(Errno::NOENT) => Ok(()),
                removed => removed,
            }
        })
    }
}

impl TargetFile {
    /// Takes the lock that ends with this handle, and with the process at the latest; `false` where another
    /// handle has it.
    pub fn try_lock(&self) -> Result<bool> {
        match rustix::fs::flock(&self.handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.error("lock", errno)),
        }
    }

    /// Whether the file has extended attributes that this program restores.
    pub fn has_attributes(&self) -> Result<bool> {
        let names = Subject::Open(self.handle.as_fd()).names();
        let names = names.map_err(|errno| self.error("list the extended attributes of", errno))?;
        Ok(names.iter().any(|name| !name.starts_with(b"security.")))
    }

    /// Asks the system to begin writing what it holds of this file to the disk, without waiting for it.
    pub fn begin_writing_back(&self) {
        // Advice: where it is not taken, the sync at the end does the work.
        let _advice = rustix::fs::fadvise(&self.handle, 0, None, rustix::fs::Advice::DontNeed);
    }
}
