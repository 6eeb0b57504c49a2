//! The file system as a backup reads it: by directory handles only, never by paths.
//!
//! An application owns the tree we walk and may change it at any moment, so each entry is looked at by name in
//! its opened directory ([`Directory::stat`]), opened without following links, and compared with what was seen
//! before a byte of it is believed. What is no regular file, directory or link is never opened.
//!
//! The traits have two implementations: `linux` is the system, `script` a double that plays races on cue.
//! Nothing in here decides what belongs into a backup, and nothing in here writes.

#![allow(clippy::disallowed_methods, reason = "one of the two modules that touch files of users")]

mod accounts;
pub(crate) mod attributes;
mod error;
pub(crate) mod handle;
mod linux;
mod metadata;
mod names;
mod node;
pub(crate) mod root;
#[cfg(any(test, feature = "testing"))]
pub mod script;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

pub use accounts::Accounts;
pub use error::{Error, Result};
pub use metadata::Metadata;
pub use names::Names;
pub use node::{AccessTime, build_node};
pub use root::{RootError, Source, open_resolved, open_without_links};

use crate::format::tree::ExtendedAttribute;

/// An opened directory. A name is one component, as [`Directory::names`] gave it; another is refused.
pub trait Directory: Debug + Send + Sync {
    /// What the directory itself was when it was opened.
    fn metadata(&self) -> &Metadata;

    /// Replaces `names` by the names of all entries, sorted by raw bytes, each once. One caller's [`Names`]
    /// serves for many directories, so that a walk does not allocate for each.
    fn names(&self, names: &mut Names) -> Result<()>;

    /// What an entry is now; of a link, the link itself.
    fn stat(&self, name: &[u8]) -> Result<Metadata>;

    /// Opens the directory that `expected` was seen of. [`Error::Swapped`] if it is another thing by now.
    fn open_dir(&self, name: &[u8], expected: &Metadata) -> Result<Arc<dyn Directory>>;

    /// Opens the regular file that `expected` was seen of. [`Error::Swapped`] if it is another thing by now.
    /// Never blocks: a named pipe that took the file's place is noticed, not waited for.
    fn open_file(&self, name: &[u8], expected: &Metadata) -> Result<Box<dyn OpenFile>>;

    /// The raw target of a symbolic link.
    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>>;

    /// The extended attributes of an entry that is not opened, in the system's order, less those that belong to
    /// the machine (`security.selinux`). None where the file system has none.
    fn extended_attributes(&self, name: &[u8]) -> Result<Vec<ExtendedAttribute>>;

    /// The same of the directory itself.
    fn extended_attributes_of_self(&self) -> Result<Vec<ExtendedAttribute>>;
}

/// A regular file, opened and known to be the one that was seen.
pub trait OpenFile: Debug + Send {
    /// What the file was right after it was opened, before its first byte was read.
    fn metadata(&self) -> &Metadata;

    /// What the file is now: differs from [`OpenFile::metadata`] where it was changed while it was read.
    fn metadata_now(&self) -> Result<Metadata>;

    /// Reads on from where the last call ended. May give less than was asked for; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Reads at `offset`, without moving where [`OpenFile::read`] goes on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// The first run of data at or after `offset`: what lies before its start is a hole and reads as zeros.
    fn next_data(&self, offset: u64) -> Result<Extent>;

    /// See [`Directory::extended_attributes`].
    fn extended_attributes(&self) -> Result<Vec<ExtendedAttribute>>;

    /// Reads on until `buffer` is full or the file ends; how many bytes were read.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}

/// A run of data in a file that may have holes, from `start` up to but without `end`. Where there is no more
/// data both are the file's size; where the system cannot tell, `end` is `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub start: u64,
    pub end: u64,
}

impl Extent {
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}
