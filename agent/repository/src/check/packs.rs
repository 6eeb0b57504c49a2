//! The packs: what the store lists against what the index says, and the header of each against both.
//!
//! A pack that does not fit is read whole at once (`read`), since a damaged header says nothing about the blobs:
//! only reading them tells what is lost.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pillion_backend::FileKind;

use super::Check;
use super::findings::{of_the_file, reason};
use super::read::{Depth, Inspector, Outcome};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::pack::{self, PackEntry};
use crate::index::{Index, IndexBuilder};
use crate::limits;
use crate::parallel::parallel;
use crate::repository::Repository;
use crate::store::{entry_id, file_name};

/// Read of a pack in no index, in the hope that the header is not longer.
const TAIL_BYTES: u64 = 64 * limits::KIB as u64;

/// The packs of the index, by position, with their blobs in the order they lie in.
pub(super) struct Packs {
    /// Positions of the index, pack after pack, by offset.
    blobs: Vec<u32>,
    /// Where the blobs of each pack begin in `blobs`; one more than there are packs.
    starts: Vec<u32>,
    /// Of each pack, as listed; `None` where it is not.
    sizes: Vec<Option<u64>>,
    /// In no index.
    unreferenced: Vec<(Id, u64)>,
    /// Packs some tree of which could not be read.
    suspects: Mutex<BTreeSet<u32>>,
}

/// Lists the packs of the store and sorts the index by packs.
pub(super) fn list(check: &Check<'_>) -> Result<Packs> {
    let index = &check.index;
    let listed = check.repository.store.list(FileKind::Pack)?;
    let mut listed: Vec<(Id, u64)> = listed.iter().map(|entry| (entry_id(entry), entry.size_bytes)).collect();
    listed.sort_unstable();
    let (blobs, starts) = by_pack(index);
    let find = |pack: &Id| listed.binary_search_by_key(pack, |(id, _)| *id).ok().map(|found| listed[found].1);
    let sizes = index.packs().iter().map(find).collect();
    let is_referenced = |pack: &Id| {
        // A pack of no blobs is as good as not named.
        index.packs().binary_search(pack).is_ok_and(|position| starts[position] < starts[position + 1])
    };
    let unreferenced = listed.iter().filter(|(id, _)| !is_referenced(id)).copied().collect();
    Ok(Packs { blobs, starts, sizes, unreferenced, suspects: Mutex::default() })
}

fn by_pack(index: &Index) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; index.packs().len() + 1];
    for position in 0..index.len() {
        starts[index.location(position).pack_position as usize + 1] += 1;
    }
    for pack in 1..starts.len() {
        starts[pack] += starts[pack - 1];
    }
    let mut next = starts.clone();
    let mut blobs = vec![0u32; index.len()];
    for position in 0..index.len() {
        let next = &mut next[index.location(position).pack_position as usize];
        blobs[*next as usize] = u32::try_from(position).expect("an index has fewer than 2^32 blobs");
        *next += 1;
    }
    for pack in starts.windows(2) {
        blobs[pack[0] as usize..pack[1] as usize]
            .sort_unstable_by_key(|position| index.location(*position as usize).offset);
    }
    (blobs, starts)
}

impl Packs {
    /// How many packs hold something.
    pub(super) fn len(&self) -> usize {
        self.referenced().count()
    }

