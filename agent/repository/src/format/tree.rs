//! Trees and nodes: the JSON of a directory, byte for byte as restic writes it.

use super::id::Id;
use super::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    File,
    Dir,
    Symlink,
    /// A block device (`dev` in the JSON).
    Dev,
    /// A character device.
    Chardev,
    Fifo,
    Socket,
    Irregular,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedAttribute {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// One entry of a directory. Names and link targets are raw bytes; quoting is the encoder's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: Vec<u8>,
    pub kind: NodeKind,
    /// Go's `fs.FileMode` bits, see `mode` in this module.
    pub mode: u32,
    pub mtime: Timestamp,
    pub atime: Timestamp,
    pub ctime: Timestamp,
    pub uid: u32,
    pub gid: u32,
    pub user: Box<str>,
    pub group: Box<str>,
    pub inode: u64,
    pub device_id: u64,
    /// Bytes of a regular file, 0 for everything else.
    pub size: u64,
    pub links: u64,
    pub link_target: Vec<u8>,
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// restic's `generic_attributes` as found (Windows); carried through unchanged.
    pub generic_attributes: Option<Box<str>>,
    /// The device number of `dev` and `chardev`.
    pub device: u64,
    /// The blobs of a regular file, in order; `None` (JSON `null`) for everything else.
    pub content: Option<Vec<Id>>,
    pub subtree: Option<Id>,
    pub error: Box<str>,
}
