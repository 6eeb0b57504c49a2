//! The seal stage: a blob that is not known yet is compressed, encrypted, verified and handed to a pack.
//!
//! **Invariant:** no blob goes into a pack before what was sealed has been opened again and hashed to its ID
//! (`a_blob_that_was_sealed_wrongly_is_never_stored`): memory errors have written broken blobs before.

use std::num::NonZeroU32;

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
        let uncompressed_length = self.seal(kind, &id, plain)?;
        let packed_bytes = run.packs.add(kind, id, &self.sealed, uncompressed_length)?;
        run.counters.blob_added(kind, plain.len() as u64, packed_bytes);
        if self.sealed.capacity() > SEALED_BYTES {
            // A directory with very many entries came by.
            self.sealed = Vec::with_capacity(SEALED_BYTES);
        }
        Ok(id)
    }

    /// Leaves the sealed blob in `sealed`, proved to open to what `id` names.
    fn seal(&mut self, kind: BlobKind, id: &Id, plain: &[u8]) -> Result<Option<NonZeroU32>> {
        let key = self.repository.key();
        self.sealed.clear();
        let uncompressed_length = self.sealer.seal(key, kind, plain, &mut self.sealed);
        let proof = self.opener.verify(key, kind, id, &self.sealed, uncompressed_length);
        proof.map_err(|why| {
            Error::Refused(format!(
                "sealing a {} blob went wrong ({why}): the memory or the processor of this machine is faulty",
                kind.noun()
            ))
        })?;
        Ok(uncompressed_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::config::Version;
    use crate::repository::fixture;

    #[test]
    fn a_blob_that_was_sealed_wrongly_is_never_stored() {
        let repository = fixture::open(fixture::create(Version::Two));
        let mut sealing = Sealing::new(&repository);
        for kind in [BlobKind::Data, BlobKind::Tree] {
            // A bit of the memory flips between the hash and the seal.
            let (hashed, mut sealed) = (vec![b'a'; 10_000], vec![b'a'; 10_000]);
            sealed[5_000] ^= 1;
            let id = Id::of(&hashed);
            assert!(matches!(sealing.seal(kind, &id, &sealed), Err(Error::Refused(_))));
            assert!(sealing.seal(kind, &id, &hashed).is_ok(), "the next one is not harmed by it");
        }
    }
}