    /// Positions in [`Index::packs`].
    pub(super) fn referenced(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.sizes.len() as u32).filter(|pack| !self.blobs_of(*pack).is_empty())
    }

    pub(super) fn size_bytes(&self, pack: u32) -> Option<u64> {
        self.sizes[pack as usize]
    }

    /// The positions of a pack's blobs in the index, by offset.
    pub(super) fn blobs_of(&self, pack: u32) -> &[u32] {
        let pack = pack as usize;
        &self.blobs[self.starts[pack] as usize..self.starts[pack + 1] as usize]
    }

    pub(super) fn entries_of(&self, index: &Index, pack: u32) -> Vec<PackEntry> {
        self.blobs_of(pack).iter().map(|position| index.entry(*position as usize)).collect()
    }

    pub(super) fn suspect(&self, pack: u32) {
        self.suspects.lock().expect("no thread panics with it").insert(pack);
    }

    /// What the index names and the store does not have.
    pub(super) fn check_presence(&self, check: &Check<'_>) {
        for pack in self.referenced().filter(|pack| self.size_bytes(*pack).is_none()) {
            for position in self.blobs_of(pack) {
                check.damaged.insert(*position as usize);
            }
            check.findings.lost_something();
            // `repair packs` wants a pack it can read.
            check.findings.suggest_repair_index();
            check.findings.broken_pack(check.index.packs()[pack as usize], "it is not in the store");
        }
        self.check_kinds(check);
        check.findings.unreferenced_packs(self.unreferenced.len() as u64);
    }

    fn check_kinds(&self, check: &Check<'_>) {
        let mut mixed = 0;
        for pack in self.referenced() {
            let mut kinds = self.blobs_of(pack).iter().map(|position| check.index.blob(*position as usize).0);
            let first = kinds.next();
            mixed += u64::from(kinds.any(|kind| Some(kind) != first));
        }
        if mixed > 0 {
            check.findings.suggest_prune();
            check.findings.note(format!(
                "{mixed} packs hold trees and data. This is no damage; `restic prune` separates them."
            ));
        }
    }

    /// Compares the header of every pack with the index.
    pub(super) fn check_headers(&self, check: &Check<'_>) -> Result<()> {
        let packs: Vec<u32> = self.referenced().filter(|pack| self.size_bytes(*pack).is_some()).collect();
        self.inspect(check, &packs, Depth::Header).map(drop)
    }

    /// Reads packs whole, and those that became suspect; how many, and how many bytes.
    pub(super) fn read(&self, check: &Check<'_>, chosen: &[u32]) -> Result<(u64, u64)> {
        let mut packs: BTreeSet<u32> = chosen.iter().copied().collect();
        packs.append(&mut self.suspects.lock().expect("no thread panics with it"));
        packs.retain(|pack| self.size_bytes(*pack).is_some());
        let packs: Vec<u32> = packs.into_iter().collect();
        self.inspect(check, &packs, Depth::Whole)
    }

    fn inspect(&self, check: &Check<'_>, packs: &[u32], depth: Depth) -> Result<(u64, u64)> {
        let progress = check.progress;
        let size_bytes = |pack: &u32| self.size_bytes(*pack).expect("only what is listed is read");
        let total_bytes = if depth == Depth::Whole { packs.iter().map(size_bytes).sum() } else { 0 };
        for (counter, value) in [
            (&progress.files_done, 0),
            (&progress.files_total, packs.len() as u64),
            (&progress.bytes_done, 0),
            (&progress.bytes_total, total_bytes),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
        let budget = Budget::new(limits::CHECK_BUFFER_BYTES);
        let (read, bytes_read) = (AtomicU64::new(0), AtomicU64::new(0));
        let new_inspector = || Inspector::new(check, self, &budget);
        parallel(check.connections, packs, new_inspector, |inspector, pack| {
            let outcome = inspector.inspect(*pack, size_bytes(pack), depth)?;
            if depth == Depth::Whole {
                read.fetch_add(1, Ordering::Relaxed);
                bytes_read.fetch_add(size_bytes(pack), Ordering::Relaxed);
            }
            self.tell(check, *pack, outcome);
            progress.files_done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })?;
        Ok((read.into_inner(), bytes_read.into_inner()))
    }

    fn tell(&self, check: &Check<'_>, pack: u32, outcome: Outcome) {
        let id = check.index.packs()[pack as usize];
        match outcome {
            Outcome::Sound => {}
            Outcome::SoundAtLast(first) => {
                let detail =
                    format!("pack {id}: {first}; read again, it is whole: the way to the store is not sound");
                check.findings.damage(detail);
            }
            Outcome::Broken { problems, damaged } => {
                for position in &damaged {
                    check.damaged.insert(*position as usize);
                }
                if !damaged.is_empty() {
                    check.findings.lost_something();
                }
                let of = self.blobs_of(pack).len();
                let lost = match damaged.len() {
                    0 => format!("all of its {of} blobs can be read"),
                    lost => format!("{lost} of its {of} blobs cannot be read"),
                };
                check.findings.broken_pack(id, format_args!("{problems}; {lost}"));
            }
        }
    }

    /// The blobs of the packs no index names: where something is missing, it may be there. What cannot be read of
    /// them is what an interrupted upload leaves, and no damage.
    pub(super) fn unreferenced(&self, check: &Check<'_>) -> Result<Index> {
        let headers = parallel(
            check.connections,
            &self.unreferenced,
            || (),
            |(), (pack, size_bytes)| match read_header(check.repository, pack, *size_bytes, TAIL_BYTES) {
                Ok(entries) => Ok(Some((*pack, entries))),
                Err(e) => {
                    let why = reason(&of_the_file(e)?);
                    check.findings.note(format!("pack {pack}, which no index names, cannot be used: {why}"));
                    Ok(None)
                }
            },
        )?;
        let mut builder = IndexBuilder::default();
        for (pack, entries) in headers.iter().flatten() {
            builder.add_pack(*pack, entries);
        }
        Ok(builder.build())
    }
}

/// The entries in the header of a pack; `tail_bytes` is how much of the pack's end is worth reading at once.
pub(super) fn read_header(
    repository: &Repository,
    pack: &Id,
    size_bytes: u64,
    tail_bytes: u64,
) -> Result<Vec<PackEntry>> {
    let file = file_name(FileKind::Pack, pack);
    let invalid = |why| Error::Damaged { file: file.clone(), why };
    let tail_start = size_bytes.saturating_sub(tail_bytes.max(pack::TRAILER_BYTES as u64));
    let tail = repository.store.load_range(&file, tail_start..size_bytes)?;
    let trailer = tail.last_chunk().ok_or_else(|| invalid(Invalid::malformed("the pack is empty")))?;
    let range = pack::header_range(size_bytes, *trailer).map_err(invalid)?;
    let mut sealed = match range.start.checked_sub(tail_start) {
        Some(start) => tail[start as usize..tail.len() - pack::TRAILER_BYTES].to_vec(),
        None => repository.store.load_range(&file, range.clone())?.to_vec(),
    };
    pack::decode_header(&mut sealed, range.start, repository.key()).map_err(invalid)
}

/// How many blobs are there more than once, each counted as often as it could be spared.
pub(super) fn count_duplicates(index: &Index) -> u64 {
    let blob = |position: usize| -> (BlobKind, Id) { index.blob(position) };
    (1..index.len()).filter(|position| blob(*position) == blob(position - 1)).count() as u64
}
