//! The running system's files, behind the traits of [`super`].
//!
//! An entry costs one system call to look at; a small file that is read costs open, stat, read and close. No
//! path is built, and nothing is allocated but the handle itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Advice, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::Subject;
use super::handle::{self, Resolution};
use super::{Directory, Error, Extent, Metadata, Names, OpenFile, Result};
use crate::format::tree::{ExtendedAttribute, NodeKind};

/// From here on the kernel is told to read ahead further than it does by itself.
const ADVISED_BYTES: u64 = 1 << 20;

/// What all handles of one source have in common.
#[derive(Debug)]
pub(super) struct Walk {
    resolution: Resolution,
    own_uid: u32,
    /// Set once the system refused to leave the access time of somebody else's file alone.
    must_touch_foreign: AtomicBool,
}

impl Walk {
    pub(super) fn new(resolution: Resolution) -> Arc<Self> {
        let own_uid = rustix::process::geteuid().as_raw();
        Arc::new(Self { resolution, own_uid, must_touch_foreign: AtomicBool::new(false) })
    }

    /// Opens for reading without a trace in the access time, where that is permitted: to the owner and to root,
    /// but not to a root whose user namespace does not know the owner.
    fn open(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        more: OFlags,
        expected: &Metadata,
    ) -> Result<OwnedFd> {
        let flags = handle::READ.union(more);
        let open = |flags| handle::open(directory, name, flags, Mode::empty(), self.resolution);
        let is_foreign = expected.uid != self.own_uid;
        let opened = if is_foreign && self.must_touch_foreign.load(Ordering::Relaxed) {
            open(flags)
        } else {
            match open(flags.union(OFlags::NOATIME)) {
                Err(Errno::PERM) => {
                    let opened = open(flags);
                    if is_foreign && opened.is_ok() {
                        self.must_touch_foreign.store(true, Ordering::Relaxed);
                    }
                    opened
                }
                opened => opened,
            }
        };
        opened.map_err(|errno| Error::of_open("open", errno))
    }
}

/// **Invariant:** what was opened is what was seen, or it is not used
/// (`system_and_double_classify_swaps_alike`).
fn verified(opened: &OwnedFd, expected: &Metadata) -> Result<Metadata> {
    let metadata = handle::stat_open(opened.as_fd()).map_err(|errno| Error::of("stat", errno))?;
    if metadata.is_same_thing(expected) { Ok(metadata) } else { Err(Error::Swapped) }
}

#[derive(Debug)]
pub(super) struct LinuxDirectory {
    handle: OwnedFd,
    metadata: Metadata,
    walk: Arc<Walk>,
    reading: Mutex<Reading>,
}

/// Where the handle stands. Held while listing: the position is one for all threads.
#[derive(Clone, Copy, Debug)]
enum Reading {
    AtStart,
    Done,
    /// The handle is only gone through; listing needs another.
    Impossible,
}

impl LinuxDirectory {
    /// `handle` is a directory opened with [`handle::PASS`].
    pub(super) fn passing(handle: OwnedFd, walk: Arc<Walk>) -> Result<Self, Errno> {
        let metadata = handle::stat_open(handle.as_fd())?;
        Ok(Self { handle, metadata, walk, reading: Mutex::new(Reading::Impossible) })
    }

    pub(super) fn pass_into(&self, name: &[u8]) -> Result<Self, Errno> {
        let opened =
            handle::open(self.handle.as_fd(), name, handle::PASS, Mode::empty(), self.walk.resolution)?;
        Self::passing(opened, Arc::clone(&self.walk))
    }

    pub(super) fn stat_raw(&self, name: &[u8]) -> Result<Metadata, Errno> {
        handle::stat_entry(self.handle.as_fd(), name)
    }
}

