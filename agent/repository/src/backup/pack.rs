//! The pack stage: sealed blobs are gathered into packs, which grow in files of the spool.
//!
//! Two packs of each kind are open at once and a blob goes into either at random, so that the sizes of packs
//! do not betray the sizes of chunks; what is left at the end is merged if it fits into one, or the last
//! blobs of a small file would be told apart after all.

use std::io::{BufWriter, Read, Seek, Write};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

use super::upload::Uploads;
use crate::cache::{Place, Spool, SpoolFile};
use crate::error::{Error, Result};
use crate::format::blob::BlobKind;
use crate::format::crypto::fill_random;
use crate::format::id::Id;
use crate::format::pack::{self, PackEntry};
use crate::limits::{self, KIB};
use crate::repository::Repository;

const OPEN_PACKS: usize = limits::MAX_OPEN_PACKS / 2;
const COPY_BYTES: usize = 256 * KIB;

pub(super) struct Packer<'a> {
    repository: &'a Repository,
    spool: &'a Spool,
    uploads: &'a Uploads,
    open: [[Mutex<Option<OpenPack>>; OPEN_PACKS]; 2],
}

struct OpenPack {
    file: BufWriter<SpoolFile>,
    entries: Vec<PackEntry>,
    size_bytes: u32,
    /// What the entries will take in the header.
    header_bytes: u32,
}

/// A whole pack in the spool, named by its content.
pub(super) struct ClosedPack {
    pub(super) id: Id,
    pub(super) file: SpoolFile,
    pub(super) size_bytes: u64,
    pub(super) entries: Vec<PackEntry>,
}

impl<'a> Packer<'a> {
    pub(super) fn new(repository: &'a Repository, spool: &'a Spool, uploads: &'a Uploads) -> Self {
        Self { repository, spool, uploads, open: Default::default() }
    }

