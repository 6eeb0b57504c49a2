//! Whether an entry is still what the parent snapshot has.
//!
//! **Invariant:** equal metadata proves equal content only where the change time is older than the last read
//! by more than the system may delay it. A store through a mapping moves the times once and then not again
//! until the page was written back (up to 35 s), and old kernels' clocks are coarse: so what had changed
//! less than a minute before the parent's run began is read again (`a_racy_entry_is_read_again`).
//!
//! **Invariant:** what one user was let see says nothing of what another one is: after a change of user or group
//! everything is read again, so that what cannot be read is told and what was hidden is found
//! (`another_user_reuses_nothing`).

use std::time::Duration;

use crate::format::snapshot::Snapshot;
use crate::format::time::Timestamp;
use crate::format::tree::{Node, NodeKind, mode};
use crate::source::{AccessTime, Metadata};

const RACY: Duration = Duration::from_secs(60);

/// Which differences count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compare {
    pub ignore_ctime: bool,
    pub ignore_inode: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The node can be used as it is, extended attributes included.
    Equal,
    /// The content can be used, the node must be made anew.
    SameContent,
    Changed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    compare: Compare,
    access_time: AccessTime,
    /// Entries younger than this may have changed after they were read; without it all are to be read.
    racy_after: Option<Timestamp>,
}

impl Comparison {
    /// `reader` is the user and the group that this run reads as.
    pub(super) fn new(
        compare: Compare,
        access_time: AccessTime,
        parent: Option<&Snapshot>,
        reader: (u32, u32),
    ) -> Self {
        let comparable = parent.filter(|parent| (parent.uid, parent.gid) == reader);
        let begin = comparable
            .map(|parent| parent.summary.as_ref().map_or(parent.time, |summary| summary.backup_start));
        Self { compare, access_time, racy_after: begin.map(|begin| begin.saturating_sub(RACY)) }
    }

    pub(super) fn verdict(&self, found: &Metadata, previous: &Node) -> Verdict {
        let is_racy = self.racy_after.is_none_or(|limit| found.mtime > limit || found.ctime > limit);
        let same_content = found.kind == previous.kind
            && found.mtime == previous.mtime
            && (found.kind != NodeKind::File || found.size_bytes == previous.size)
            && (self.compare.ignore_ctime || found.ctime == previous.ctime)
            && (self.compare.ignore_inode || found.inode == previous.inode);
        if is_racy || !same_content {
            return Verdict::Changed;
        }
        let access_time = match self.access_time {
            AccessTime::Modified => found.mtime,
            AccessTime::Found => found.atime,
        };
        let same_node = found.ctime == previous.ctime
            && access_time == previous.atime
            && found.inode == previous.inode
            && mode::of_unix(found.mode) == previous.mode
            && found.uid == previous.uid
            && found.gid == previous.gid
            && (found.kind == NodeKind::Dir || previous.links == 0 || found.links == previous.links)
            && (previous.links < 2 || found.device == previous.device_id);
        if same_node { Verdict::Equal } else { Verdict::SameContent }
    }
}
