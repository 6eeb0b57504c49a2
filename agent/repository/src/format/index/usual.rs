//! The fast way to read an index file: just as restic writes it (see `format::usual`).

use std::num::NonZeroU32;

use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::pack::{self, PackEntry};
use crate::format::usual::Rest;

/// All packs of a file, each with the end of its blobs among all blobs. `None` where anything is unusual: then
/// nothing was handed on yet, and `decode` reads the file again from the start.
#[derive(Default)]
pub(super) struct Packs {
    pub(super) packs: Vec<(Id, usize)>,
    pub(super) blobs: Vec<PackEntry>,
}

pub(super) fn read(json: &[u8]) -> Option<Packs> {
    let mut rest = Rest(json);
    let mut read = Packs::default();
    rest.after(b"{\"packs\":[")?;
    loop {
        let id = rest.after(b"{\"id\":\"")?.id()?;
        rest.after(b",\"blobs\":[")?;
        let first = read.blobs.len();
        loop {
            read.blobs.push(blob(&mut rest)?);
            if !rest.take(b",") {
                break;
            }
        }
        rest.after(b"]}")?;
        if read.blobs.len() - first > pack::MAX_ENTRIES {
            return None;
        }
        read.packs.push((id, read.blobs.len()));
        if !rest.take(b",") {
            break;
        }
    }
    rest.after(b"]}")?;
    rest.0.trim_ascii().is_empty().then_some(read)
}

#[inline(always)]
fn blob(rest: &mut Rest<'_>) -> Option<PackEntry> {
    let id = rest.after(b"{\"id\":\"")?.id()?;
    let kind = if rest.take(b",\"type\":\"data\"") {
        BlobKind::Data
    } else {
        rest.after(b",\"type\":\"tree\"")?;
        BlobKind::Tree
    };
    let offset = rest.required_number(b",\"offset\":")?;
    let length = u32::try_from(rest.required_number(b",\"length\":")?).ok()?;
    let uncompressed = u32::try_from(rest.number(b",\"uncompressed_length\":")?).ok()?;
    rest.after(b"}")?;
    PackEntry::checked(kind, id, offset, length, NonZeroU32::new(uncompressed)).ok()
}
