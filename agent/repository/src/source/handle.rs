//! The system calls that the source and the target of a restore share: an entry by its name in an open directory.
//!
//! A name is one component, checked here once more whoever made it. No call in here follows a link, leaves the
//! directory, or waits for the other end of a pipe. How strictly the kernel itself holds that is [`Resolution`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use super::metadata::{MASK_OF_MOUNT_IDS, Metadata};
use super::names::writable;
use super::{Error, Names, Result};

/// For whatever is to be read: a pipe or a terminal in the place of a file neither blocks nor takes us over.
pub(crate) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A directory that is only gone through: needs the right to search it, not to list it.
pub(crate) const PASS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a name is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The kernel refuses links, magic links and everything outside the directory.
    Openat2,
    /// A kernel before 5.6, or a seccomp filter older than `openat2`: one component at a time, `O_NOFOLLOW`.
    PerComponent,
}

impl Resolution {
    /// What this process may do; asked of the system once.
    pub(crate) fn of_system() -> Self {
        static OF_SYSTEM: OnceLock<Resolution> = OnceLock::new();
        *OF_SYSTEM.get_or_init(|| {
            let answer =
                rustix::fs::openat2(rustix::fs::CWD, "/", PASS, Mode::empty(), ResolveFlags::empty());
            match answer {
                // Filters answer EPERM where they mean ENOSYS.
                Err(Errno::NOSYS | Errno::PERM) => Self::PerComponent,
                _ => Self::Openat2,
            }
        })
    }
}

/// Whether `name` names an entry of a directory, and nothing else.
pub(crate) fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Opens or creates the entry `name`; `mode` counts only with `CREATE`.
pub(crate) fn open(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
    resolution: Resolution,
) -> Result<OwnedFd, Errno> {
    if !is_component(name) {
        return Err(Errno::INVAL);
    }
    retry_on_intr(|| match resolution {
        Resolution::Openat2 => {
            let within =
                ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
            rustix::fs::openat2(directory, name, flags, mode, within)
        }
        Resolution::PerComponent => rustix::fs::openat(directory, name, flags, mode),
    })
}

/// What the entry `name` is; of a link, the link.
pub(crate) fn stat_entry(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Metadata, Errno> {
    if !is_component(name) {
        return Err(Errno::INVAL);
    }
    stat(directory, name, AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT))
}

/// What an opened thing is.
pub(crate) fn stat_open(opened: BorrowedFd<'_>) -> Result<Metadata, Errno> {
    stat(opened, b"", AtFlags::EMPTY_PATH)
}

fn stat(directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<Metadata, Errno> {
    let mask = StatxFlags::BASIC_STATS.union(StatxFlags::from_bits_retain(MASK_OF_MOUNT_IDS));
    match rustix::fs::statx(directory, name, flags, mask) {
        Ok(stat) => Ok(Metadata::from_statx(&stat)),
        Err(Errno::NOSYS) => {
            rustix::fs::statat(directory, name, flags).map(|stat| Metadata::from_stat(&stat))
        }
        Err(errno) => Err(errno),
    }
}

/// Reads all names of a directory that is open for reading, from where its position is.
pub(crate) fn list(directory: BorrowedFd<'_>, names: &mut Names) -> Result<()> {
    names.clear();
    let mut buffer = names.take_listing_buffer();
    let listed = list_into(directory, names, &mut buffer);
    names.return_listing_buffer(buffer);
    listed?;
    names.sort();
    Ok(())
}

fn list_into(directory: BorrowedFd<'_>, names: &mut Names, buffer: &mut Vec<u8>) -> Result<()> {
    let mut entries = RawDir::new(directory, writable(buffer));
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    names.push(name)?;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::of("list", errno)),
        }
    }
    Ok(())
}

/// Reads at an offset, once.
pub(crate) fn read_at(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    retry_on_intr(|| rustix::io::pread(file.as_fd(), &mut *buffer, offset))
}

/// The path of an opened thing, and of an entry in an opened directory: the one magic link that is ever gone
/// through, and it leads where the handle leads. What is not opened has attributes by no other way.
pub(crate) fn magic_path(opened: BorrowedFd<'_>, name: Option<&[u8]>) -> Vec<u8> {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    let mut path = Vec::with_capacity(32 + name.map_or(0, <[u8]>::len));
    write!(path, "/proc/self/fd/{}", opened.as_raw_fd()).expect("a buffer takes every byte");
    if let Some(name) = name {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}
