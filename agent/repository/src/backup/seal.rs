//! The seal stage: a blob that is not known yet is compressed, encrypted, verified and handed to a pack.
//!
//! **Invariant:** no blob goes into a pack before what was sealed has been opened again and hashed to its ID
//! (`a_blob_that_was_sealed_wrongly_is_never_stored`): memory errors have written broken blobs before.

use super::Run;
use crate::error::{Error, Result};
use crate::format::blob::{BlobKind, Opener, Sealer};
use crate::format::chunker::MAX_CHUNK_BYTES;
use crate::format::id::Id;
use crate::repository::Repository;

/// Room for the longest chunk, even if it grows when it is compressed; see `chunk::BUFFER_BYTES`.
const SEALED_BYTES: usize = MAX_CHUNK_BYTES + MAX_CHUNK_BYTES / 64;

/// One worker's tools for sealing, with buffers that it uses again and again.
pub(super) struct Sealing<'a> {
    repository: &'a Repository,
    sealer: Sealer,
    opener: Opener,
    sealed: Vec<u8>,
}

impl<'a> Sealing<'a> {
    pub(super) fn new(repository: &'a Repository) -> Self {
        Self {
            repository,
            sealer: Sealer::new(repository.config.version, repository.settings.compression),
            opener: Opener::default(),
            sealed: Vec::with_capacity(SEALED_BYTES),
        }
    }

    /// Makes sure that the blob is, or will be, in the repository, and returns its ID.
    pub(super) fn store(&mut self, run: &Run<'_>, kind: BlobKind, plain: &[u8]) -> Result<Id> {
        let id = Id::of(plain);
        if !run.known.claim(kind, &id) {
            return Ok(id);
        }
        self.sealed.clear();
        let uncompressed_length = self.sealer.seal(self.repository.key(), kind, plain, &mut self.sealed);
        self.opener
            .verify(self.repository.key(), kind, &id, &self.sealed, uncompressed_length)
            .map_err(|why| Error::Refused(format!(
                "sealing a {} blob went wrong ({why}): the memory or the processor of this machine is faulty",
                kind.noun()
            )))?;
        let packed_bytes = run.packs.add(kind, id, &self.sealed, uncompressed_length)?;
        run.counters.blob_added(kind, plain.len() as u64, packed_bytes);
        if self.sealed.capacity() > SEALED_BYTES {
            // A directory with very many entries came by.
            self.sealed = Vec::with_capacity(SEALED_BYTES);
        }
        Ok(id)
    }
}