impl Directory for LinuxDirectory {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn names(&self, names: &mut Names) -> Result<()> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        match *reading {
            Reading::AtStart => {}
            Reading::Done => {
                rustix::fs::seek(&self.handle, SeekFrom::Start(0))
                    .map_err(|errno| Error::of("list", errno))?;
            }
            Reading::Impossible => {
                let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
                let readable = rustix::fs::openat(&self.handle, ".", flags, Mode::empty())
                    .map_err(|errno| Error::of("open", errno))?;
                return handle::list(readable.as_fd(), names);
            }
        }
        *reading = Reading::Done;
        handle::list(self.handle.as_fd(), names)
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        self.stat_raw(name).map_err(|errno| Error::of("stat", errno))
    }

    fn open_dir(&self, name: &[u8], expected: &Metadata) -> Result<Arc<dyn Directory>> {
        let handle = self.walk.open(self.handle.as_fd(), name, OFlags::DIRECTORY, expected)?;
        let metadata = verified(&handle, expected)?;
        let walk = Arc::clone(&self.walk);
        Ok(Arc::new(Self { handle, metadata, walk, reading: Mutex::new(Reading::AtStart) }))
    }

    fn open_file(&self, name: &[u8], expected: &Metadata) -> Result<Box<dyn OpenFile>> {
        if expected.kind != NodeKind::File {
            // To open a device may already do something.
            return Err(Error::bad_name());
        }
        let handle = self.walk.open(self.handle.as_fd(), name, OFlags::empty(), expected)?;
        let metadata = verified(&handle, expected)?;
        if metadata.size_bytes >= ADVISED_BYTES {
            // Advice: where the file system has no use for it, reading works all the same.
            let _ = rustix::fs::fadvise(&handle, 0, None, Advice::Sequential);
        }
        Ok(Box::new(LinuxFile { handle, metadata, position: 0 }))
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        if !handle::is_component(name) {
            return Err(Error::bad_name());
        }
        match rustix::fs::readlinkat(&self.handle, name, Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            // The answer for everything that is no link: it was one a moment ago.
            Err(Errno::INVAL) => Err(Error::Swapped),
            Err(errno) => Err(Error::of("read link", errno)),
        }
    }

    fn extended_attributes(&self, name: &[u8]) -> Result<Vec<ExtendedAttribute>> {
        if !handle::is_component(name) {
            return Err(Error::bad_name());
        }
        match Subject::entry(self.handle.as_fd(), name).read_all() {
            // Without /proc every entry looks as if it had gone.
            Err(Errno::NOENT) if self.stat_raw(name).is_ok() => Err(Error::InputOutput {
                doing: "read extended attributes by /proc/self/fd",
                source: Errno::NOENT.into(),
            }),
            read => read.map_err(|errno| Error::of("read extended attributes", errno)),
        }
    }

    fn extended_attributes_of_self(&self) -> Result<Vec<ExtendedAttribute>> {
        let reading = *self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = match reading {
            Reading::Impossible => Subject::entry(self.handle.as_fd(), b"."),
            _ => Subject::Open(self.handle.as_fd()),
        };
        subject.read_all().map_err(|errno| Error::of("read extended attributes", errno))
    }
}

#[derive(Debug)]
struct LinuxFile {
    handle: OwnedFd,
    metadata: Metadata,
    /// Kept here and not in the handle, which looking for holes moves.
    position: u64,
}

impl LinuxFile {
    fn seek(&self, to: SeekFrom) -> Result<u64, Errno> {
        retry_on_intr(|| rustix::fs::seek(&self.handle, to))
    }
}

impl OpenFile for LinuxFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_now(&self) -> Result<Metadata> {
        handle::stat_open(self.handle.as_fd()).map_err(|errno| Error::of("stat", errno))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.read(&mut buffer[filled..])?;
            filled += read;
            // A short answer at the size the file had is its end: small files are read by one call. Growth
            // since then shows in what the file is afterwards.
            let is_short = filled < buffer.len();
            if read == 0 || (is_short && self.position == self.metadata.size_bytes) {
                break;
            }
        }
        Ok(filled)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        handle::read_at(&self.handle, buffer, offset).map_err(|errno| Error::of("read", errno))
    }

    fn next_data(&self, offset: u64) -> Result<Extent> {
        let all = Extent { start: offset, end: u64::MAX };
        let start = match self.seek(SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => {
                // The size must be from before the answer that there is no more data: what is appended in
                // between would be taken for a hole.
                let size_bytes = self.metadata_now()?.size_bytes;
                match self.seek(SeekFrom::Data(offset)) {
                    Err(Errno::NXIO) => {
                        let end = size_bytes.max(offset);
                        return Ok(Extent { start: end, end });
                    }
                    start => start,
                }
            }
            start => start,
        };
        match start.and_then(|start| Ok((start, self.seek(SeekFrom::Hole(start))?))) {
            Ok((start, end)) => Ok(Extent { start, end }),
            // Truncated between the two calls: reading finds the end.
            Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP) => Ok(all),
            Err(errno) => Err(Error::of("look for holes", errno)),
        }
    }

    fn extended_attributes(&self) -> Result<Vec<ExtendedAttribute>> {
        Subject::Open(self.handle.as_fd())
            .read_all()
            .map_err(|errno| Error::of("read extended attributes", errno))
    }
}
