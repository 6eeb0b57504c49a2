//! One pack, looked at: its header, or every byte of it.
//!
//! A pack is read in pieces of whole blobs, so that each can be opened where it lies: nothing is copied. Where header
//! and blobs account for every byte of the pack, each byte has been authenticated once they are opened, and the pack's
//! own hash would prove it a second time at nearly half the price of a check; it is taken where something is not
//! accounted for. What is wrong is read a second time before it is called damage: some stores show half a file for a
//! moment.

use std::ops::Range;
use std::sync::atomic::Ordering;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::BytesMut;
use pillion_backend::{FileKind, FileName};

use super::Check;
use super::findings::{of_the_file, reason};
use super::packs::{Packs, read_header};
use crate::budget::Budget;
use crate::error::Result;
use crate::format::Invalid;
use crate::format::blob::Opener;
use crate::format::crypto::OVERHEAD_BYTES;
use crate::format::id::Id;
use crate::format::pack::{PackEntry, header_size_bytes};
use crate::limits::{KIB, MIB};
use crate::store::file_name;

/// Blobs are read together up to this size: the request is paid by then, and little waits for memory.
const PIECE_BYTES: u64 = 2 * MIB as u64;

/// Up to this size a compressed blob is decompressed whole, which is faster than as a stream.
const WHOLE_BYTES: u32 = 512 * KIB as u32;

/// Reasons told of one pack.
const MAX_REASONS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Header,
    Whole,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Sound,
    /// It was not at the first try, for this reason.
    SoundAtLast(String),
    Broken {
        problems: String,
        /// Positions in the index of the blobs that are not there whole.
        damaged: Vec<u32>,
    },
}

/// Looks at packs, for one thread.
pub(super) struct Inspector<'a> {
    check: &'a Check<'a>,
    packs: &'a Packs,
    budget: &'a Budget,
    opener: Opener,
    plain: Vec<u8>,
}

/// What was wrong at one reading.
#[derive(Default)]
struct Problems {
    reasons: Vec<String>,
    untold: usize,
    damaged: Vec<u32>,
}

impl Problems {
    fn add(&mut self, reason: impl Into<String>) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason.into());
        } else {
            self.untold += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    fn sentence(mut self) -> String {
        if self.untold > 0 {
            self.reasons.push(format!("and {} more", self.untold));
        }
        self.reasons.join("; ")
    }
}

impl<'a> Inspector<'a> {
    pub(super) fn new(check: &'a Check<'a>, packs: &'a Packs, budget: &'a Budget) -> Self {
        Self { check, packs, budget, opener: Opener::default(), plain: Vec::new() }
    }

    /// An error here ends the check; what is wrong with the pack is the outcome.
    pub(super) fn inspect(&mut self, pack: u32, size_bytes: u64, depth: Depth) -> Result<Outcome> {
        let first = self.try_inspect(pack, size_bytes, depth)?;
        if first.is_empty() {
            return Ok(Outcome::Sound);
        }
        let mut second = self.try_inspect(pack, size_bytes, Depth::Whole)?;
        if second.is_empty() {
            return Ok(Outcome::SoundAtLast(first.sentence()));
        }
        let damaged = std::mem::take(&mut second.damaged);
        Ok(Outcome::Broken { problems: second.sentence(), damaged })
    }

    fn try_inspect(&mut self, pack: u32, size_bytes: u64, depth: Depth) -> Result<Problems> {
        let mut problems = Problems::default();
        let packs = self.packs;
        let entries = packs.entries_of(&self.check.index, pack);
        let id = self.check.index.packs()[pack as usize];
        let header_bytes = header_size_bytes(&entries) as u64;
        let blobs_bytes: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
        if size_bytes != blobs_bytes + header_bytes {
            let told = blobs_bytes + header_bytes;
            problems.add(format!("it has {size_bytes} bytes where the index tells of {told}"));
        }
        if entries
            .iter()
            .try_fold(0, |end, entry| (u64::from(entry.offset) == end).then_some(entry.range().end))
            .is_none()
        {
            problems.add("the index tells of gaps or overlapping blobs in it");
        }
        match read_header(self.check.repository, &id, size_bytes, header_bytes) {
            Ok(header) if header == entries => {}
            Ok(_) => problems.add("its header names other blobs than the index"),
            Err(e) => problems.add(format!("its header cannot be read: {}", reason(&of_the_file(e)?))),
        }
        if depth == Depth::Whole {
            // Offsets within a pack have 32 bits: nothing larger is worth reading to its end.
            let is_telling = !problems.is_empty() && size_bytes <= u64::from(u32::MAX);
            Reading {
                hash: is_telling.then(|| Context::new(&SHA256)),
                file: file_name(FileKind::Pack, &id),
                size_bytes,
                problems: &mut problems,
                inspector: self,
            }
            .read(&id, packs.blobs_of(pack), &entries)?;
        }
        Ok(problems)
    }
}

