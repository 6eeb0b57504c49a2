//! The things of a scripted file system.

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::format::time::Timestamp;
use crate::format::tree::{ExtendedAttribute, NodeKind};
use crate::source::Metadata;

/// What can be put at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File(Vec<u8>),
    Dir,
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    /// With its device number.
    Chardev(u64),
    Dev(u64),
}

/// A block of zeros counts as a hole.
pub(super) const BLOCK_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) enum Body {
    File(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, u64>),
    Symlink(Vec<u8>),
    Other,
}

#[derive(Debug)]
pub(super) struct Thing {
    pub(super) metadata: Metadata,
    pub(super) body: Body,
    pub(super) attributes: Vec<ExtendedAttribute>,
    pub(super) bad_from: Option<(u64, Errno)>,
}

impl Thing {
    pub(super) fn new(entry: &Entry, inode: u64, now: Timestamp, device: u64, mount: u64) -> Self {
        let (kind, mode, body, device_number) = match entry {
            Entry::File(_) => (NodeKind::File, 0o100_644, Body::File(Vec::new()), 0),
            Entry::Dir => (NodeKind::Dir, 0o040_755, Body::Dir(BTreeMap::new()), 0),
            Entry::Symlink(target) => (NodeKind::Symlink, 0o120_777, Body::Symlink(target.clone()), 0),
            Entry::Fifo => (NodeKind::Fifo, 0o010_644, Body::Other, 0),
            Entry::Socket => (NodeKind::Socket, 0o140_755, Body::Other, 0),
            Entry::Chardev(number) => (NodeKind::Chardev, 0o020_600, Body::Other, *number),
            Entry::Dev(number) => (NodeKind::Dev, 0o060_600, Body::Other, *number),
        };
        let metadata = Metadata {
            kind,
            mode,
            size_bytes: 0,
            allocated_bytes: 0,
            mtime: now,
            ctime: now,
            atime: now,
            uid: 0,
            gid: 0,
            inode,
            device,
            links: if kind == NodeKind::Dir { 2 } else { 1 },
            device_number,
            mount,
        };
        let mut thing = Self { metadata, body, attributes: Vec::new(), bad_from: None };
        match entry {
            Entry::File(content) => thing.set_content(content.clone()),
            Entry::Symlink(target) => thing.metadata.size_bytes = target.len() as u64,
            _ => {}
        }
        thing
    }

    pub(super) fn set_content(&mut self, content: Vec<u8>) {
        let blocks = content.chunks(BLOCK_BYTES).filter(|block| !is_hole(block)).count();
        self.metadata.size_bytes = content.len() as u64;
        self.metadata.allocated_bytes = (blocks * BLOCK_BYTES) as u64;
        self.body = Body::File(content);
    }

    pub(super) fn content(&self) -> &[u8] {
        match &self.body {
            Body::File(content) => content,
            _ => &[],
        }
    }
}

pub(super) fn is_hole(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
