//! Trees in the cache: packs that hold them, in pieces of one size.
//!
//! Whoever walks a snapshot wants most of the trees of a pack, one after the other: a piece costs one request for
//! hundreds of them. A piece proves nothing: each blob is authenticated and hashed after it was read, and one that is
//! not whole makes its pieces go and is loaded from the store.

use std::ops::Range;
use std::sync::PoisonError;

use pillion_backend::{ErrorKind, FileKind};

use super::disk::Part;
use super::files::{Files, Kept};
use super::{Key, What};
use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::index::{Index, Location};
use crate::limits::TREE_PIECE_BYTES;
use crate::store::{Store, file_name};

impl Files {
    /// Loads a tree's sealed bytes and hands them to `open`, which says whether they are whole: from here, else from
    /// the store, with what surrounds them in the pack.
    pub(crate) fn load_tree(
        &self,
        store: &Store,
        index: &Index,
        location: &Location,
        open: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let start = u64::from(location.offset);
        let range = start..start + u64::from(location.length);
        let Some(kept) = &self.0 else { return load_exactly(store, &location.pack, range, open) };
        let was_odd = match kept.try_open(&location.pack, &range, open) {
            Attempt::Opened => return Ok(()),
            Attempt::Odd => true,
            Attempt::Missing => false,
        };
        if !kept.cache.0.is_owner() {
            return load_exactly(store, &location.pack, range, open);
        }
        let piece = pieces(&range).start as usize + usize::from(location.pack.as_bytes()[0]);
        let loading = &kept.cache.0.loading[piece % kept.cache.0.loading.len()];
        // A panic while it was locked harms nothing: there is nothing in it.
        let _one_of_many = loading.lock().unwrap_or_else(PoisonError::into_inner);
        if !was_odd && matches!(kept.try_open(&location.pack, &range, open), Attempt::Opened) {
            return Ok(());
        }
        kept.load_pieces(store, (&location.pack, index.end_of_trees(location)), range, open)
    }

    /// Keeps a pack of trees that is about to be saved, piece by piece; `read` fills a buffer with what comes next.
    /// Whether the pack arrives does not matter: nobody asks for what no index names.
    pub(crate) fn keep_trees(
        &self,
        pack: &Id,
        read: &mut dyn FnMut(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<()> {
        let Some(kept) = self.0.as_ref().filter(|kept| kept.cache.0.is_owner()) else { return Ok(()) };
        let mut buffer = vec![0; usize::try_from(TREE_PIECE_BYTES).expect("a piece fits into memory")];
        for piece in 0.. {
            let length = read(&mut buffer)?;
            if length > 0 {
                kept.cache.0.keep(kept.piece(pack, piece), &buffer[..length]);
            }
            if length < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    /// The index was loaded: pieces of packs that it does not name go.
    pub(crate) fn indexed(&self, index: &Index) {
        if let Some(kept) = &self.0 {
            let is_gone = |key: &Key| index.packs().binary_search(&key.id).is_err();
            kept.cache.0.discard_all(kept.repository, What::Trees(0), is_gone);
        }
    }
}

enum Attempt {
    Opened,
    /// What is kept is not what it should be; it is gone now.
    Odd,
    Missing,
}

impl Kept {
    fn piece(&self, pack: &Id, piece: u32) -> Key {
        Key { repository: self.repository, what: What::Trees(piece), id: *pack }
    }

    fn try_open(&self, pack: &Id, range: &Range<u64>, open: &mut dyn FnMut(&[u8]) -> Result<()>) -> Attempt {
        let mut sealed = Vec::new();
        for piece in pieces(range) {
            let begin = u64::from(piece) * TREE_PIECE_BYTES;
            let part = range.start.max(begin) - begin..range.end.min(begin + TREE_PIECE_BYTES) - begin;
            match self.cache.0.read(&self.piece(pack, piece), Part::Range(part)) {
                Some(bytes) if sealed.is_empty() => sealed = bytes,
                Some(bytes) => sealed.extend_from_slice(&bytes),
                None => return Attempt::Missing,
            }
        }
        match open(&sealed) {
            Ok(()) => Attempt::Opened,
            Err(_) => {
                pieces(range).for_each(|piece| self.cache.0.discard(&self.piece(pack, piece)));
                Attempt::Odd
            }
        }
    }

    /// Loads the whole pieces in which `range` lies, up to where the pack's trees end.
    fn load_pieces(
        &self,
        store: &Store,
        (pack, trees_end): (&Id, u64),
        range: Range<u64>,
        open: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let numbers = pieces(&range);
        let begin = u64::from(numbers.start) * TREE_PIECE_BYTES;
        let end = (u64::from(numbers.end) * TREE_PIECE_BYTES).min(trees_end);
        let loaded = match store.load_range(&file_name(FileKind::Pack, pack), begin..end) {
            // The index names more than there is. What is asked for may be there.
            Err(Error::Backend(e)) if e.kind == ErrorKind::OutOfRange => {
                return load_exactly(store, pack, range, open);
            }
            loaded => loaded?,
        };
        let piece_bytes = usize::try_from(TREE_PIECE_BYTES).expect("a piece fits into memory");
        for (piece, bytes) in numbers.zip(loaded.chunks(piece_bytes)) {
            self.cache.0.keep(self.piece(pack, piece), bytes);
        }
        let within = |at: u64| usize::try_from(at - begin).expect("it is in memory");
        open(&loaded[within(range.start)..within(range.end)])
    }
}

fn load_exactly(
    store: &Store,
    pack: &Id,
    range: Range<u64>,
    open: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    open(&store.load_range(&file_name(FileKind::Pack, pack), range)?)
}

/// The numbers of the pieces in which a range of a pack lies. Packs are below 4 GiB and no range is empty.
fn pieces(range: &Range<u64>) -> Range<u32> {
    let number = |at: u64| u32::try_from(at / TREE_PIECE_BYTES).expect("packs are below 4 GiB");
    number(range.start)..number(range.end - 1) + 1
}
