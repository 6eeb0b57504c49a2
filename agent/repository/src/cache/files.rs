//! What the cache keeps of one repository: snapshots and index files whole, and pieces of packs with trees.
//!
//! Relies on the caller for what exists: it asks only for what a list of the store has just named, and tells what the
//! list names, so that the rest goes. Must never be asked by whoever wants to know what the store itself holds.

use bytes::Bytes;
use pillion_backend::FileKind;

use super::disk::Part;
use super::{Cache, Key, What};
use crate::error::Result;
use crate::format::file::max_bytes;
use crate::format::id::Id;
use crate::store::Store;

/// Cheap to clone. Of no repository, it holds nothing and keeps nothing.
#[derive(Clone, Debug)]
pub(crate) struct Files(pub(super) Option<Kept>);

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) cache: Cache,
    pub(super) repository: u32,
}

impl Files {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(cache: Cache, repository: u32) -> Self {
        Self(Some(Kept { cache, repository }))
    }

    /// A snapshot or index file that is listed in the store: from here if it is here and whole, else from there.
    pub(crate) fn load(&self, store: &Store, kind: FileKind, id: &Id) -> Result<Bytes> {
        let Some((kept, what)) = self.0.as_ref().zip(what(kind)) else {
            return store.load_verified(kind, id);
        };
        let (shared, key) = (&kept.cache.0, Key { repository: kept.repository, what, id: *id });
        if let Some(bytes) = shared.read(&key, Part::Whole { max_bytes: max_bytes(kind) as u64 }) {
            if Id::of(&bytes) == *id {
                return Ok(bytes.into());
            }
            shared.discard(&key);
        }
        let bytes = store.load_verified(kind, id)?;
        shared.keep(key, &bytes);
        Ok(bytes)
    }

    /// Keeps what was just saved.
    pub(crate) fn keep(&self, kind: FileKind, id: &Id, sealed: &[u8]) {
        if let Some((kept, what)) = self.0.as_ref().zip(what(kind)) {
            kept.cache.0.keep(Key { repository: kept.repository, what, id: *id }, sealed);
        }
    }

    /// The store was listed: what it names no more goes. `ids` are sorted.
    ///
    /// **Invariant:** what was removed from the store is out of the cache with the next list
    /// (`what_leaves_the_store_leaves_the_cache`).
    pub(crate) fn listed(&self, kind: FileKind, ids: &[Id]) {
        if let Some((kept, what)) = self.0.as_ref().zip(what(kind)) {
            let is_gone = |key: &Key| ids.binary_search(&key.id).is_err();
            kept.cache.0.discard_all(kept.repository, what, is_gone);
        }
    }
}

/// Which kinds are kept. Never a key: a copy of one could be tried with any number of passwords.
fn what(kind: FileKind) -> Option<What> {
    match kind {
        FileKind::Snapshot => Some(What::Snapshot),
        FileKind::Index => Some(What::Index),
        FileKind::Config | FileKind::Key | FileKind::Lock | FileKind::Pack => None,
    }
}
