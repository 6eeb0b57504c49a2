//! The content of a file, or a directory as a tar or zip archive, as one stream.
//!
//! Nothing is written to the file system but what the end of a zip archive needs. An archive holds directories, files
//! and symbolic links, as restic's does, each hard link as a file of its own; what else there was is counted.

mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::io::Write;

use crate::cache::Spool;
use crate::error::{Error, Result};
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::repository::BlobReader;
use crate::walk::{self, Next};

/// Writes what a file holds.
pub fn write_file(reader: &mut BlobReader, node: &Node, out: &mut dyn Write) -> Result<()> {
    let content = node.content.as_deref().unwrap_or_default();
    let mut written_bytes = 0u64;
    let mut last = Plain::default();
    for id in content {
        let plain = last.load(reader, id)?;
        written_bytes += plain.len() as u64;
        // An archive's next header begins where this file was said to end.
        if written_bytes > node.size {
            break;
        }
        out.write_all(plain).map_err(failed)?;
    }
    match written_bytes == node.size {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "the file {:?} has {written_bytes} bytes or more in the repository instead of {}",
            String::from_utf8_lossy(&node.name),
            node.size
        ))),
    }
}

/// The blob read last: a file with holes is one blob many times over.
#[derive(Default)]
struct Plain {
    id: Option<Id>,
    bytes: Vec<u8>,
}

impl Plain {
    fn load(&mut self, reader: &mut BlobReader, id: &Id) -> Result<&[u8]> {
        if self.id != Some(*id) {
            self.id = None;
            let plain = reader.load(BlobKind::Data, id)?;
            self.bytes.clear();
            self.bytes.extend_from_slice(plain);
            self.id = Some(*id);
        }
        Ok(&self.bytes)
    }
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
