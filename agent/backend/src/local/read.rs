//! Reading from the directory store: one open, one fstat, one read, one close.
//!
//! The fstat comes before any memory is taken, so that a range made up by somebody else takes none.
//! Must never wait for anything but the disk: a FIFO in the place of a file is not opened for long, and is no file.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use super::failed;
use crate::{Entry, Error, ErrorKind, FileName, Operation, Result};

pub(super) fn stat(root: &Path, file: &FileName) -> Result<Entry> {
    let metadata =
        root.join(file.path()).metadata().map_err(|source| failed(Operation::Stat, file, source))?;
    if !metadata.is_file() {
        return Err(no_file(Operation::Stat, file));
    }
    Ok(entry(file.clone(), &metadata))
}

pub(super) fn entry(file: FileName, metadata: &Metadata) -> Entry {
    Entry { file, size_bytes: metadata.len(), modified: metadata.modified().ok() }
}

pub(super) fn load(root: &Path, file: &FileName, max_bytes: u64) -> Result<Bytes> {
    let (open, size_bytes) = open(root, file)?;
    let too_large = || Error::new(ErrorKind::TooLarge, Operation::Load, file.to_string());
    if size_bytes > max_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(to_usize(size_bytes, file)?);
    // It may have grown since the fstat.
    let mut limited = open.take(max_bytes.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(|source| failed(Operation::Load, file, source))?;
    if bytes.len() as u64 > max_bytes { Err(too_large()) } else { Ok(bytes.into()) }
}

pub(super) fn load_range(root: &Path, file: &FileName, range: Range<u64>) -> Result<Bytes> {
    let (open, size_bytes) = open(root, file)?;
    if range.start > range.end || range.end > size_bytes {
        return Err(
            out_of_range(file).because(format!("bytes {} to {} of {size_bytes}", range.start, range.end))
        );
    }
    let mut bytes = vec![0; to_usize(range.end - range.start, file)?];
    open.read_exact_at(&mut bytes, range.start).map_err(|source| match source.kind() {
        // Cut off since the fstat.
        io::ErrorKind::UnexpectedEof => out_of_range(file).because(source),
        _ => failed(Operation::Load, file, source),
    })?;
    Ok(bytes.into())
}

fn open(root: &Path, file: &FileName) -> Result<(File, u64)> {
    // NONBLOCK: opening a FIFO would wait for a writer; for a regular file it means nothing.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let error = |source| failed(Operation::Load, file, source);
    let open = File::from(
        rustix::fs::open(root.join(file.path()), flags, Mode::empty())
            .map_err(|errno| error(errno.into()))?,
    );
    let metadata = open.metadata().map_err(error)?;
    if !metadata.is_file() {
        return Err(no_file(Operation::Load, file));
    }
    Ok((open, metadata.len()))
}

fn no_file(operation: Operation, file: &FileName) -> Error {
    Error::new(ErrorKind::NotFound, operation, file.to_string()).because("it is not a regular file")
}

fn out_of_range(file: &FileName) -> Error {
    Error::new(ErrorKind::OutOfRange, Operation::Load, file.to_string())
}

fn to_usize(bytes: u64, file: &FileName) -> Result<usize> {
    usize::try_from(bytes).map_err(|source| {
        Error::new(ErrorKind::Unsupported, Operation::Load, file.to_string()).because(source)
    })
}
