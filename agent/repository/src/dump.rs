//! The content of a file, or a directory as a tar or zip archive, as one stream.
//!
//! Nothing is written to the file system but what the end of a zip archive needs. An archive holds directories, files
//! and symbolic links, as restic's does, each hard link as a file of its own; what else there was is counted.

mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::io::Write;
use std::ops::Range;

use crate::cache::Spool;
use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::repository::BlobReader;
use crate::walk::{self, Next};

/// Writes what a file holds.
pub fn write_file(reader: &mut BlobReader, node: &Node, out: &mut dyn Write) -> Result<()> {
    let content = node.content.as_deref().unwrap_or_default();
    let mut written_bytes = 0u64;
    for id in content {
        let plain = reader.load(BlobKind::Data, id)?;
        written_bytes += plain.len() as u64;
        // An archive's next header begins where this file was said to end.
        if written_bytes > node.size {
            break;
        }
        out.write_all(plain).map_err(failed)?;
    }
    refuse_other_size(node, written_bytes)
}

/// Refuses a file that holds another number of bytes than it says, as far as the index knows: before a part of it is
/// written that somebody else finds the place of.
pub fn check_size(reader: &BlobReader, node: &Node) -> Result<()> {
    let content = node.content.as_deref().unwrap_or_default();
    let sizes = content.iter().map(|id| reader.plain_bytes(BlobKind::Data, id));
    refuse_other_size(node, sizes.sum::<Result<u64>>()?)
}

fn refuse_other_size(node: &Node, size_bytes: u64) -> Result<()> {
    match size_bytes == node.size {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "the file {:?} has {size_bytes} bytes or more in the repository instead of {}",
            String::from_utf8_lossy(&node.name),
            node.size
        ))),
    }
}

/// Writes a part of what a file holds. Blobs before and behind it are not loaded.
pub fn write_part(reader: &mut BlobReader, node: &Node, part: Range<u64>, out: &mut dyn Write) -> Result<()> {
    let mut begin = 0u64;
    for id in node.content.as_deref().unwrap_or_default() {
        if begin >= part.end {
            break;
        }
        let end = begin + reader.plain_bytes(BlobKind::Data, id)?;
        if end > part.start {
            let plain = reader.load(BlobKind::Data, id)?;
            let within = |at: u64| usize::try_from(at.clamp(begin, end) - begin).expect("it is in memory");
            let wanted = plain.get(within(part.start)..within(part.end));
            out.write_all(wanted.ok_or(Error::DamagedBlob {
                kind: BlobKind::Data,
                id: *id,
                why: Invalid::malformed("it has another length than the index says"),
            })?)
            .map_err(failed)?;
        }
        begin = end;
    }
    Ok(())
}

/// What an archive left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Devices, FIFOs and sockets.
    pub special_files: u64,
}

/// Writes everything below `root` as a tar archive (POSIX.1-2001). The names in it are paths below `prefix`, which
/// is absolute and clean, without the slash at the beginning.
pub fn write_tar(reader: &mut BlobReader, root: &Id, prefix: &[u8], out: &mut dyn Write) -> Result<LeftOut> {
    let left_out = each_entry(reader, root, prefix, &mut |contents, path, node| {
        out.write_all(&tar::header(path, node)).map_err(failed)?;
        if node.kind == NodeKind::File {
            write_file(contents, node, out)?;
            out.write_all(tar::padding(node.size)).map_err(failed)?;
        }
        Ok(())
    })?;
    out.write_all(&tar::END).map_err(failed)?;
    Ok(left_out)
}

/// Writes everything below `root` as a zip archive, with names as those of [`write_tar`].
pub fn write_zip(
    reader: &mut BlobReader,
    root: &Id,
    prefix: &[u8],
    spool: &Spool,
    out: &mut dyn Write,
) -> Result<LeftOut> {
    let mut archive = zip::Archive::new(out, spool.create_growing_file()?);
    let left_out = each_entry(reader, root, prefix, &mut |contents, path, node| {
        if path.len() > zip::MAX_PATH_BYTES {
            let shown = String::from_utf8_lossy(&path[..64]);
            return Err(Error::Refused(format!("a path is too long for a zip archive: {shown}...")));
        }
        match node.kind {
            NodeKind::File if node.size > 0 => {
                archive.add_file(path, node, |out| write_file(contents, node, out))
            }
            _ => archive.add(path, node).map_err(failed),
        }
    })?;
    archive.finish().map_err(failed)?;
    Ok(left_out)
}

type WriteEntry<'a> = dyn FnMut(&mut BlobReader, &[u8], &Node) -> Result<()> + 'a;

/// Tells `write` each entry an archive can hold, with a reader for its content and its relative path.
fn each_entry(
    reader: &mut BlobReader,
    root: &Id,
    prefix: &[u8],
    write: &mut WriteEntry<'_>,
) -> Result<LeftOut> {
    let mut left_out = LeftOut::default();
    // A walk borrows its reader for itself.
    let mut contents = reader.clone_for_thread();
    walk::walk_below(reader, root, prefix, &mut |path: &[u8], node: &Node| {
        if !matches!(node.kind, NodeKind::File | NodeKind::Dir | NodeKind::Symlink) {
            left_out.special_files += 1;
            return Ok(Next::Pass);
        }
        write(&mut contents, &path[1..], node)?;
        Ok(Next::Enter)
    })?;
    Ok(left_out)
}

fn failed(source: std::io::Error) -> Error {
    Error::local("write", "the output", source)
}