/// One pass over one pack.
struct Reading<'r, 'a> {
    /// Of the whole pack, where that tells more than its blobs do; `None` also after a part could not be read.
    hash: Option<Context>,
    file: FileName,
    size_bytes: u64,
    problems: &'r mut Problems,
    inspector: &'r mut Inspector<'a>,
}

impl Reading<'_, '_> {
    fn read(mut self, id: &Id, positions: &[u32], entries: &[PackEntry]) -> Result<()> {
        let mut at = 0;
        let mut rest = 0;
        while let Some(first) = entries.get(rest) {
            let start = first.range().start;
            if !self.fits(first) {
                self.lose(positions[rest], first, "it does not lie within the pack");
                rest += 1;
                continue;
            }
            // Overlapping blobs are possible only where the index is damaged; no byte is hashed twice.
            let hashed = start >= at;
            let mut count = 1;
            if hashed {
                self.skip(at..start)?;
                at = first.range().end;
                for entry in &entries[rest + 1..] {
                    if entry.range().start != at
                        || entry.range().end - start > PIECE_BYTES
                        || !self.fits(entry)
                    {
                        break;
                    }
                    at = entry.range().end;
                    count += 1;
                }
            }
            self.piece(&positions[rest..rest + count], &entries[rest..rest + count], hashed)?;
            rest += count;
        }
        self.skip(at..self.size_bytes)?;
        if let Some(hash) = self.hash.take()
            && Id::from_digest(&hash.finish()) != *id
        {
            self.problems.add("its content does not match its ID");
        }
        Ok(())
    }

    fn fits(&self, entry: &PackEntry) -> bool {
        let max_bytes = entry.kind.max_plain_bytes() + OVERHEAD_BYTES;
        entry.range().end <= self.size_bytes && entry.length as usize <= max_bytes
    }

    /// Opens blobs that lie behind one another.
    fn piece(&mut self, positions: &[u32], entries: &[PackEntry], hashed: bool) -> Result<()> {
        let start = entries[0].range().start;
        let end = entries[entries.len() - 1].range().end;
        let _charge = self.inspector.budget.take((end - start) as usize);
        let Some(mut piece) = self.load(start..end)? else {
            for (position, entry) in positions.iter().zip(entries) {
                self.lose(*position, entry, "it could not be read from the store");
            }
            return Ok(());
        };
        for (position, entry) in positions.iter().zip(entries) {
            let sealed = &mut piece[(entry.range().start - start) as usize..][..entry.length as usize];
            if let Some(hash) = self.hash.as_mut().filter(|_| hashed) {
                hash.update(sealed);
            }
            if let Err(why) = self.inspector.open(entry, sealed) {
                self.lose(*position, entry, why);
            }
        }
        self.count(end - start);
        Ok(())
    }

    fn count(&self, bytes: u64) {
        self.inspector.check.progress.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Hashes what belongs to no blob: the header, and the gaps of a damaged index.
    fn skip(&mut self, mut range: Range<u64>) -> Result<()> {
        while !range.is_empty() {
            let end = range.end.min(range.start + PIECE_BYTES);
            if self.hash.is_some() {
                let _charge = self.inspector.budget.take((end - range.start) as usize);
                if let Some(piece) = self.load(range.start..end)?
                    && let Some(hash) = &mut self.hash
                {
                    hash.update(&piece);
                }
            }
            self.count(end - range.start);
            range.start = end;
        }
        Ok(())
    }

    /// `None`, and a problem, where the bytes cannot be had.
    fn load(&mut self, range: Range<u64>) -> Result<Option<BytesMut>> {
        match self.inspector.check.repository.store.load_range(&self.file, range) {
            // Nobody else has these bytes, so this takes them over and copies nothing.
            Ok(bytes) => Ok(Some(bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..])))),
            Err(e) => {
                self.hash = None;
                self.problems.add(reason(&of_the_file(e)?));
                Ok(None)
            }
        }
    }

    fn lose(&mut self, position: u32, entry: &PackEntry, why: impl std::fmt::Display) {
        self.problems.damaged.push(position);
        self.problems.add(format!("{} blob {}: {why}", entry.kind.noun(), entry.id));
    }
}

impl Inspector<'_> {
    /// Proves that a blob is whole; `sealed` is of no use afterwards.
    fn open(&mut self, entry: &PackEntry, sealed: &mut [u8]) -> Result<(), Invalid> {
        let Self { check, opener, plain, .. } = self;
        let key = check.repository.key();
        let PackEntry { kind, id, uncompressed_length, .. } = entry;
        match uncompressed_length {
            Some(length) if length.get() <= WHOLE_BYTES => {
                opener.open(key, *kind, id, sealed, *uncompressed_length, plain)
            }
            _ => opener.verify(key, *kind, id, sealed, *uncompressed_length),
        }
    }
}
