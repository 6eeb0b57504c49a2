//! A set of blobs, as one bit for each the index knows.
//!
//! A blob that is in no index is counted apart by its ID: there should be none.

use std::collections::HashSet;

use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::index::{Index, Location};

#[derive(Clone, Debug, Default)]
pub(crate) struct BlobSet {
    words: Vec<u64>,
    unknown: HashSet<(BlobKind, Id)>,
}

impl BlobSet {
    pub(crate) fn new(index: &Index) -> Self {
        Self { words: vec![0; index.len().div_ceil(64)], unknown: HashSet::new() }
    }

    /// Whether it was not there yet.
    pub(crate) fn insert(&mut self, index: &Index, kind: BlobKind, id: Id) -> bool {
        let Some(position) = index.position(kind, &id) else { return self.unknown.insert((kind, id)) };
        let (word, bit) = (&mut self.words[position / 64], 1 << (position % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes away what is in `other`, a set over the same index.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (word, taken) in self.words.iter_mut().zip(&other.words) {
            *word &= !taken;
        }
        self.unknown.retain(|blob| !other.unknown.contains(blob));
    }

    /// Where the known ones are, each once.
    pub(crate) fn locations<'a>(
        &'a self,
        index: &'a Index,
    ) -> impl Iterator<Item = (BlobKind, Location)> + 'a {
        let positions = self.words.iter().enumerate().flat_map(|(number, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| number * 64 + bit)
        });
        positions.map(|position| (index.kind(position), index.location(position)))
    }

    pub(crate) fn unknown(&self) -> impl Iterator<Item = &(BlobKind, Id)> {
        self.unknown.iter()
    }
}
