//! Trees and nodes: the JSON of a directory, byte for byte as restic writes it.
//!
//! A tree's ID is the hash of this text, so another order of keys or another escape is another tree to every
//! restic. What is read is distrusted: names are checked to be one component, and nothing is allocated by a
//! number that the text claims.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Invalid;
use super::id::Id;
use super::time::Timestamp;

mod decode;
mod encode;
mod json;
pub mod mode;
mod usual;

pub use decode::{Nodes, decode, nodes};
pub use encode::{TreeWriter, encode_node};

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
    /// Also what a later program may have stored under a word that is not known here.
    Irregular,
}

impl NodeKind {
    /// The word in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Dev => "dev",
            Self::Chardev => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Irregular => "irregular",
        }
    }

    /// restic reads any word and complains where the node is used; here an unknown one is `Irregular`, which
    /// nothing restores either.
    pub fn of_word(word: &str) -> Self {
        match word {
            "file" => Self::File,
            "dir" => Self::Dir,
            "symlink" => Self::Symlink,
            "dev" => Self::Dev,
            "chardev" => Self::Chardev,
            "fifo" => Self::Fifo,
            "socket" => Self::Socket,
            _ => Self::Irregular,
        }
    }
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
    /// Go's `fs.FileMode` bits, see [`mode`].
    pub mode: u32,
    pub mtime: Timestamp,
    pub atime: Timestamp,
    pub ctime: Timestamp,
    pub uid: u32,
    pub gid: u32,
    pub user: SharedText,
    pub group: SharedText,
    pub inode: u64,
    pub device_id: u64,
    /// Bytes of a regular file, 0 for everything else.
    pub size: u64,
    pub links: u64,
    pub link_target: Vec<u8>,
    /// The blobs of a regular file, in order; `None` (JSON `null`) for everything else.
    pub content: Option<Vec<Id>>,
    pub subtree: Option<Id>,
    /// `node.rare.device` and so on.
    pub rare: Rare,
}

impl Node {
    /// A node of which nothing but this is known; times are Go's zero time.
    pub fn new(name: impl Into<Vec<u8>>, kind: NodeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0,
            mtime: Timestamp::GO_ZERO,
            atime: Timestamp::GO_ZERO,
            ctime: Timestamp::GO_ZERO,
            uid: 0,
            gid: 0,
            user: SharedText::default(),
            group: SharedText::default(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            content: None,
            subtree: None,
            rare: Rare::default(),
        }
    }
}

/// What few nodes have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RareFields {
    /// In the order the system lists them.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// restic's `generic_attributes`, a JSON object as found (Windows); carried through unchanged.
    pub generic_attributes: Option<Box<str>>,
    /// The device number of `dev` and `chardev`.
    pub device: u64,
    pub error: String,
}

/// [`RareFields`] that take one word as long as none is set. Reading never allocates; writing to a field does, so
/// look before setting one to what it is by default.
#[derive(Clone, Default)]
pub struct Rare(Option<Box<RareFields>>);

static NOTHING_RARE: RareFields =
    RareFields { extended_attributes: Vec::new(), generic_attributes: None, device: 0, error: String::new() };

impl Deref for Rare {
    type Target = RareFields;

    fn deref(&self) -> &RareFields {
        self.0.as_deref().unwrap_or(&NOTHING_RARE)
    }
}

impl DerefMut for Rare {
    fn deref_mut(&mut self) -> &mut RareFields {
        self.0.get_or_insert_with(|| Box::new(NOTHING_RARE.clone()))
    }
}

impl PartialEq for Rare {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Rare {}

impl fmt::Debug for Rare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A user's or group's name: a clone shares the text, as thousands of nodes have the same, and an empty one is free.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SharedText(Option<Arc<str>>);

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Whether a name is one component of a path, as an entry of a directory must be: whoever has the password may have
/// put any name into a tree, and a restore puts it into a path.
pub fn check_name(name: &[u8]) -> Result<(), Invalid> {
    let why = match name {
        b"" => "is empty",
        b"." | b".." => "leads to another directory",
        _ if name.contains(&b'/') => "holds a slash",
        _ if name.contains(&0) => "holds a zero byte",
        _ => return Ok(()),
    };
    Err(Invalid::malformed(format_args!("the name \"{}\" {why}", name.escape_ascii())))
}

#[cfg(test)]
mod tests;
