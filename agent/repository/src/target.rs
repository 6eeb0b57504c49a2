//! The file system as a restore writes it: by directory handles only, never through a link, never outside the
//! target, whatever names a repository holds and whatever an application does to the target meanwhile.
//!
//! Files are written under a temporary name and renamed into place when they are whole ([`TargetDir::rename`]).
//! Nothing is synced one by one: [`TargetDir::sync_file_system`] once at the end makes all of it durable.
//! What may be overwritten, in which order, and what a failure means is the caller's affair.

#![allow(clippy::disallowed_methods, reason = "one of the two modules that touch files of users")]

mod attributes;
mod exclusive;
mod file;
mod root;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

pub use attributes::{Attributes, Owner, Times};
pub use exclusive::temporary_name;
pub use file::TargetFile;

use crate::error::{Error, Result};
use crate::format::tree::NodeKind;
use crate::source::handle::{self, Resolution};
use crate::source::{Metadata, Names};

/// Temporary files begin like this; whoever finds one that nobody writes any more may remove it.
pub const TEMPORARY_PREFIX: &[u8] = b".pillion-part-";

/// An open directory of the target. A name is one component; every other is refused with an error.
#[derive(Debug)]
pub struct TargetDir {
    handle: OwnedFd,
    resolution: Resolution,
    /// For messages only.
    path: Vec<u8>,
}

/// What a file system has left for those who are not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    pub available_bytes: u64,
    /// `u64::MAX` where the file system makes inodes as it needs them.
    pub available_inodes: u64,
}

impl TargetDir {
    /// Where this is, for people.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What the directory itself is.
    pub fn metadata(&self) -> Result<Metadata> {
        handle::stat_open(self.as_fd()).map_err(|errno| self.error("stat", b"", errno))
    }

    /// Replaces `names` by the names of all entries.
    pub fn names(&self, names: &mut Names) -> Result<()> {
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        // A handle of its own: the position in this one would be shared by all threads.
        let listing = rustix::fs::openat(&self.handle, ".", flags, Mode::empty())
            .map_err(|errno| self.error("list", b"", errno))?;
        handle::list(listing.as_fd(), names)
            .map_err(|error| Error::local("list", lossy(&self.path), std::io::Error::other(error)))
    }

