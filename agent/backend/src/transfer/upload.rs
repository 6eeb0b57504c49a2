//! A body on its way into a store: looked through once for what the store is told of it, then streamed.
//!
//! **Invariant:** what is stored is what was meant. The size, and the SHA-256 where the caller knows it, are compared
//! before anything is sent; the store compares what arrives with a digest of its own, and a file that gets shorter
//! meanwhile breaks the request off (`a_body_that_is_not_what_it_says_is_never_stored`).

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use md5::{Digest, Md5};

use super::pace::Pace;
use crate::error::chain;
use crate::remote::Failed;
use crate::{Body, ErrorKind, wrong_size};

/// Also what is in memory of one upload.
pub(super) const PIECE_BYTES: usize = 128 << 10;

/// Which digests a store is told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Digests {
    pub md5: bool,
    pub sha1: bool,
    /// Told to the store, which compares it: one that the caller knows is taken as it is.
    pub sha256: bool,
}

#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    pub md5: Option<[u8; 16]>,
    pub sha1: Option<[u8; 20]>,
    pub sha256: Option<[u8; 32]>,
}

impl Upload {
    /// Reads the body once. The error is why it cannot be used. Blocks.
    pub(crate) fn prepare(body: Body, digests: Digests) -> Result<Self, String> {
        let known = match &body {
            Body::File { sha256, .. } => *sha256,
            Body::Bytes(_) => None,
        };
        // Where the store does not compare it, we do.
        let hashes_sha256 = known.is_none() == digests.sha256;
        let mut md5 = digests.md5.then(Md5::new);
        let mut sha1 = digests.sha1.then(|| digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY));
        let mut sha256 = hashes_sha256.then(|| digest::Context::new(&SHA256));
        read(&body, &mut |piece| {
            if let Some(md5) = &mut md5 {
                md5.update(piece);
            }
            if let Some(sha1) = &mut sha1 {
                sha1.update(piece);
            }
            if let Some(sha256) = &mut sha256 {
                sha256.update(piece);
            }
        })?;
        let hashed = sha256.map(|context| array::<32>(&context.finish()));
        if let (Some(known), Some(hashed)) = (known, hashed)
            && known != hashed
        {
            return Err("it was changed after it was written".to_owned());
        }
        Ok(Self {
            body,
            md5: md5.map(|context| context.finalize().into()),
            sha1: sha1.map(|context| array(&context.finish())),
            sha256: known.or(hashed),
        })
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.body.size_bytes()
    }

    /// What it means that a store found other bytes than it was told of: that the body is unusable, or that it was
    /// altered on its way and may be sent again. Blocks.
    pub(crate) fn failed_digest(&self, why: Box<dyn StdError + Send + Sync>) -> Failed {
        match Self::prepare(self.body.clone(), Digests::default()) {
            Ok(_) => Failed::because(ErrorKind::Unavailable, why),
            Err(why) => Failed::because(ErrorKind::UnusableBody, why),
        }
    }

    /// The bytes, in pieces that suit the pace.
    pub(super) fn pieces(&self, pace: Option<&Pace>) -> BoxStream<'static, io::Result<Bytes>> {
        let piece_bytes = pace.map_or(PIECE_BYTES, Pace::piece_bytes);
        match &self.body {
            Body::Bytes(bytes) => {
                let bytes = bytes.clone();
                let starts = (0..bytes.len()).step_by(piece_bytes);
                stream::iter(
                    starts.map(move |start| Ok(bytes.slice(start..bytes.len().min(start + piece_bytes)))),
                )
                .boxed()
            }
            Body::File { path, size_bytes, .. } => file_pieces(Arc::clone(path), *size_bytes, piece_bytes),
        }
    }
}

fn array<const N: usize>(digest: &digest::Digest) -> [u8; N] {
    digest.as_ref().try_into().expect("the algorithm's length")
}

/// Passes on the whole body, or says why it is not what it says it is.
fn read(body: &Body, take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
    let (path, size_bytes) = match body {
        Body::Bytes(bytes) => {
            take(bytes);
            return Ok(());
        }
        Body::File { path, size_bytes, .. } => (path, *size_bytes),
    };
    let told = |e: io::Error| format!("read {}: {e}", path.display());
    let mut file = File::open(path).map_err(told)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut found_bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) if found_bytes == size_bytes => return Ok(()),
            Ok(0) => return Err(wrong_size(found_bytes, size_bytes)),
            Ok(count) => {
                found_bytes += count as u64;
                if found_bytes > size_bytes {
                    return Err(wrong_size(found_bytes, size_bytes));
                }
                take(&piece[..count]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(told(e)),
        }
    }
}

/// The file, read while it is sent, where it is sent: it was just written, and a thread for each reader would cost more
/// memory than the pieces. One that is shorter than it was ends the stream with an error.
fn file_pieces(
    path: Arc<Path>,
    size_bytes: u64,
    piece_bytes: usize,
) -> BoxStream<'static, io::Result<Bytes>> {
    let pieces = stream::try_unfold((None, 0), move |(file, sent_bytes)| {
        let piece = match sent_bytes == size_bytes {
            true => Ok(None),
            false => {
                let left_bytes = usize::try_from(size_bytes - sent_bytes).unwrap_or(usize::MAX);
                read_piece(file, &path, piece_bytes.min(left_bytes)).map(|(file, piece)| {
                    let sent_bytes = sent_bytes + piece.len() as u64;
                    Some((piece, (Some(file), sent_bytes)))
                })
            }
        };
        std::future::ready(piece)
    });
    pieces
        .map(|piece: io::Result<Bytes>| piece.map_err(|e| io::Error::other(Unusable(e.to_string()))))
        .boxed()
}

fn read_piece(file: Option<File>, path: &Path, piece_bytes: usize) -> io::Result<(File, Bytes)> {
    let mut file = file.map_or_else(|| File::open(path), Ok)?;
    let mut piece = vec![0; piece_bytes];
    file.read_exact(&mut piece)?;
    Ok((file, piece.into()))
}

/// The body could not be read to its end, as it is found again in the error of the request.
#[derive(Debug)]
struct Unusable(String);

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// Why a request broke off, if it was for its body.
pub(super) fn unusable(error: &(dyn StdError + 'static)) -> Option<String> {
    chain(error).find_map(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref)?;
        inner.downcast_ref().map(|Unusable(why)| why.clone())
    })
}
