//! Packs: blobs one after the other, and behind them the sealed header that lists them.
//!
//! `blobs ‖ envelope(header) ‖ u32 LE length of the envelope`. The header holds no offsets: they are the running
//! sum of the lengths, so there are no gaps and no reordering, and a header whose lengths do not add up to where it
//! begins is damaged. An entry has 37 bytes, 41 with an uncompressed length.

use std::num::NonZeroU32;
use std::ops::Range;

use super::Invalid;
use super::blob::BlobKind;
use super::crypto::{IV_BYTES, MasterKey, OVERHEAD_BYTES};
use super::id::Id;
use crate::limits;

/// The length of the sealed header, at the very end.
pub const TRAILER_BYTES: usize = 4;

const PLAIN_ENTRY_BYTES: usize = 1 + 4 + 32;
const COMPRESSED_ENTRY_BYTES: usize = 1 + 4 + 4 + 32;

/// No header, and so no pack of an index, has more entries.
pub const MAX_ENTRIES: usize = limits::MAX_PACK_HEADER_BYTES / PLAIN_ENTRY_BYTES;

/// One blob in one pack, as header and index tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    pub kind: BlobKind,
    pub id: Id,
    /// Where the sealed blob begins in the pack.
    pub offset: u32,
    /// Of the sealed blob.
    pub length: u32,
    /// `None` where the blob is stored uncompressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl PackEntry {
    /// What this entry adds to the header.
    pub fn header_size_bytes(&self) -> usize {
        match self.uncompressed_length {
            None => PLAIN_ENTRY_BYTES,
            Some(_) => COMPRESSED_ENTRY_BYTES,
        }
    }

    /// The bytes of the sealed blob within the pack.
    pub fn range(&self) -> Range<u64> {
        let offset = u64::from(self.offset);
        offset..offset + u64::from(self.length)
    }

    /// The size of the blob's content.
    pub fn plain_size_bytes(&self) -> u64 {
        match self.uncompressed_length {
            Some(length) => length.get().into(),
            None => u64::from(self.length).saturating_sub(OVERHEAD_BYTES as u64),
        }
    }

    /// From numbers nobody has checked yet.
    pub(super) fn checked(
        kind: BlobKind,
        id: Id,
        offset: u64,
        length: u32,
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<Self, Invalid> {
        if (length as usize) < OVERHEAD_BYTES {
            return Err(Invalid::malformed("a blob is shorter than its encryption"));
        }
        match u32::try_from(offset) {
            Ok(offset) if offset.checked_add(length).is_some() => {
                Ok(Self { kind, id, offset, length, uncompressed_length })
            }
            _ => Err(Invalid::malformed("a blob lies beyond the first 4 GiB of its pack")),
        }
    }
}

/// What follows the blobs of a pack with these entries: header, its envelope and the trailer.
pub fn header_size_bytes(entries: &[PackEntry]) -> usize {
    entries.iter().map(PackEntry::header_size_bytes).sum::<usize>() + OVERHEAD_BYTES + TRAILER_BYTES
}

/// Whether one more entry of any form still fits into a header that readers accept.
pub fn has_room(entries: &[PackEntry]) -> bool {
    (entries.len() + 1) * COMPRESSED_ENTRY_BYTES + OVERHEAD_BYTES <= limits::MAX_PACK_HEADER_BYTES
}

/// Appends what follows the blobs.
///
/// # Panics
/// Where the entries are not in the order of their offsets without a gap from 0 on: such a pack is unreadable.
pub fn encode_header(entries: &[PackEntry], key: &MasterKey, out: &mut Vec<u8>) {
    let from = out.len();
    out.reserve(header_size_bytes(entries));
    out.resize(from + IV_BYTES, 0);
    let mut offset = 0;
    for entry in entries {
        assert_eq!(entry.offset, offset, "the blobs of a pack have no gaps");
        offset += entry.length;
        let form = match (entry.kind, entry.uncompressed_length) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        };
        out.push(form);
        out.extend_from_slice(&entry.length.to_le_bytes());
        if let Some(length) = entry.uncompressed_length {
            out.extend_from_slice(&length.get().to_le_bytes());
        }
        out.extend_from_slice(entry.id.as_bytes());
    }
    key.seal_in_place(out, from);
    let length = u32::try_from(out.len() - from).expect("a header is below its limit");
    out.extend_from_slice(&length.to_le_bytes());
}

/// Where the sealed header lies in a pack of `pack_size_bytes` whose last four bytes are `trailer`.
pub fn header_range(pack_size_bytes: u64, trailer: [u8; TRAILER_BYTES]) -> Result<Range<u64>, Invalid> {
    let length = u64::from(u32::from_le_bytes(trailer));
    let max_bytes = limits::MAX_PACK_HEADER_BYTES as u64;
    if length > max_bytes {
        return Err(Invalid::TooLarge { what: "the header of a pack", size_bytes: length, max_bytes });
    }
    if length < (OVERHEAD_BYTES + PLAIN_ENTRY_BYTES) as u64 {
        return Err(Invalid::malformed("the header of the pack is too short to name a blob"));
    }
    let end = pack_size_bytes.checked_sub(TRAILER_BYTES as u64);
    let start = end.and_then(|end| end.checked_sub(length));
    match (start, end) {
        (Some(start), Some(end)) => Ok(start..end),
        _ => Err(Invalid::malformed("the header of the pack is longer than the pack")),
    }
}

/// The entries in the sealed header of a pack whose blobs take `blobs_size_bytes`, which is the start of
/// [`header_range`]. Decrypts `sealed` where it lies.
pub fn decode_header(
    sealed: &mut [u8],
    blobs_size_bytes: u64,
    key: &MasterKey,
) -> Result<Vec<PackEntry>, Invalid> {
    if sealed.len() > limits::MAX_PACK_HEADER_BYTES {
        return Err(Invalid::TooLarge {
            what: "the header of a pack",
            size_bytes: sealed.len() as u64,
            max_bytes: limits::MAX_PACK_HEADER_BYTES as u64,
        });
    }
    let mut rest = &*key.open_in_place(sealed)?;
    let mut entries = Vec::with_capacity(rest.len() / PLAIN_ENTRY_BYTES);
    let mut offset = 0;
    while !rest.is_empty() {
        let entry = decode_entry(&mut rest, offset)?;
        offset += u64::from(entry.length);
        entries.push(entry);
    }
    if offset != blobs_size_bytes {
        return Err(Invalid::malformed(format_args!(
            "the header of the pack tells of {offset} bytes of blobs where {blobs_size_bytes} are"
        )));
    }
    Ok(entries)
}

fn decode_entry(rest: &mut &[u8], offset: u64) -> Result<PackEntry, Invalid> {
    let cut = || Invalid::malformed("the header of the pack ends within an entry");
    let form = take::<1>(rest).ok_or_else(cut)?[0];
    let kind = match form {
        0 | 2 => BlobKind::Data,
        1 | 3 => BlobKind::Tree,
        other => return Err(Invalid::malformed(format_args!("a blob of the unknown type {other}"))),
    };
    let length = u32::from_le_bytes(take(rest).ok_or_else(cut)?);
    let uncompressed_length = if form >= 2 {
        let length = u32::from_le_bytes(take(rest).ok_or_else(cut)?);
        Some(NonZeroU32::new(length).ok_or_else(|| Invalid::malformed("a compressed blob of no content"))?)
    } else {
        None
    };
    let id = Id::from_bytes(take(rest).ok_or_else(cut)?);
    PackEntry::checked(kind, id, offset, length, uncompressed_length)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
pub(super) mod tests;
