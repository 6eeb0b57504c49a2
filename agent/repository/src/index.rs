//! The index in memory: which pack holds a blob, and where.
//!
//! Entries of 48 bytes, sorted by ID, with a fence for every few of them: a lookup touches one or two cache
//! lines and nothing is allocated. It is built once from the repository's index files and never changed; what
//! a run adds lives with the run. An index never says that a pack exists in the store, only that an index
//! file claims so.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::pack::PackEntry;

/// Set in `Entry::pack` for tree blobs.
const TREE_BIT: u32 = 1 << 31;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: Id,
    pack: u32,
    offset: u32,
    length: u32,
    /// 0: stored without compression.
    uncompressed_length: u32,
}

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub pack: Id,
    /// The position of the pack in [`Index::packs`].
    pub pack_position: u32,
    pub offset: u32,
    pub length: u32,
    pub uncompressed_length: Option<NonZeroU32>,
}

impl Location {
    /// The size of the blob's content. A sealed blob is 32 bytes longer than what it seals.
    pub fn plain_bytes(&self) -> u64 {
        self.uncompressed_length.map_or(u64::from(self.length).saturating_sub(32), |n| u64::from(n.get()))
    }
}

/// Collects the content of index files.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    entries: Vec<Entry>,
    packs: Vec<Id>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

impl IndexBuilder {
    pub fn add_pack(&mut self, pack: Id, blobs: &[PackEntry]) {
        let position = u32::try_from(self.packs.len()).expect("fewer than 2^31 packs");
        self.packs.push(pack);
        self.entries.extend(blobs.iter().map(|blob| Entry {
            id: blob.id,
            pack: position | if blob.kind == BlobKind::Tree { TREE_BIT } else { 0 },
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length.map_or(0, NonZeroU32::get),
        }));
    }

    /// Takes over what another builder collected.
    pub fn append(&mut self, other: Self) {
        let shift = u32::try_from(self.packs.len()).expect("fewer than 2^31 packs");
        self.packs.extend(other.packs);
        self.entries.reserve_exact(other.entries.len());
        self.entries
            .extend(other.entries.into_iter().map(|entry| Entry { pack: entry.pack + shift, ..entry }));
    }

    pub fn build(mut self) -> Index {
        self.merge_equal_packs();
        // IDs are hashes: their first eight bytes decide nearly every comparison.
        self.entries.sort_unstable_by(|a, b| {
            let place = |entry: &Entry| (entry.id, entry.pack, entry.offset);
            head(&a.id).cmp(&head(&b.id)).then_with(|| place(a).cmp(&place(b)))
        });
        // The same pack may be named by two index files, after an interrupted prune or repair.
        self.entries.dedup();
        let bits = self.entries.len().max(1).ilog2().saturating_sub(2).min(24);
        let mut fences = vec![0u32; (1usize << bits) + 1];
        for entry in &self.entries {
            fences[prefix(&entry.id, bits) + 1] += 1;
        }
        for bucket in 1..fences.len() {
            fences[bucket] += fences[bucket - 1];
        }
        Index { entries: self.entries, packs: self.packs, fences, bits, tree_ends: OnceLock::new() }
    }

    /// Gives every pack one position, however many index files name it.
    fn merge_equal_packs(&mut self) {
        let mut order: Vec<u32> = (0..self.packs.len() as u32).collect();
        order.sort_unstable_by_key(|&position| self.packs[position as usize]);
        let mut merged: Vec<Id> = Vec::with_capacity(self.packs.len());
        let mut new_position = vec![0u32; self.packs.len()];
        for position in order {
            let pack = self.packs[position as usize];
            if merged.last() != Some(&pack) {
                merged.push(pack);
            }
            new_position[position as usize] = merged.len() as u32 - 1;
        }
        for entry in &mut self.entries {
            entry.pack = new_position[(entry.pack & !TREE_BIT) as usize] | (entry.pack & TREE_BIT);
        }
        self.packs = merged;
    }
}

/// The first eight bytes of an ID, in its order.
fn head(id: &Id) -> u64 {
    u64::from_be_bytes(*id.as_bytes().first_chunk().expect("an ID is longer"))
}

/// The first `bits` bits of an ID.
fn prefix(id: &Id, bits: u32) -> usize {
    if bits == 0 { 0 } else { (head(id) >> (64 - bits)) as usize }
}

/// What the index files of a repository say, at the moment they were listed.
#[derive(Default)]
pub struct Index {
    entries: Vec<Entry>,
    /// Sorted.
    packs: Vec<Id>,
    fences: Vec<u32>,
    bits: u32,
    /// Of each pack where the last of its trees ends; made when it is first asked for.
    tree_ends: OnceLock<Vec<u32>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index of {} blobs in {} packs", self.entries.len(), self.packs.len())
    }
}

