//! Owner, extended attributes, mode and times, for what is open and for what cannot be opened.
//!
//! **Invariant:** a set-user-ID or set-group-ID bit is never set on a file whose owner could not be set: it would
//! lend out the rights of somebody else (`setuid_is_withheld_where_the_owner_could_not_be_set`).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::TargetDir;
use crate::error::Error;
use crate::format::time::Timestamp;
use crate::format::tree::{ExtendedAttribute, NodeKind};
use crate::source::attributes::{Subject, is_of_the_machine};
use crate::source::handle::{self, magic_path};

/// What to set; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    pub owner: Option<Owner>,
    /// `st_mode`; the bits of the type are ignored. Links have no mode.
    pub mode: Option<u32>,
    pub times: Option<Times>,
    /// All of them: others that the thing has are removed, except a security module's.
    pub extended_attributes: Option<&'a [ExtendedAttribute]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub atime: Timestamp,
    pub mtime: Timestamp,
}

const SET_ID_BITS: u32 = 0o6000;

/// How a thing is reached.
#[derive(Debug)]
pub(super) enum Whose<'a> {
    Open(BorrowedFd<'a>),
    /// By its name, not following it; it was of this kind.
    Entry(&'a TargetDir, &'a [u8], NodeKind),
}

impl Whose<'_> {
    fn set_owner(&self, owner: Owner) -> Result<(), Errno> {
        // The highest number means "no change" to the kernel.
        if owner.uid == u32::MAX || owner.gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        match self {
            Self::Open(opened) => rustix::fs::fchown(opened, uid, gid),
            Self::Entry(directory, name, _) => {
                rustix::fs::chownat(directory.as_fd(), *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        let wanted = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::Open(opened) => rustix::fs::fchmod(opened, wanted),
            Self::Entry(_, _, NodeKind::Symlink) => Ok(()),
            Self::Entry(directory, name, kind) => {
                // There is no call that changes a mode by name and follows no link, so the thing is pinned first.
                let flags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
                let pinned =
                    handle::open(directory.as_fd(), name, flags, Mode::empty(), directory.resolution)?;
                if handle::stat_open(pinned.as_fd())?.kind != *kind {
                    return Err(Errno::LOOP);
                }
                rustix::fs::chmod(&*magic_path(pinned.as_fd(), None), wanted)
            }
        }
    }

    fn set_times(&self, times: Times) -> Result<(), Errno> {
        let time = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        let wanted = Timestamps { last_access: time(times.atime), last_modification: time(times.mtime) };
        match self {
            Self::Open(opened) => rustix::fs::futimens(opened, &wanted),
            Self::Entry(directory, name, _) => {
                rustix::fs::utimensat(directory.as_fd(), *name, &wanted, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

/// The order matters: a new owner takes the set-ID bits and the file's capabilities away, an attribute can be
/// set while the mode still allows writing, and an access control list changes the mode.
pub(super) fn set(
    whose: &Whose<'_>,
    subject: &Subject<'_>,
    wanted: &Attributes<'_>,
    error: impl Fn(&'static str, Errno) -> Error,
) -> Vec<Error> {
    let mut failed = Vec::new();
    let mut withheld_bits = 0;
    if let Some(owner) = wanted.owner
        && let Err(errno) = whose.set_owner(owner)
    {
        failed.push(error("set the owner of", errno));
        withheld_bits = SET_ID_BITS;
    }
    if let Some(attributes) = wanted.extended_attributes {
        set_extended_attributes(subject, attributes, &error, &mut failed);
    }
    if let Some(mode) = wanted.mode
        && let Err(errno) = whose.set_mode(mode & !withheld_bits)
    {
        failed.push(error("set the mode of", errno));
    }
    if let Some(times) = wanted.times
        && let Err(errno) = whose.set_times(times)
    {
        failed.push(error("set the times of", errno));
    }
    failed
}

fn set_extended_attributes(
    subject: &Subject<'_>,
    wanted: &[ExtendedAttribute],
    error: &impl Fn(&'static str, Errno) -> Error,
    failed: &mut Vec<Error>,
) {
    for attribute in wanted.iter().filter(|attribute| !is_of_the_machine(&attribute.name)) {
        if let Err(errno) = subject.set(&attribute.name, &attribute.value) {
            failed.push(error("set an extended attribute of", errno));
        }
    }
    let present = match subject.names() {
        Ok(present) => present,
        Err(errno) => {
            failed.push(error("list the extended attributes of", errno));
            return;
        }
    };
    let is_wanted = |name: &[u8]| wanted.iter().any(|attribute| attribute.name == name);
    for name in present.iter().filter(|name| !is_wanted(name) && !is_of_a_security_module(name)) {
        match subject.remove(name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => failed.push(error("remove an extended attribute of", errno)),
        }
    }
}

/// Labels that the target's own system gave the thing, and that only it may take away.
fn is_of_a_security_module(name: &[u8]) -> bool {
    name.starts_with(b"security.") && name != b"security.capability"
}

impl TargetDir {
    /// Sets what belongs to the directory itself; when everything in it is written, since each new entry moves
    /// its times. Goes on after a failure and returns every one of them.
    pub fn set_attributes(&self, wanted: &Attributes<'_>) -> Vec<Error> {
        let whose = Whose::Open(self.as_fd());
        let subject = Subject::Open(self.as_fd());
        set(&whose, &subject, wanted, |doing, errno| self.error(doing, b"", errno))
    }

    /// The same of an entry that is not opened: a link, a pipe, a device.
    pub fn set_attributes_of(&self, name: &[u8], kind: NodeKind, wanted: &Attributes<'_>) -> Vec<Error> {
        if !handle::is_component(name) {
            return vec![self.error("set attributes of", name, Errno::INVAL)];
        }
        let whose = Whose::Entry(self, name, kind);
        let subject = Subject::entry(self.as_fd(), name);
        set(&whose, &subject, wanted, |doing, errno| self.error(doing, name, errno))
    }
}
