//! From what the system tells of an entry to its node in a tree.

use super::{Accounts, Metadata};
use crate::format::tree::{ExtendedAttribute, Node, NodeKind, mode};

/// Which access time goes into the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessTime {
    /// The time of the last modification: otherwise whoever reads a file changes the trees above it.
    #[default]
    Modified,
    Found,
}

/// The node of an entry, as restic writes it with `device-id-for-hardlinks`. The caller adds what is stored
/// elsewhere: `content` of a file (empty here) and `subtree` of a directory.
pub fn build_node(
    name: Vec<u8>,
    metadata: &Metadata,
    link_target: Vec<u8>,
    extended_attributes: Vec<ExtendedAttribute>,
    accounts: &Accounts,
    access_time: AccessTime,
) -> Node {
    let kind = metadata.kind;
    let is_device = matches!(kind, NodeKind::Dev | NodeKind::Chardev);
    let has_links = is_device || matches!(kind, NodeKind::File | NodeKind::Symlink);
    let links = if has_links { metadata.links } else { 0 };
    // The kernel numbers devices anew at each mount, so the number is kept only where it may tell hard links
    // apart. A named pipe's count of links is not stored, and so its device is.
    let device_id = if links == 1 || kind == NodeKind::Dir { 0 } else { metadata.device };
    let mut node = Node {
        mode: mode::of_unix(metadata.mode),
        mtime: metadata.mtime,
        atime: match access_time {
            AccessTime::Modified => metadata.mtime,
            AccessTime::Found => metadata.atime,
        },
        ctime: metadata.ctime,
        uid: metadata.uid,
        gid: metadata.gid,
        user: accounts.user(metadata.uid),
        group: accounts.group(metadata.gid),
        inode: metadata.inode,
        device_id,
        size: if kind == NodeKind::File { metadata.size_bytes } else { 0 },
        links,
        link_target,
        content: (kind == NodeKind::File).then(Vec::new),
        ..Node::new(name, kind)
    };
    if is_device {
        node.rare.device = metadata.device_number;
    }
    if !extended_attributes.is_empty() {
        node.rare.extended_attributes = extended_attributes;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::time::Timestamp;

    fn metadata(mode: u32, links: u64) -> Metadata {
        let time = |seconds| Timestamp { seconds, nanoseconds: 5 };
        Metadata {
            kind: super::super::metadata::kind_of(mode),
            mode,
            size_bytes: 77,
            allocated_bytes: 4096,
            mtime: time(1),
            ctime: time(2),
            atime: time(3),
            uid: 0,
            gid: 12,
            inode: 9,
            device: 2049,
            links,
            device_number: 259,
            mount: 1,
        }
    }

    fn check(mode: u32, links: u64, expected: (u32, u64, u64, u64, u64, bool)) {
        let accounts = Accounts::parse(b"root:x:0:0:::", b"");
        let node =
            build_node(b"n".into(), &metadata(mode, links), vec![], vec![], &accounts, AccessTime::Modified);
        let found =
            (node.mode, node.size, node.links, node.device_id, node.rare.device, node.content.is_some());
        assert_eq!(found, expected, "mode {mode:o} with {links} links");
        assert_eq!((node.atime, node.ctime), (metadata(mode, 1).mtime, metadata(mode, 1).ctime));
        assert_eq!((&*node.user, &*node.group), ("root", ""));
    }

    #[test]
    fn node_has_the_fields_of_its_kind_and_no_others() {
        check(0o100_644, 1, (0o644, 77, 1, 0, 0, true));
        check(0o106_755, 2, (0o755 | 1 << 23 | 1 << 22, 77, 2, 2049, 0, true));
        check(0o041_777, 5, (0o777 | 1 << 31 | 1 << 20, 0, 0, 0, 0, false));
        check(0o120_777, 1, (0o777 | 1 << 27, 0, 1, 0, 0, false));
        check(0o120_777, 2, (0o777 | 1 << 27, 0, 2, 2049, 0, false));
        check(0o060_600, 1, (0o600 | 1 << 26, 0, 1, 0, 259, false));
        check(0o020_600, 1, (0o600 | 1 << 26 | 1 << 21, 0, 1, 0, 259, false));
        check(0o010_600, 1, (0o600 | 1 << 25, 0, 0, 2049, 0, false));
        check(0o140_755, 1, (0o755 | 1 << 24, 0, 0, 2049, 0, false));
    }

    #[test]
    fn access_time_is_stored_only_on_request() {
        let found = metadata(0o100_644, 1);
        let node = build_node(vec![], &found, vec![], vec![], &Accounts::default(), AccessTime::Found);
        assert_eq!(node.atime, found.atime);
    }
}
