//! A zip archive as a stream: what is written is never read back or sought in.
//!
//! A file's checksum and compressed size follow its content; sizes and counts beyond 32 and 16 bits are told in
//! zip64's fields. Modes and kinds are kept as Info-ZIP keeps them, times as UTC (with the second in its extended
//! field, since the old one counts in twos), and names byte for byte: only those that are UTF-8 are said to be.
//! The directory at the end grows in a file of the caller's, so memory does not grow with the archive.

use std::io::{self, Seek, SeekFrom, Write};

use chrono::{DateTime, Datelike, Timelike};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::failed;
use crate::cache::SpoolFile;
use crate::error::Result;
use crate::format::tree::{Node, NodeKind, mode};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DATA_DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const CENTRAL_END_64: u32 = 0x0606_4b50;
const CENTRAL_LOCATOR_64: u32 = 0x0706_4b50;
const CENTRAL_END: u32 = 0x0605_4b50;

const SIZES_FOLLOW: u16 = 1 << 3;
const NAME_IS_UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
const MADE_ON_UNIX: u16 = 3 << 8;
const EXTRA_SIZES_64: u16 = 1;
const EXTRA_TIME: u16 = 0x5455;
const DOS_DIRECTORY: u32 = 0x10;

/// From this size on an entry's sizes are told in 64 bits: half of what 32 hold, since what does not compress grows.
const LARGE_BYTES: u64 = 1 << 31;

/// The longest path an entry can have.
pub(super) const MAX_PATH_BYTES: usize = u16::MAX as usize - 1;

/// What the headers of one entry say.
struct Entry {
    name: Vec<u8>,
    node_mode: u32,
    /// Date and time as DOS counts them, and seconds since 1970 where 32 bits hold them.
    time: (u16, u16),
    unix_time: Option<i32>,
    method: u16,
    crc: u32,
    size_bytes: u64,
    stored_bytes: u64,
    offset: u64,
}

pub(super) struct Archive<'a> {
    out: &'a mut dyn Write,
    written_bytes: u64,
    directory: io::BufWriter<SpoolFile>,
    directory_bytes: u64,
    entries: u64,
    /// Kept from file to file: its tables take longer to make than a small file to compress.
    encoder: DeflateEncoder<Vec<u8>>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(out: &'a mut dyn Write, directory: SpoolFile) -> Self {
        Self {
            out,
            written_bytes: 0,
            directory: io::BufWriter::new(directory),
            directory_bytes: 0,
            entries: 0,
            encoder: DeflateEncoder::new(Vec::new(), Compression::default()),
        }
    }

    /// Adds a directory, link or empty file. `path` is relative and has at most [`MAX_PATH_BYTES`].
    pub(super) fn add(&mut self, path: &[u8], node: &Node) -> io::Result<()> {
        let content = if node.kind == NodeKind::Symlink { &node.link_target[..] } else { b"" };
        let mut crc = Crc::new();
        crc.update(content);
        let size_bytes = content.len() as u64;
        let entry = Entry {
            crc: crc.sum(),
            size_bytes,
            stored_bytes: size_bytes,
            ..Entry::of(path, node, STORED, self.written_bytes)
        };
        self.write(&entry.local_header())?;
        self.write(content)?;
        self.finish_entry(&entry)
    }

    /// Adds a file with the content that `write` writes; as much as the node says.
    pub(super) fn add_file(
        &mut self,
        path: &[u8],
        node: &Node,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let mut entry =
            Entry { size_bytes: node.size, ..Entry::of(path, node, DEFLATED, self.written_bytes) };
        self.write(&entry.local_header()).map_err(failed)?;
        let start = self.written_bytes;
        let mut content = Content { archive: self, crc: Crc::new() };
        write(&mut content)?;
        entry.crc = content.crc.sum();
        self.encoder
            .reset(Vec::new())
            .and_then(|rest| self.write(&rest))
            .and_then(|()| {
                entry.stored_bytes = self.written_bytes - start;
                self.write(&entry.data_descriptor())
            })
            .and_then(|()| self.finish_entry(&entry))
            .map_err(failed)
    }

    fn finish_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let header = entry.central_header();
        self.directory.write_all(&header)?;
        self.directory_bytes += header.len() as u64;
        self.entries += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the directory. An archive without it is none.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut directory = self.directory.into_inner()?;
        directory.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut directory, self.out)?;
        if copied != self.directory_bytes {
            return Err(io::Error::other("the temporary file was changed"));
        }
        self.out.write_all(&end(self.entries, self.directory_bytes, self.written_bytes))
    }
}

/// The content of the file that is being added.
struct Content<'a, 'o> {
    archive: &'a mut Archive<'o>,
    crc: Crc,
}

