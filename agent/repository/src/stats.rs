//! How much is in snapshots, counted in restic's four ways.
//!
//! Each tree is read once where only its blobs count, and in every snapshot where its files do. What is remembered
//! to count nothing twice is a bit for a blob, and 16 bytes for a file's content or path.

use std::collections::HashSet;
use std::sync::Arc;

use crate::blob_set::BlobSet;
use crate::error::{Error, Result};
use crate::format::blob::BlobKind;
use crate::format::crypto::OVERHEAD_BYTES;
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::index::Index;
use crate::repository::BlobReader;
use crate::walk::{self, Next, Visitor};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountBy {
    /// What a restore of each snapshot would write.
    RestoreSize,
    /// Each content once, whatever the file is called.
    FilesByContents,
    /// Each blob once for each path it is at.
    BlobsPerFile,
    /// Each blob once, as it is stored.
    RawData,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub snapshots: u64,
    pub size_bytes: u64,
    pub files: u64,
    pub blobs: u64,
    /// Of raw data alone: what is stored, were nothing compressed.
    pub uncompressed_bytes: u64,
    /// Of the compressed blobs alone: as they are stored, and were they not compressed.
    pub compressed: (u64, u64),
}

/// Counts snapshot by snapshot.
#[derive(Debug)]
pub struct Counter {
    by: CountBy,
    index: Arc<Index>,
    totals: Totals,
    blobs: BlobSet,
    /// The first half of a hash.
    seen: HashSet<u128>,
    /// Of the snapshot at hand.
    links: HashSet<(u64, u64)>,
}

impl Counter {
    pub fn new(by: CountBy, index: Arc<Index>) -> Self {
        let blobs = BlobSet::new(if by == CountBy::RawData { &index } else { &EMPTY });
        Self { by, index, totals: Totals::default(), blobs, seen: HashSet::new(), links: HashSet::new() }
    }

    /// Counts what is below a snapshot's root.
    pub fn add(&mut self, reader: &mut BlobReader, root: &Id) -> Result<()> {
        self.totals.snapshots += 1;
        self.links.clear();
        walk::walk(reader, root, self)
    }

    /// The sum over all snapshots.
    pub fn finish(mut self) -> Result<Totals> {
        if let Some((kind, id)) = self.blobs.unknown().next() {
            return Err(Error::MissingBlob { kind: *kind, id: *id });
        }
        for (_, location) in self.blobs.locations(&self.index) {
            let stored = u64::from(location.length);
            let plain = location.plain_bytes() + OVERHEAD_BYTES as u64;
            self.totals.blobs += 1;
            self.totals.size_bytes += stored;
            self.totals.uncompressed_bytes += plain;
            if location.uncompressed_length.is_some() {
                self.totals.compressed.0 += stored;
                self.totals.compressed.1 += plain;
            }
        }
        Ok(self.totals)
    }

    fn restored(&mut self, node: &Node) {
        self.totals.files += 1;
        let is_one_of_many = node.links != 1 && node.kind != NodeKind::Dir && node.inode != 0;
        if !is_one_of_many || self.links.insert((node.inode, node.device_id)) {
            self.totals.size_bytes += node.size;
        }
    }

    fn blobs_at(&mut self, path: &[u8], content: &[Id]) -> Result<()> {
        for id in content {
            if self.first_time(&[path]) {
                self.totals.files += 1;
            }
            if self.first_time(&[path, b"\0", id.as_bytes()]) {
                let mut places = self.index.lookup(BlobKind::Data, id);
                let place = places.next().ok_or(Error::MissingBlob { kind: BlobKind::Data, id: *id })?;
                self.totals.size_bytes += place.plain_bytes();
                self.totals.blobs += 1;
            }
        }
        Ok(())
    }

    fn first_time(&mut self, parts: &[&[u8]]) -> bool {
        let hash = Id::of(&parts.concat());
        let half = hash.as_bytes()[..16].try_into().expect("half of 32 bytes");
        self.seen.insert(u128::from_be_bytes(half))
    }
}

static EMPTY: std::sync::LazyLock<Index> = std::sync::LazyLock::new(Index::default);

impl Visitor for Counter {
    fn entry(&mut self, path: &[u8], node: &Node) -> Result<Next> {
        let content = node.content.as_deref().unwrap_or_default();
        match self.by {
            CountBy::RestoreSize => self.restored(node),
            CountBy::RawData => {
                for id in content {
                    self.blobs.insert(&self.index, BlobKind::Data, *id);
                }
            }
            CountBy::FilesByContents | CountBy::BlobsPerFile => {
                let ids = content.iter().map(|id| &id.as_bytes()[..]);
                let parts: Vec<&[u8]> = std::iter::once(&b"content"[..]).chain(ids).collect();
                if self.first_time(&parts) {
                    match self.by {
                        CountBy::BlobsPerFile => self.blobs_at(path, content)?,
                        _ => {
                            self.totals.files += 1;
                            self.totals.size_bytes += node.size;
                        }
                    }
                }
            }
        }
        Ok(Next::Enter)
    }

    fn wants_tree(&mut self, tree: &Id) -> bool {
        self.by != CountBy::RawData || self.blobs.insert(&self.index, BlobKind::Tree, *tree)
    }
}