impl Index {
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.positions(kind, id).next().is_some()
    }

    /// Every place that holds the blob: readers fall back from one to the next.
    pub fn lookup(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = Location> + '_ {
        self.positions(kind, id).map(|position| self.location(position))
    }

    /// The position of a blob among all entries, below [`Index::len`]: for bit sets over blobs. Of a blob
    /// that is stored twice always the same one.
    pub fn position(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        self.positions(kind, id).next()
    }

    /// The ID of the blob at a position.
    pub fn id(&self, position: usize) -> &Id {
        &self.entries[position].id
    }

    pub fn kind(&self, position: usize) -> BlobKind {
        kind_of(&self.entries[position])
    }

    pub fn location(&self, position: usize) -> Location {
        let entry = &self.entries[position];
        let pack_position = entry.pack & !TREE_BIT;
        Location {
            pack: self.packs[pack_position as usize],
            pack_position,
            offset: entry.offset,
            length: entry.length,
            uncompressed_length: NonZeroU32::new(entry.uncompressed_length),
        }
    }

    /// Which blob lies at a position.
    pub fn blob(&self, position: usize) -> (BlobKind, Id) {
        let entry = &self.entries[position];
        (kind_of(entry), entry.id)
    }

    /// A position as the header of its pack tells of it.
    pub fn entry(&self, position: usize) -> PackEntry {
        let entry = &self.entries[position];
        PackEntry {
            kind: kind_of(entry),
            id: entry.id,
            offset: entry.offset,
            length: entry.length,
            uncompressed_length: NonZeroU32::new(entry.uncompressed_length),
        }
    }

    /// Every entry: kind, ID and place, sorted by ID.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, Id, Location)> + '_ {
        self.entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (kind_of(entry), entry.id, self.location(position)))
    }

    /// What all blobs take in their packs.
    pub fn stored_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.length)).sum()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every pack some entry lies in, sorted.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// Where the last tree ends in the pack of a location, as far as the index knows.
    pub fn end_of_trees(&self, location: &Location) -> u64 {
        let ends = self.tree_ends.get_or_init(|| {
            let mut ends = vec![0u32; self.packs.len()];
            for entry in self.entries.iter().filter(|entry| kind_of(entry) == BlobKind::Tree) {
                let end = &mut ends[(entry.pack & !TREE_BIT) as usize];
                *end = (*end).max(entry.offset.saturating_add(entry.length));
            }
            ends
        });
        u64::from(ends[location.pack_position as usize])
    }

    /// The positions of every place that holds the blob.
    pub fn positions(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = usize> + '_ {
        let id = *id;
        let (start, end) = if self.entries.is_empty() {
            (0, 0)
        } else {
            let bucket = prefix(&id, self.bits);
            (self.fences[bucket] as usize, self.fences[bucket + 1] as usize)
        };
        let bucket = &self.entries[start..end];
        // A bucket holds a handful.
        let equal = move |(_, entry): &(usize, &Entry)| entry.id == id && kind_of(entry) == kind;
        bucket.iter().enumerate().filter(equal).map(move |(step, _)| start + step)
    }
}

fn kind_of(entry: &Entry) -> BlobKind {
    if entry.pack & TREE_BIT == 0 { BlobKind::Data } else { BlobKind::Tree }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: BlobKind, number: u32, offset: u32) -> PackEntry {
        PackEntry {
            kind,
            id: Id::of(&number.to_le_bytes()),
            offset,
            length: 100,
            uncompressed_length: NonZeroU32::new(200),
        }
    }

    #[test]
    fn every_blob_is_found_in_every_place_that_holds_it() {
        let mut builder = IndexBuilder::default();
        let blobs: Vec<_> = (0..10_000).map(|n| entry(BlobKind::Data, n, n * 100)).collect();
        builder.add_pack(Id::of(b"first"), &blobs[..6_000]);
        let mut other = IndexBuilder::default();
        other.add_pack(Id::of(b"second"), &blobs[5_000..]);
        other.add_pack(Id::of(b"first"), &blobs[..10]);
        builder.append(other);
        let index = builder.build();
        assert_eq!(index.packs().len(), 2);
        assert_eq!(index.len(), 11_000);
        for (number, blob) in blobs.iter().enumerate() {
            let places = index.lookup(BlobKind::Data, &blob.id).count();
            assert_eq!(places, if (5_000..6_000).contains(&number) { 2 } else { 1 }, "blob {number}");
            assert!(!index.contains(BlobKind::Tree, &blob.id));
        }
        assert!(!index.contains(BlobKind::Data, &Id::of(b"absent")));
    }

    #[test]
    fn a_data_and_a_tree_blob_of_one_id_are_two_blobs() {
        let mut builder = IndexBuilder::default();
        builder.add_pack(Id::of(b"data"), &[entry(BlobKind::Data, 1, 0)]);
        builder.add_pack(Id::of(b"tree"), &[entry(BlobKind::Tree, 1, 7)]);
        let index = builder.build();
        let id = Id::of(&1u32.to_le_bytes());
        let place = |kind| index.lookup(kind, &id).map(|at| (at.pack, at.offset)).collect::<Vec<_>>();
        assert_eq!(place(BlobKind::Data), [(Id::of(b"data"), 0)]);
        assert_eq!(place(BlobKind::Tree), [(Id::of(b"tree"), 7)]);
    }

    #[test]
    fn an_empty_index_holds_nothing() {
        for index in [IndexBuilder::default().build(), Index::default()] {
            assert!(index.is_empty());
            assert!(!index.contains(BlobKind::Data, &Id::of(b"x")));
        }
    }
}
