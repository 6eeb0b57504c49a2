//! A walk over the entries of a snapshot, in the order they are stored: a directory before what is in it.
//!
//! Streamed: what is held are the entries that are left of each directory on the way down. Relies on the trees being
//! read through [`BlobReader`], so a cancelled job ends the walk at the next tree.

use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::format::tree::{Node, NodeKind};
use crate::limits;
use crate::repository::BlobReader;

/// How the walk goes on after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Into the entry, if it is a directory.
    Enter,
    /// Past it.
    Pass,
    /// Nowhere: the walk is over.
    Stop,
}

/// What is told of the entries.
pub trait Visitor {
    /// `path` begins with a slash; the root itself is not told.
    fn entry(&mut self, path: &[u8], node: &Node) -> Result<Next>;

    /// Whether the walk goes into this tree; asked for the root too. To look at each tree once, remember them here.
    fn wants_tree(&mut self, _tree: &Id) -> bool {
        true
    }

    /// A tree that cannot be read. Unless this returns an error, the walk goes on beside it.
    fn unreadable(&mut self, _path: &[u8], _tree: &Id, error: Error) -> Result<()> {
        Err(error)
    }
}

impl<F: FnMut(&[u8], &Node) -> Result<Next>> Visitor for F {
    fn entry(&mut self, path: &[u8], node: &Node) -> Result<Next> {
        self(path, node)
    }
}

struct Level {
    nodes: std::vec::IntoIter<Node>,
    /// The length of the directory's path with its slash.
    path_length: usize,
}

/// Walks over everything below `root`, which is called `/`.
pub fn walk(reader: &mut BlobReader, root: &Id, visitor: &mut dyn Visitor) -> Result<()> {
    walk_below(reader, root, b"/", visitor)
}

/// Walks over everything below `root`, which is called `prefix`: an absolute, clean path.
pub fn walk_below(
    reader: &mut BlobReader,
    root: &Id,
    prefix: &[u8],
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let mut path = prefix.to_vec();
    let mut levels: Vec<Level> = Vec::new();
    levels.extend(enter(reader, root, &mut path, visitor)?);
    while let Some(level) = levels.last_mut() {
        path.truncate(level.path_length);
        let Some(node) = level.nodes.next() else {
            levels.pop();
            continue;
        };
        path.extend_from_slice(&node.name);
        match visitor.entry(&path, &node)? {
            Next::Stop => return Ok(()),
            Next::Pass => continue,
            Next::Enter => {}
        }
        if node.kind != NodeKind::Dir {
            continue;
        }
        let subtree = node.subtree.ok_or_else(|| refused(&path, "is a directory without a tree"))?;
        if levels.len() >= limits::MAX_DEPTH {
            return Err(refused(&path, "lies deeper than any path can lead"));
        }
        levels.extend(enter(reader, &subtree, &mut path, visitor)?);
    }
    Ok(())
}

fn enter(
    reader: &mut BlobReader,
    tree: &Id,
    path: &mut Vec<u8>,
    visitor: &mut dyn Visitor,
) -> Result<Option<Level>> {
    if !visitor.wants_tree(tree) {
        return Ok(None);
    }
    match reader.load_tree(tree) {
        Ok(nodes) => {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            Ok(Some(Level { nodes: nodes.into_iter(), path_length: path.len() }))
        }
        Err(e @ (Error::Cancelled | Error::LockLost(_))) => Err(e),
        Err(e) => visitor.unreadable(path, tree, e).map(|()| None),
    }
}

fn refused(path: &[u8], why: &str) -> Error {
    Error::Refused(format!("{} {why}", String::from_utf8_lossy(path)))
}
