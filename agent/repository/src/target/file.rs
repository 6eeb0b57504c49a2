//! One regular file of the target while it is filled.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::{self, Attributes, Whose};
use crate::error::{Error, Result};
use crate::source::Metadata;
use crate::source::attributes::Subject;
use crate::source::handle;

/// Reading is for comparing and verifying what is there.
pub(super) const WRITE: OFlags =
    OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// How much of a hole is written at once where the file system cannot make one.
const ZEROS_BYTES: usize = 64 << 10;

/// A file to write to, at any offset and from any thread. What is never written is a hole: set the size with
/// [`TargetFile::set_size`], and the file takes no more space than its data.
#[derive(Debug)]
pub struct TargetFile {
    pub(super) handle: OwnedFd,
    /// For messages only: the name it was opened by, which may be a temporary one.
    path: Vec<u8>,
}

impl TargetFile {
    pub(super) fn new(handle: OwnedFd, path: Vec<u8>) -> Self {
        Self { handle, path }
    }

    pub fn metadata(&self) -> Result<Metadata> {
        handle::stat_open(self.handle.as_fd()).map_err(|errno| self.error("stat", errno))
    }

    /// Writes all bytes at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            match retry_on_intr(|| rustix::io::pwrite(&self.handle, rest, offset + written as u64)) {
                Ok(0) => return Err(self.error("write", Errno::IO)),
                Ok(length) => written += length,
                Err(errno) => return Err(self.error("write", errno)),
            }
        }
        Ok(())
    }

    /// Reads at `offset`; may give less than was asked for, 0 is the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        handle::read_at(&self.handle, buffer, offset).map_err(|errno| self.error("read", errno))
    }

    /// Cuts the file, or lets it end in a hole.
    pub fn set_size(&self, size_bytes: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.handle, size_bytes).map_err(|errno| self.error("set the size of", errno))
    }

    /// Makes a range of an existing file read as zeros, without taking space where the file system can do that.
    /// The size stays.
    pub fn punch_hole(&self, offset: u64, length_bytes: u64) -> Result<()> {
        if length_bytes == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
        match retry_on_intr(|| rustix::fs::fallocate(&self.handle, flags, offset, length_bytes)) {
            Err(Errno::NOTSUP | Errno::NOSYS) => self.write_zeros(offset, length_bytes),
            punched => punched.map_err(|errno| self.error("punch a hole into", errno)),
        }
    }

    pub(super) fn write_zeros(&self, offset: u64, length_bytes: u64) -> Result<()> {
        let size_bytes = self.metadata()?.size_bytes;
        let end = size_bytes.min(offset.saturating_add(length_bytes));
        let zeros = [0; ZEROS_BYTES];
        let mut position = offset;
        while position < end {
            let length = (end - position).min(ZEROS_BYTES as u64);
            self.write_at(&zeros[..length as usize], position)?;
            position += length;
        }
        Ok(())
    }

    /// Sets owner, attributes, mode and times, in the order in which none undoes another; call it when the
    /// content is whole, since writing takes setuid bits and times away. Goes on after a failure and returns
    /// every one of them.
    pub fn set_attributes(&self, wanted: &Attributes<'_>) -> Vec<Error> {
        let whose = Whose::Open(self.handle.as_fd());
        let subject = Subject::Open(self.handle.as_fd());
        attributes::set(&whose, &subject, wanted, |doing, errno| self.error(doing, errno))
    }

    pub(super) fn error(&self, doing: &'static str, errno: Errno) -> Error {
        Error::local(doing, super::lossy(&self.path), errno)
    }
}
