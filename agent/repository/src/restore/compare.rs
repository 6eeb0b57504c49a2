//! What a file in the target has already of what is stored: nothing is loaded that is there.
//!
//! A file that is the same keeps its content. Of one that differs in part, the blobs that are right are copied
//! into the new file, from the same bytes that were found to be right: the old one may change meanwhile.

use std::sync::Arc;

use super::plan::File;
use super::write::{self, Content};
use super::{Overwrite, Run};
use crate::error::Result;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::source::Metadata;
use crate::target::TargetFile;

/// A blob of a file: its position in the index and its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) blob: u32,
    pub(super) plain_bytes: u32,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Same,
    /// Some blobs may be right: the file to copy them from.
    Partly(TargetFile),
    Different,
}

/// Whether a regular file may be written over, or anything else that has its name.
pub(super) fn may_overwrite(run: &Run<'_>, node: &Node, found: Option<&Metadata>) -> bool {
    let Some(found) = found else { return true };
    match run.options.overwrite {
        Overwrite::Always | Overwrite::IfChanged => true,
        Overwrite::IfNewer => node.mtime > found.mtime,
        Overwrite::Never => false,
    }
}

/// Compares an open regular file with its node.
pub(super) fn compare(
    run: &Run<'_>,
    opened: TargetFile,
    found: &Metadata,
    node: &Node,
    parts: &[Part],
    buffer: &mut Vec<u8>,
) -> Verdict {
    let same_size = found.size_bytes == node.size;
    if run.options.overwrite == Overwrite::IfChanged && same_size && found.mtime == node.mtime {
        return Verdict::Same;
    }
    if !same_size {
        return if parts.len() > 1 { Verdict::Partly(opened) } else { Verdict::Different };
    }
    let mut offset = 0;
    for part in parts {
        if run.token.is_cancelled() || !is_right(run, &opened, part, offset, buffer) {
            return if parts.len() > 1 { Verdict::Partly(opened) } else { Verdict::Different };
        }
        offset += u64::from(part.plain_bytes);
    }
    Verdict::Same
}

/// Whether the file has the blob at that offset; then `buffer` holds it. One that cannot be read has it not.
fn is_right(run: &Run<'_>, opened: &TargetFile, part: &Part, offset: u64, buffer: &mut Vec<u8>) -> bool {
    buffer.resize(part.plain_bytes as usize, 0);
    read_full(opened, buffer, offset).is_ok_and(|full| full)
        && Id::of(buffer) == *run.index.id(part.blob as usize)
}

/// Copies a blob from the old file into the new one, if the old one has it.
pub(super) fn take_over(
    run: &Run<'_>,
    old: &TargetFile,
    new: &Arc<File>,
    part: &Part,
    offset: u64,
    buffer: &mut Vec<u8>,
) -> Result<bool> {
    if !is_right(run, old, part, offset, buffer) {
        return Ok(false);
    }
    write::part(run, new, &Content::new(buffer), offset)?;
    Ok(true)
}

/// Fills the buffer; `false` where the file ends before.
pub(super) fn read_full(file: &TargetFile, buffer: &mut [u8], offset: u64) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => return Ok(false),
            read => filled += read,
        }
    }
    Ok(true)
}