    /// Adds a sealed blob. Returns the bytes it will take in the repository, its part of the header included.
    pub(super) fn add(
        &self,
        kind: BlobKind,
        id: Id,
        sealed: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<u64> {
        let length = u32::try_from(sealed.len()).expect("blobs are bounded far below 4 GiB");
        let header_bytes =
            PackEntry { kind, id, offset: 0, length, uncompressed_length }.header_size_bytes() as u64;
        let pack_size_bytes = self.repository.settings.pack_size_bytes;
        let full = if length >= pack_size_bytes.min(limits::MAX_SHARED_BLOB_BYTES) {
            // A pack of its own: it can be removed by itself, and it would be noticed among others anyway.
            let mut pack = self.create(limits::max_lone_pack_bytes(length))?;
            pack.add(kind, id, sealed, uncompressed_length)?;
            Some(pack)
        } else {
            let slot = &self.open[kind as usize][random_below(OPEN_PACKS)];
            let mut open = lock(slot);
            let pack = match &mut *open {
                Some(pack) => pack,
                none => none.insert(self.create(limits::max_pack_bytes(pack_size_bytes))?),
            };
            pack.add(kind, id, sealed, uncompressed_length)?;
            open.take_if(|pack| pack.is_full(pack_size_bytes))
        };
        if let Some(pack) = full {
            self.close(pack)?;
        }
        Ok(u64::from(length) + header_bytes)
    }

    /// A pack with a place in the spool. There may be none before uploads have freed one: packs that are open all fit
    /// beside one another, so whoever waits here waits for those that are closed.
    fn create(&self, max_bytes: u64) -> Result<OpenPack> {
        let place = match self.spool.try_place(max_bytes) {
            Some(place) => place,
            None => self.wait_for_place(max_bytes)?,
        };
        let file = BufWriter::with_capacity(COPY_BYTES, self.spool.create_file(place)?);
        Ok(OpenPack { file, entries: Vec::new(), size_bytes: 0, header_bytes: 0 })
    }

    fn wait_for_place(&self, max_bytes: u64) -> Result<Place> {
        let store = &self.repository.store;
        let open_bytes =
            limits::MAX_OPEN_PACKS as u64 * limits::max_pack_bytes(self.repository.settings.pack_size_bytes);
        store.runtime().block_on(async {
            tokio::select! {
                biased;
                () = store.cancel_token().cancelled() => Err(Error::Cancelled),
                place = self.spool.place(max_bytes, open_bytes) => place,
            }
        })
    }

    /// Closes what is open. Packs of one kind that fit into one become one.
    pub(super) fn flush(&self) -> Result<()> {
        for slots in &self.open {
            let mut rest: Option<OpenPack> = None;
            for pack in slots.iter().filter_map(|slot| lock(slot).take()) {
                rest = Some(match rest {
                    None => pack,
                    Some(mut first) if first.fits(&pack, self.repository.settings.pack_size_bytes) => {
                        first.merge(pack)?;
                        first
                    }
                    Some(first) => {
                        self.close(first)?;
                        pack
                    }
                });
            }
            if let Some(pack) = rest {
                self.close(pack)?;
            }
        }
        Ok(())
    }

    fn close(&self, mut open: OpenPack) -> Result<()> {
        let mut header = Vec::new();
        pack::encode_header(&open.entries, self.repository.key(), &mut header);
        open.file.write_all(&header).map_err(spool_error)?;
        let mut file = open.file.into_inner().map_err(|e| spool_error(e.into_error()))?;
        file.rewind().map_err(spool_error)?;
        let (id, size_bytes) = hash(&mut file)?;
        file.settle();
        if open.entries.iter().all(|entry| entry.kind == BlobKind::Tree) {
            file.rewind().map_err(spool_error)?;
            let kept = self.repository.kept();
            kept.keep_trees(&id, &mut |buffer| fill(&mut file, buffer)).map_err(spool_error)?;
        }
        self.uploads.start(ClosedPack { id, file, size_bytes, entries: open.entries })
    }
}

impl OpenPack {
    fn add(
        &mut self,
        kind: BlobKind,
        id: Id,
        sealed: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<()> {
        self.file.write_all(sealed).map_err(spool_error)?;
        let length = u32::try_from(sealed.len()).expect("the caller has checked");
        let entry = PackEntry { kind, id, offset: self.size_bytes, length, uncompressed_length };
        self.header_bytes += u32::try_from(entry.header_size_bytes()).expect("an entry has a few bytes");
        self.entries.push(entry);
        self.size_bytes += length;
        Ok(())
    }

    /// The header counts: the place in the spool is for both.
    fn is_full(&self, pack_size_bytes: u32) -> bool {
        self.size_bytes + self.header_bytes >= pack_size_bytes || !pack::has_room(&self.entries)
    }

    fn fits(&self, other: &Self, pack_size_bytes: u32) -> bool {
        let bytes = |pack: &Self| pack.size_bytes + pack.header_bytes;
        bytes(self) + bytes(other) < pack_size_bytes
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        let mut file = other.file.into_inner().map_err(|e| spool_error(e.into_error()))?;
        file.rewind().map_err(spool_error)?;
        std::io::copy(&mut file, &mut self.file).map_err(spool_error)?;
        let shift = self.size_bytes;
        self.entries.extend(
            other.entries.into_iter().map(|entry| PackEntry { offset: entry.offset + shift, ..entry }),
        );
        self.size_bytes += other.size_bytes;
        self.header_bytes += other.header_bytes;
        Ok(())
    }
}

/// The pack's name is taken from what the file holds, not from what was meant to be written.
fn hash(file: &mut SpoolFile) -> Result<(Id, u64)> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; COPY_BYTES];
    let mut size_bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(spool_error)?;
        if read == 0 {
            return Ok((Id::from_digest(&context.finish()), size_bytes));
        }
        context.update(&buffer[..read]);
        size_bytes += read as u64;
    }
}

/// Fills the buffer, or as much of it as there is left.
fn fill(file: &mut SpoolFile, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with it")
}

/// Not guessable from outside: the choice is what hides the sizes.
fn random_below(count: usize) -> usize {
    let mut byte = [0u8];
    fill_random(&mut byte);
    usize::from(byte[0]) % count
}

fn spool_error(source: std::io::Error) -> Error {
    Error::local("write", "a pack in the spool", source)
}
