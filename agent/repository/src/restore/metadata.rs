//! What is to be set on a restored entry, and what it means where that does not work.
//!
//! As with restic a restore by somebody who is not root keeps that person's ownership, and a file system without
//! extended attributes takes none; both are counted and told once, at the end.

use rustix::io::Errno;

use super::directory::Created;
use super::{Ownership, Run, Special};
use crate::error::{Error, Result};
use crate::format::tree::{ExtendedAttribute, Node, NodeKind, mode};
use crate::source::Metadata;
use crate::target::{Attributes, Owner, Times};

/// The metadata of one entry, as it will be.
#[derive(Debug)]
pub(super) struct Wanted {
    owner: Owner,
    mode: u32,
    times: Times,
    extended_attributes: Box<[ExtendedAttribute]>,
}

/// All that can be executed with somebody else's rights beside the set-ID bits.
const CAPABILITIES: &[u8] = b"security.capability";

impl Wanted {
    pub(super) fn of(run: &Run<'_>, node: &mut Node) -> Self {
        let mut mode = mode::unix_permissions(node.mode);
        let mut extended_attributes = if node.rare.extended_attributes.is_empty() {
            Vec::new()
        } else {
            std::mem::take(&mut node.rare.extended_attributes)
        };
        if run.options.special == Special::LeftOut {
            // On a directory the set-group-ID bit lends nothing, it hands the group down.
            mode &= if node.kind == NodeKind::Dir { 0o3777 } else { 0o1777 };
            extended_attributes.retain(|attribute| attribute.name != CAPABILITIES);
        }
        let owner = match run.options.ownership {
            Ownership::ByNumber => Owner { uid: node.uid, gid: node.gid },
            Ownership::ByName => Owner {
                uid: run.accounts.uid(&node.user).unwrap_or(0),
                gid: run.accounts.gid(&node.group).unwrap_or(0),
            },
        };
        Self {
            owner,
            mode,
            times: Times { atime: node.atime, mtime: node.mtime },
            extended_attributes: extended_attributes.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn nothing() -> Self {
        let time = crate::format::time::Timestamp::UNIX_EPOCH;
        Self {
            owner: Owner { uid: 0, gid: 0 },
            mode: 0,
            times: Times { atime: time, mtime: time },
            extended_attributes: Box::default(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let attribute_bytes = |attribute: &ExtendedAttribute| {
            size_of::<ExtendedAttribute>() + attribute.name.len() + attribute.value.len()
        };
        size_of::<Self>() + self.extended_attributes.iter().map(attribute_bytes).sum::<usize>()
    }

    /// All of it, whatever the entry has now.
    pub(super) fn all(&self) -> Attributes<'_> {
        Attributes {
            owner: Some(self.owner),
            mode: Some(self.mode),
            times: Some(self.times),
            extended_attributes: Some(&self.extended_attributes),
        }
    }

    /// What a file that was just made does not have yet: calls that change nothing cost as much as others.
    pub(super) fn missing_from_new(&self, created: &Created) -> Attributes<'_> {
        let needs_attributes = created.has_attributes || !self.extended_attributes.is_empty();
        Attributes {
            owner: (created.owner != self.owner).then_some(self.owner),
            extended_attributes: needs_attributes.then_some(&*self.extended_attributes),
            ..self.all()
        }
    }

    /// What an entry that was there before does not have yet.
    pub(super) fn missing_from(&self, found: &Metadata) -> Attributes<'_> {
        let has_owner = self.owner == Owner { uid: found.uid, gid: found.gid };
        let has_mode = found.mode & 0o7777 == self.mode;
        let has_times = self.times == Times { atime: found.atime, mtime: found.mtime };
        Attributes {
            owner: (!has_owner).then_some(self.owner),
            // A new owner takes bits of the mode away.
            mode: (!has_owner || !has_mode).then_some(self.mode),
            times: (!has_times).then_some(self.times),
            extended_attributes: Some(&self.extended_attributes),
        }
    }
}

impl Run<'_> {
    /// Counts or reports what could not be set.
    pub(super) fn not_set(&self, failed: Vec<Error>, path: impl Fn() -> Vec<u8>) -> Result<()> {
        for error in failed {
            let errno = match &error {
                Error::Local { source, .. } => Errno::from_io_error(source),
                _ => None,
            };
            match errno {
                Some(Errno::PERM | Errno::ACCESS) if !self.is_root => self.counters.withheld.add(1),
                Some(Errno::NOTSUP) => self.counters.unsupported.add(1),
                _ => self.problem(&path(), error)?,
            }
        }
        Ok(())
    }
}
