//! The names of one directory, in the order of a tree: by raw bytes, each once.
//!
//! A directory may have hundreds of thousands of entries, so the names lie end to end in one buffer and an
//! entry costs 16 bytes beside its name. The buffers are kept from one directory to the next.

use std::cmp::Ordering;
use std::mem::MaybeUninit;

use super::{Error, Result};
use crate::limits::MAX_DIRECTORY_ENTRIES;

/// Large enough for about a thousand entries a system call.
const LISTING_BUFFER_BYTES: usize = 32 << 10;

#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Lent to the system for reading directories; always empty.
    listing: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first eight bytes, so that most comparisons need not touch the names.
    prefix: u64,
    offset: u32,
    length: u32,
}

impl Names {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name at a position below [`Names::len`].
    pub fn name(&self, position: usize) -> &[u8] {
        self.slice(self.entries[position])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        self.entries.iter().map(|&entry| self.slice(entry))
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.entries.binary_search_by(|&entry| self.slice(entry).cmp(name)).is_ok()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Adds a name at the end; [`Names::sort`] must follow the last one.
    pub fn push(&mut self, name: &[u8]) -> Result<()> {
        let too_large = || Error::TooLarge { max_entries: MAX_DIRECTORY_ENTRIES };
        if self.entries.len() >= MAX_DIRECTORY_ENTRIES {
            return Err(too_large());
        }
        let offset = u32::try_from(self.bytes.len()).map_err(|_| too_large())?;
        let length = u32::try_from(name.len()).map_err(|_| Error::bad_name())?;
        self.bytes.extend_from_slice(name);
        self.entries.push(Entry { prefix: prefix_of(name), offset, length });
        Ok(())
    }

    /// Brings the names into the order of a tree. A file system that lists a name twice while entries move
    /// about must not make a tree with a duplicate.
    pub fn sort(&mut self) {
        let Self { bytes, entries, .. } = self;
        entries.sort_unstable_by(|a, b| compare(bytes, a, b));
        entries.dedup_by(|a, b| compare(bytes, a, b) == Ordering::Equal);
    }

    /// Takes the buffer for the system's answers out; [`Names::return_listing_buffer`] brings it back.
    pub(super) fn take_listing_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.listing);
        buffer.reserve(LISTING_BUFFER_BYTES);
        buffer
    }

    pub(super) fn return_listing_buffer(&mut self, buffer: Vec<u8>) {
        self.listing = buffer;
    }

    fn slice(&self, entry: Entry) -> &[u8] {
        slice(&self.bytes, entry)
    }
}

/// The part of the buffer that the system may write to.
pub(super) fn writable(buffer: &mut Vec<u8>) -> &mut [MaybeUninit<u8>] {
    buffer.spare_capacity_mut()
}

fn slice(bytes: &[u8], entry: Entry) -> &[u8] {
    &bytes[entry.offset as usize..][..entry.length as usize]
}

fn compare(bytes: &[u8], a: &Entry, b: &Entry) -> Ordering {
    a.prefix.cmp(&b.prefix).then_with(|| slice(bytes, *a).cmp(slice(bytes, *b)))
}

/// Big-endian and filled with zeros, which no name holds, so that numbers compare as the bytes do.
fn prefix_of(name: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = name.len().min(8);
    prefix[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(prefix)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_come_in_the_order_of_their_bytes_and_once(
            given in prop::collection::vec(prop::collection::vec(1u8..=255, 1..12), 0..60)
        ) {
            let mut names = Names::new();
            for name in given.iter().chain(&given) {
                names.push(name).unwrap();
            }
            names.sort();
            let expected: BTreeSet<&[u8]> = given.iter().map(Vec::as_slice).collect();
            prop_assert!(names.iter().eq(expected.iter().copied()));
            prop_assert_eq!(names.len(), expected.len());
        }
    }

    #[test]
    fn cleared_names_hold_nothing_of_the_last_directory() {
        let mut names = Names::new();
        names.push(b"old").unwrap();
        names.clear();
        names.push(b"b").unwrap();
        names.push(b"a").unwrap();
        names.sort();
        assert_eq!(names.iter().collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn directory_above_the_limit_is_refused_and_not_cut_off() {
        let mut names = Names::new();
        for _ in 0..MAX_DIRECTORY_ENTRIES {
            names.push(b"x").unwrap();
        }
        assert!(matches!(names.push(b"x"), Err(Error::TooLarge { .. })));
    }
}