impl Write for Content<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.archive.encoder.write_all(bytes)?;
        let mut compressed = std::mem::take(self.archive.encoder.get_mut());
        self.archive.write(&compressed)?;
        compressed.clear();
        *self.archive.encoder.get_mut() = compressed;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Entry {
    fn of(path: &[u8], node: &Node, method: u16, offset: u64) -> Self {
        let mut name = path.to_vec();
        if node.kind == NodeKind::Dir {
            name.push(b'/');
        }
        Self {
            name,
            node_mode: node.mode,
            time: dos_time(node.mtime.seconds),
            unix_time: i32::try_from(node.mtime.seconds).ok(),
            method,
            crc: 0,
            size_bytes: 0,
            stored_bytes: 0,
            offset,
        }
    }

    fn is_large(&self) -> bool {
        self.size_bytes >= LARGE_BYTES
    }

    fn flags(&self) -> u16 {
        let follow = if self.method == DEFLATED { SIZES_FOLLOW } else { 0 };
        let is_utf8 = !self.name.is_ascii() && std::str::from_utf8(&self.name).is_ok();
        follow | if is_utf8 { NAME_IS_UTF8 } else { 0 }
    }

    /// Where sizes follow, they are 0 here.
    fn local_header(&self) -> Vec<u8> {
        let mut extra = self.time_extra();
        let is_large = self.is_large();
        if is_large {
            extra.u16(EXTRA_SIZES_64).u16(16).u64(0).u64(0);
        }
        let (size, stored) = match (is_large, self.method) {
            (true, _) => (u32::MAX, u32::MAX),
            (_, DEFLATED) => (0, 0),
            _ => (self.size_bytes as u32, self.stored_bytes as u32),
        };
        let crc = if self.method == DEFLATED { 0 } else { self.crc };
        let mut header = Bytes::default();
        header.u32(LOCAL_HEADER).u16(if is_large { VERSION_64 } else { VERSION }).u16(self.flags());
        header.u16(self.method).u16(self.time.1).u16(self.time.0).u32(crc).u32(stored).u32(size);
        header.u16(self.name.len() as u16).u16(extra.0.len() as u16).all(&self.name).all(&extra.0);
        header.0
    }

    fn data_descriptor(&self) -> Vec<u8> {
        let mut descriptor = Bytes::default();
        descriptor.u32(DATA_DESCRIPTOR).u32(self.crc);
        match self.is_large() {
            true => descriptor.u64(self.stored_bytes).u64(self.size_bytes),
            false => descriptor.u32(self.stored_bytes as u32).u32(self.size_bytes as u32),
        };
        descriptor.0
    }

    fn central_header(&self) -> Vec<u8> {
        let mut extra = self.time_extra();
        let mut large = Bytes::default();
        let mut number = |value: u64| match u32::try_from(value) {
            Ok(value) if value < u32::MAX => value,
            _ => {
                large.u64(value);
                u32::MAX
            }
        };
        let (size, stored) = (number(self.size_bytes), number(self.stored_bytes));
        let offset = number(self.offset);
        if !large.0.is_empty() {
            extra.u16(EXTRA_SIZES_64).u16(large.0.len() as u16).all(&large.0);
        }
        let needs_64 = self.is_large() || !large.0.is_empty();
        let directory = if self.name.ends_with(b"/") { DOS_DIRECTORY } else { 0 };
        let mut header = Bytes::default();
        header.u32(CENTRAL_HEADER).u16(MADE_ON_UNIX | VERSION_64);
        header.u16(if needs_64 { VERSION_64 } else { VERSION }).u16(self.flags()).u16(self.method);
        header.u16(self.time.1).u16(self.time.0).u32(self.crc).u32(stored).u32(size);
        header.u16(self.name.len() as u16).u16(extra.0.len() as u16);
        // No comment, the first disk, binary.
        header.u16(0).u16(0).u16(0).u32(mode::to_unix(self.node_mode) << 16 | directory).u32(offset);
        header.all(&self.name).all(&extra.0);
        header.0
    }

    fn time_extra(&self) -> Bytes {
        let mut extra = Bytes::default();
        if let Some(seconds) = self.unix_time {
            // Of the three times it may hold, the first.
            extra.u16(EXTRA_TIME).u16(5).all(&[1]).all(&seconds.to_le_bytes());
        }
        extra
    }
}

/// The end of the directory, which begins at `offset`.
fn end(entries: u64, directory_bytes: u64, offset: u64) -> Vec<u8> {
    let mut end = Bytes::default();
    let short = (u16::try_from(entries), u32::try_from(directory_bytes), u32::try_from(offset));
    let (entries_16, bytes_32, offset_32) = match short {
        (Ok(entries), Ok(bytes), Ok(offset)) if entries < u16::MAX && bytes.max(offset) < u32::MAX => {
            (entries, bytes, offset)
        }
        _ => {
            // The size of this record is told without its first 12 bytes.
            end.u32(CENTRAL_END_64).u64(44).u16(MADE_ON_UNIX | VERSION_64).u16(VERSION_64).u32(0).u32(0);
            end.u64(entries).u64(entries).u64(directory_bytes).u64(offset);
            end.u32(CENTRAL_LOCATOR_64).u32(0).u64(offset + directory_bytes).u32(1);
            (u16::MAX, u32::MAX, u32::MAX)
        }
    };
    end.u32(CENTRAL_END).u16(0).u16(0).u16(entries_16).u16(entries_16).u32(bytes_32).u32(offset_32).u16(0);
    end.0
}

/// Date and time; what is before 1980 or after 2107 becomes the nearest there is.
fn dos_time(seconds: i64) -> (u16, u16) {
    const FIRST: (u16, u16) = (1 << 5 | 1, 0);
    const LAST: (u16, u16) = (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29);
    let Some(time) = DateTime::from_timestamp(seconds, 0) else {
        return if seconds < 0 { FIRST } else { LAST };
    };
    match time.year() {
        ..1980 => FIRST,
        2108.. => LAST,
        year => (
            ((year - 1980) as u16) << 9 | (time.month() as u16) << 5 | time.day() as u16,
            (time.hour() as u16) << 11 | (time.minute() as u16) << 5 | (time.second() / 2) as u16,
        ),
    }
}

/// Little-endian fields one after the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.all(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.all(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.all(&value.to_le_bytes())
    }

    fn all(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests;