    /// What the entry is, a link itself; `None` where there is none.
    pub fn stat(&self, name: &[u8]) -> Result<Option<Metadata>> {
        match handle::stat_entry(self.as_fd(), name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("stat", name, errno)),
        }
    }

    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.entry("read link", name, |directory, name| {
            rustix::fs::readlinkat(directory, name, Vec::new()).map(std::ffi::CString::into_bytes)
        })
    }

    /// Opens a directory below; a link to one is not one.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self> {
        let flags = handle::READ.union(OFlags::DIRECTORY);
        let handle = handle::open(self.as_fd(), name, flags, Mode::empty(), self.resolution)
            .map_err(|errno| self.error("open directory", name, errno))?;
        Ok(Self { handle, resolution: self.resolution, path: self.path_of(name) })
    }

    /// Makes a directory that only its owner may enter, and opens it. One that is there already is opened as it
    /// is; where something else is in the way this fails.
    pub fn create_dir(&self, name: &[u8]) -> Result<Self> {
        let made = self.entry("create directory", name, |directory, name| {
            match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
                Err(Errno::EXIST) => Ok(()),
                made => made,
            }
        });
        made.and_then(|()| self.open_dir(name))
    }

    /// Makes an empty file under a name that nothing else has. Returns the name too: the file may be closed and
    /// opened again while it is filled, since blobs come in the packs' order.
    pub fn create_temporary(&self) -> Result<(Vec<u8>, TargetFile)> {
        let flags = file::WRITE.union(OFlags::CREATE).union(OFlags::EXCL);
        loop {
            let name = temporary_name();
            match handle::open(self.as_fd(), &name, flags, Mode::RUSR.union(Mode::WUSR), self.resolution) {
                Ok(opened) => {
                    let file = TargetFile::new(opened, self.path_of(&name));
                    return Ok((name, file));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.error("create file", &name, errno)),
            }
        }
    }

    /// Opens an existing regular file to read and write it.
    pub fn open_file(&self, name: &[u8]) -> Result<TargetFile> {
        self.open_regular(name, file::WRITE)
    }

    /// Opens an existing regular file to compare it with what is stored. Writing to it fails.
    pub fn open_file_to_read(&self, name: &[u8]) -> Result<TargetFile> {
        self.open_regular(name, handle::READ)
    }

    fn open_regular(&self, name: &[u8], flags: OFlags) -> Result<TargetFile> {
        let opened = handle::open(self.as_fd(), name, flags, Mode::empty(), self.resolution)
            .map_err(|errno| self.error("open file", name, errno))?;
        let file = TargetFile::new(opened, self.path_of(name));
        if file.metadata()?.kind == NodeKind::File {
            Ok(file)
        } else {
            Err(self.error("open file", name, Errno::INVAL))
        }
    }

    /// Gives an entry its final name. A file, link or special file that has that name is replaced in one step;
    /// a directory in the way is an error, see [`TargetDir::remove_entry`].
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.two(from, to)
            .and_then(|()| rustix::fs::renameat(&self.handle, from, &self.handle, to))
            .map_err(|errno| self.error("rename a file to", to, errno))
    }

    /// The same, but fails with `EEXIST` where there is anything of that name.
    pub fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let handle = &self.handle;
        let renamed = self.two(from, to).and_then(|()| {
            match rustix::fs::renameat_with(handle, from, handle, to, RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; a link is as exclusive.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::linkat(handle, from, handle, to, AtFlags::empty())?;
                    rustix::fs::unlinkat(handle, from, AtFlags::empty())
                }
                renamed => renamed,
            }
        });
        renamed.map_err(|errno| self.error("rename a file to", to, errno))
    }

    /// Makes a symbolic link; what it leads to is nobody's affair here.
    pub fn create_symlink(&self, name: &[u8], target: &[u8]) -> Result<()> {
        self.entry("create link", name, |directory, name| rustix::fs::symlinkat(target, directory, name))
    }

    pub fn create_fifo(&self, name: &[u8]) -> Result<()> {
        self.create_special(name, FileType::Fifo, 0)
    }

    /// Makes a block or character device ([`NodeKind::Dev`], [`NodeKind::Chardev`]) with the kernel's number.
    /// Every other kind is refused; a socket comes into being when its program binds it.
    pub fn create_device(&self, name: &[u8], kind: NodeKind, device_number: u64) -> Result<()> {
        let kind = match kind {
            NodeKind::Dev => FileType::BlockDevice,
            NodeKind::Chardev => FileType::CharacterDevice,
            _ => return Err(self.error("create device", name, Errno::INVAL)),
        };
        self.create_special(name, kind, device_number)
    }

    fn create_special(&self, name: &[u8], kind: FileType, device_number: u64) -> Result<()> {
        let mode = Mode::RUSR.union(Mode::WUSR);
        self.entry("create special file", name, |directory, name| {
            rustix::fs::mknodat(directory, name, kind, mode, device_number)
        })
    }

    /// Gives the file `existing` of another directory (or this one) the second name `name`. Of a link the link
    /// is meant.
    pub fn create_hard_link(&self, name: &[u8], other: &Self, existing: &[u8]) -> Result<()> {
        self.two(name, existing)
            .and_then(|()| rustix::fs::linkat(&other.handle, existing, &self.handle, name, AtFlags::empty()))
            .map_err(|errno| self.error("create hard link", name, errno))
    }

    /// Removes an entry whatever it is, a directory with all that is in it; of a link only the link. What is
    /// mounted below is not touched and ends it with an error. Nothing there is fine.
    pub fn remove_entry(&self, name: &[u8]) -> Result<()> {
        let Some(metadata) = self.stat(name)? else { return Ok(()) };
        let flags = if metadata.kind == NodeKind::Dir {
            let directory = self.open_dir(name)?;
            let opened = directory.metadata()?;
            if !opened.is_same_thing(&metadata) || !opened.is_in_mount_of(&self.metadata()?) {
                return Err(self.error("remove", name, Errno::BUSY));
            }
            let mut names = Names::new();
            directory.names(&mut names)?;
            names.iter().try_for_each(|name| directory.remove_entry(name))?;
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        self.entry("remove", name, |directory, name| match rustix::fs::unlinkat(directory, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        })
    }

    /// Returns when everything written to the file system of this directory survives a power cut.
    pub fn sync_file_system(&self) -> Result<()> {
        rustix::fs::syncfs(&self.handle).map_err(|errno| self.error("sync the file system of", b"", errno))
    }

    pub fn free_space(&self) -> Result<FreeSpace> {
        let found = rustix::fs::fstatvfs(&self.handle)
            .map_err(|errno| self.error("ask for the free space of", b"", errno))?;
        Ok(FreeSpace {
            available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            available_inodes: if found.f_files == 0 { u64::MAX } else { found.f_favail },
        })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !name.is_empty() {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }

    fn error(&self, doing: &'static str, name: &[u8], errno: Errno) -> Error {
        Error::local(doing, lossy(&self.path_of(name)), errno)
    }

    /// A call on an entry, made only if the name is one.
    fn entry<'a, T>(
        &'a self,
        doing: &'static str,
        name: &'a [u8],
        call: impl FnOnce(BorrowedFd<'a>, &'a [u8]) -> Result<T, Errno>,
    ) -> Result<T> {
        let called = if handle::is_component(name) { call(self.as_fd(), name) } else { Err(Errno::INVAL) };
        called.map_err(|errno| self.error(doing, name, errno))
    }

    fn two(&self, a: &[u8], b: &[u8]) -> Result<(), Errno> {
        if handle::is_component(a) && handle::is_component(b) { Ok(()) } else { Err(Errno::INVAL) }
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
