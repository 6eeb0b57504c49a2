//! Blobs: the two kinds, and how one is sealed into the bytes of a pack and opened again.
//!
//! Sealing compresses and encrypts; opening decrypts, decompresses and compares with the ID, which is the hash of
//! the plaintext. Each thread owns a [`Sealer`] or [`Opener`] and uses it for all its blobs, since making
//! a zstd context costs more than compressing a small file. Lengths come from indexes and headers that anyone with
//! the password may have written: none is believed beyond [`crate::limits`].

use std::num::NonZeroU32;

use aws_lc_rs::digest::{Context, SHA256};

use super::Invalid;
use super::config::Version;
use super::crypto::{self, IV_BYTES, MasterKey, OVERHEAD_BYTES};
use super::frame::{Compressor, Decompressor, Level};
use super::id::Id;
use crate::limits;

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    Data,
    Tree,
}

impl BlobKind {
    pub fn noun(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tree => "tree",
        }
    }

    /// Plaintext above this is distrusted.
    pub fn max_plain_bytes(self) -> usize {
        match self {
            Self::Data => limits::MAX_DATA_BLOB_BYTES,
            Self::Tree => limits::MAX_TREE_BLOB_BYTES,
        }
    }

    fn blob_noun(self) -> &'static str {
        match self {
            Self::Data => "a data blob",
            Self::Tree => "a tree blob",
        }
    }
}

/// What the user wants compressed. Trees and the files outside of packs are always, where the version has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    Auto,
    Off,
    Fastest,
    Max,
}

impl Compression {
    pub fn level(self) -> Level {
        match self {
            Self::Auto | Self::Off => Level::Auto,
            Self::Fastest => Level::Fastest,
            Self::Max => Level::Max,
        }
    }
}

/// Turns plaintext into the bytes of a blob in a pack. One per thread.
#[derive(Debug)]
pub struct Sealer {
    version: Version,
    compression: Compression,
    compressor: Compressor,
}

impl Sealer {
    pub fn new(version: Version, compression: Compression) -> Self {
        Self { version, compression, compressor: Compressor::new(compression.level()) }
    }

    /// Appends the sealed blob to `out` and returns its uncompressed length as index and header hold it: `None`
    /// where it is stored uncompressed.
    ///
    /// restic keeps the frame of data that does not compress; here it is stored plain, as with compression off.
    /// That is shorter and spares every later reader a copy. A tree is always a frame, or `restic prune` would
    /// pack it again; an empty blob never is, since an uncompressed length of 0 says "not compressed".
    ///
    /// # Panics
    /// Where `plain` is above [`BlobKind::max_plain_bytes`]: nothing so large is ever cut or encoded.
    pub fn seal(
        &mut self,
        key: &MasterKey,
        kind: BlobKind,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<NonZeroU32> {
        assert!(plain.len() <= kind.max_plain_bytes(), "a blob to seal is within the limits");
        let from = out.len();
        let text = from + IV_BYTES;
        let mut uncompressed_length = None;
        if self.compresses(kind) {
            // Once for the frame at its largest and the tag, so that nothing is moved later.
            out.reserve(OVERHEAD_BYTES + zstd::zstd_safe::compress_bound(plain.len()));
            out.resize(text, 0);
            self.compressor.append(plain, out);
            if kind == BlobKind::Tree || out.len() - text < plain.len() {
                uncompressed_length = NonZeroU32::new(plain.len() as u32);
            }
        }
        if uncompressed_length.is_none() {
            out.truncate(from);
            out.reserve(OVERHEAD_BYTES + plain.len());
            out.resize(text, 0);
            out.extend_from_slice(plain);
        }
        key.seal_in_place(out, from);
        uncompressed_length
    }

    fn compresses(&self, kind: BlobKind) -> bool {
        match self.version {
            Version::One => false,
            Version::Two => kind == BlobKind::Tree || self.compression != Compression::Off,
        }
    }
}

/// Turns the bytes of a blob in a pack back into plaintext. One per thread.
#[derive(Debug, Default)]
pub struct Opener {
    decompressor: Decompressor,
    scratch: crypto::Scratch,
}

impl Opener {
    /// Decrypts `sealed` where it lies and replaces the content of `out` by the plaintext.
    ///
    /// `uncompressed_length` is what the index or the header says. After an error `out` holds nothing to be used;
    /// after [`Invalid::Unauthentic`] `sealed` is as it was.
    pub fn open(
        &mut self,
        key: &MasterKey,
        kind: BlobKind,
        id: &Id,
        sealed: &mut [u8],
        uncompressed_length: Option<NonZeroU32>,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        check_lengths(kind, sealed.len(), uncompressed_length)?;
        let text = key.open_in_place(sealed)?;
        match uncompressed_length {
            Some(length) => self.decompressor.exactly(kind.blob_noun(), text, length.get() as usize, out)?,
            None => {
                out.clear();
                out.extend_from_slice(text);
            }
        }
        if Id::of(out) == *id { Ok(()) } else { Err(Invalid::WrongId) }
    }

    /// Proves that `sealed` opens to the content of `id`, without changing it: for every blob before it is stored,
    /// and wherever only the proof is wanted. However large the blob, it takes less than 2 MiB where the frame has
    /// the window [`Sealer`] and restic give it.
    ///
    /// A frame with a window above 8 MiB is [`Invalid::Malformed`] here and may still open with [`Opener::open`].
    pub fn verify(
        &mut self,
        key: &MasterKey,
        kind: BlobKind,
        id: &Id,
        sealed: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<(), Invalid> {
        check_lengths(kind, sealed.len(), uncompressed_length)?;
        let mut hash = Context::new(&SHA256);
        match uncompressed_length {
            Some(length) => {
                let max_bytes = u64::from(length.get());
                let mut left_bytes = max_bytes;
                let mut each = |plain: &[u8]| {
                    left_bytes = left_bytes.checked_sub(plain.len() as u64).ok_or(Invalid::TooLarge {
                        what: kind.blob_noun(),
                        size_bytes: max_bytes + 1,
                        max_bytes,
                    })?;
                    hash.update(plain);
                    Ok(())
                };
                let mut stream = self.decompressor.stream();
                key.open_pieces(sealed, &mut self.scratch, |piece| stream.push(piece, &mut each))?;
                stream.finish()?;
                if left_bytes > 0 {
                    return Err(Invalid::malformed("the compressed data is shorter than the index says"));
                }
            }
            None => key.open_pieces::<Invalid>(sealed, &mut self.scratch, |piece| {
                hash.update(piece);
                Ok(())
            })?,
        }
        if Id::from_digest(&hash.finish()) == *id { Ok(()) } else { Err(Invalid::WrongId) }
    }
}

fn check_lengths(
    kind: BlobKind,
    sealed_bytes: usize,
    uncompressed_length: Option<NonZeroU32>,
) -> Result<(), Invalid> {
    let size_bytes = match uncompressed_length {
        Some(length) => u64::from(length.get()),
        None => sealed_bytes.saturating_sub(OVERHEAD_BYTES) as u64,
    };
    let max_bytes = kind.max_plain_bytes() as u64;
    if size_bytes > max_bytes {
        return Err(Invalid::TooLarge { what: kind.blob_noun(), size_bytes, max_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
