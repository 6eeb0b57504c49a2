//! Blobs as a thread reads them: looked up in the index, loaded, opened, and checked against their ID.
//!
//! A reader has buffers of its own and works for one thread. One that reads beside other jobs keeps to a [`Modesty`],
//! so that what it takes does not add up with what they take.

use std::sync::{Arc, Mutex, PoisonError};

use pillion_backend::FileKind;

use super::Repository;
use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::blob::{BlobKind, Opener};
use crate::format::id::Id;
use crate::format::tree::{self, Node};
use crate::index::{Index, Location};
use crate::limits;
use crate::store::file_name;

/// What a reader beside other jobs keeps to.
#[derive(Clone, Debug)]
pub struct Modesty {
    /// A larger tree is refused; and one of more than half of that where all its entries are to be in memory.
    pub max_tree_bytes: u64,
    /// All who share it load one blob at a time, and so have one sealed blob in memory between them.
    pub turn: Arc<Mutex<()>>,
}

/// Reads blobs for one thread, with buffers of its own.
#[derive(Debug)]
pub struct BlobReader {
    repository: Repository,
    index: Arc<Index>,
    /// Of what came into the store since `index` was loaded.
    newer: Option<Arc<Index>>,
    modesty: Option<Modesty>,
    opener: Opener,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    /// The blob that `plain` holds.
    opened: Option<(BlobKind, Id)>,
}

impl BlobReader {
    pub fn new(repository: &Repository, index: &Arc<Index>) -> Self {
        Self::of(repository, index, None, None)
    }

    pub(super) fn modest(
        repository: &Repository,
        index: &Arc<Index>,
        newer: Option<Arc<Index>>,
        modesty: Modesty,
    ) -> Self {
        Self::of(repository, index, newer, Some(modesty))
    }

    fn of(
        repository: &Repository,
        index: &Arc<Index>,
        newer: Option<Arc<Index>>,
        modesty: Option<Modesty>,
    ) -> Self {
        Self {
            repository: repository.clone(),
            index: Arc::clone(index),
            newer,
            modesty,
            opener: Opener::default(),
            sealed: Vec::new(),
            plain: Vec::new(),
            opened: None,
        }
    }

    /// Another one over the same index.
    #[must_use]
    pub fn clone_for_thread(&self) -> Self {
        Self::of(&self.repository, &self.index, self.newer.clone(), self.modesty.clone())
    }

    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// How much a blob holds, as the index says.
    pub fn plain_bytes(&self, kind: BlobKind, id: &Id) -> Result<u64> {
        let mut indexes = [Some(&self.index), self.newer.as_ref()].into_iter().flatten();
        let location = indexes.find_map(|index| index.lookup(kind, id).next());
        location.map(|location| location.plain_bytes()).ok_or(Error::MissingBlob { kind, id: *id })
    }

    /// The content of a blob, from the first place that has it whole. That of the blob before is not loaded again: a
    /// file with holes is one blob many times over.
    pub fn load(&mut self, kind: BlobKind, id: &Id) -> Result<&[u8]> {
        if self.opened == Some((kind, *id)) {
            return Ok(&self.plain);
        }
        self.opened = None;
        let indexes = [Some(Arc::clone(&self.index)), self.newer.clone()];
        let mut failure = None;
        // What is damaged is read a second time before it is called so: it may have been on its way only.
        for _ in 0..2 {
            for index in indexes.iter().flatten() {
                for location in index.lookup(kind, id) {
                    match self.load_in_turn(kind, id, index, &location) {
                        Ok(()) => {
                            self.opened = Some((kind, *id));
                            return Ok(&self.plain);
                        }
                        Err(e @ (Error::Cancelled | Error::LockLost(_))) => return Err(e),
                        Err(e) => failure = Some(e),
                    }
                }
            }
            if !matches!(failure, Some(Error::DamagedBlob { .. })) {
                break;
            }
        }
        Err(failure.unwrap_or(Error::MissingBlob { kind, id: *id }))
    }

    pub fn load_tree(&mut self, id: &Id) -> Result<Vec<Node>> {
        if let Some(max_bytes) = self.modesty.as_ref().map(|modesty| modesty.max_tree_bytes / 2) {
            let size_bytes = self.plain_bytes(BlobKind::Tree, id)?;
            if size_bytes > max_bytes {
                return Err(Error::LargeTree { size_bytes, max_bytes });
            }
        }
        let decoded = tree::decode(self.load(BlobKind::Tree, id)?);
        let decoded = decoded.map_err(|why| Error::DamagedBlob { kind: BlobKind::Tree, id: *id, why });
        self.forget_if_modest();
        decoded
    }

    /// Tells each entry of a tree, in its order, with no more than one in memory.
    pub fn each_node(&mut self, id: &Id, each: &mut dyn FnMut(Node) -> Result<()>) -> Result<()> {
        for node in tree::nodes(self.load(BlobKind::Tree, id)?) {
            each(node.map_err(|why| Error::DamagedBlob { kind: BlobKind::Tree, id: *id, why })?)?;
        }
        self.forget_if_modest();
        Ok(())
    }

    /// A large tree is not kept beside what is made of it.
    fn forget_if_modest(&mut self) {
        if self.modesty.is_some() && self.plain.capacity() > limits::KEPT_BUFFER_BYTES {
            self.opened = None;
            self.plain = Vec::new();
        }
    }

    fn load_in_turn(&mut self, kind: BlobKind, id: &Id, index: &Index, location: &Location) -> Result<()> {
        let Some(modesty) = self.modesty.clone() else { return self.load_from(kind, id, index, location) };
        let (size_bytes, max_bytes) = (location.plain_bytes(), modesty.max_tree_bytes);
        if kind == BlobKind::Tree && size_bytes > max_bytes {
            return Err(Error::LargeTree { size_bytes, max_bytes });
        }
        self.forget_if_modest();
        // Nothing is left half done by who panics with it.
        let _turn = modesty.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.load_from(kind, id, index, location);
        if self.sealed.capacity() > limits::KEPT_BUFFER_BYTES {
            self.sealed = Vec::new();
        }
        loaded
    }

    fn load_from(&mut self, kind: BlobKind, id: &Id, index: &Index, location: &Location) -> Result<()> {
        let max_bytes = match kind {
            BlobKind::Data => limits::MAX_DATA_BLOB_BYTES,
            BlobKind::Tree => limits::MAX_TREE_BLOB_BYTES,
        } as u64;
        if location.plain_bytes() > max_bytes || u64::from(location.length) > max_bytes {
            let why = Invalid::TooLarge { what: kind.noun(), size_bytes: location.plain_bytes(), max_bytes };
            return Err(Error::DamagedBlob { kind, id: *id, why });
        }
        let Self { repository, opener, sealed, plain, .. } = self;
        let mut open = |sealed: &mut [u8]| {
            opener
                .open(repository.key(), kind, id, sealed, location.uncompressed_length, plain)
                .map_err(|why| Error::DamagedBlob { kind, id: *id, why })
        };
        let store = &repository.store;
        if kind == BlobKind::Tree {
            return repository.kept.load_tree(store, index, location, &mut |bytes| {
                sealed.clear();
                sealed.extend_from_slice(bytes);
                open(sealed)
            });
        }
        let start = u64::from(location.offset);
        let range = start..start + u64::from(location.length);
        // The bytes as they came in are nobody else's, so nothing is copied.
        *sealed = store.load_range(&file_name(FileKind::Pack, &location.pack), range)?.into();
        open(sealed)
    }
}
