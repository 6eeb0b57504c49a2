//! File modes: nodes have Go's `fs.FileMode`, the system has `st_mode`.
//!
//! Both keep the nine permission bits where they are; everything else sits elsewhere, and Go gives each kind a bit
//! of its own. What the system calls a type that Go has no word for is `IRREGULAR`, never a regular file.

use super::NodeKind;

pub const DIR: u32 = 1 << 31;
pub const SYMLINK: u32 = 1 << 27;
pub const DEVICE: u32 = 1 << 26;
pub const FIFO: u32 = 1 << 25;
pub const SOCKET: u32 = 1 << 24;
pub const SETUID: u32 = 1 << 23;
pub const SETGID: u32 = 1 << 22;
/// Only together with `DEVICE`.
pub const CHARDEV: u32 = 1 << 21;
pub const STICKY: u32 = 1 << 20;
pub const IRREGULAR: u32 = 1 << 19;
pub const PERMISSIONS: u32 = 0o777;
/// All bits that say what kind of thing it is; a regular file has none.
pub const TYPE: u32 = DIR | SYMLINK | DEVICE | FIFO | SOCKET | CHARDEV | IRREGULAR;

const UNIX_TYPE: u32 = 0o170_000;
const UNIX_TYPES: [(u32, u32); 7] = [
    (0o100_000, 0),
    (0o040_000, DIR),
    (0o120_000, SYMLINK),
    (0o060_000, DEVICE),
    (0o020_000, DEVICE | CHARDEV),
    (0o010_000, FIFO),
    (0o140_000, SOCKET),
];
const UNIX_FLAGS: [(u32, u32); 3] = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];

/// A node's mode from the system's `st_mode`.
pub fn of_unix(st_mode: u32) -> u32 {
    let kind =
        UNIX_TYPES.iter().find(|entry| entry.0 == st_mode & UNIX_TYPE).map_or(IRREGULAR, |entry| entry.1);
    let flags =
        UNIX_FLAGS.iter().filter(|entry| st_mode & entry.0 != 0).fold(0, |flags, entry| flags | entry.1);
    st_mode & PERMISSIONS | kind | flags
}

/// The system's `st_mode` from a node's mode, without a type where the system has none for it.
pub fn to_unix(mode: u32) -> u32 {
    let kind = UNIX_TYPES.iter().find(|entry| entry.1 == mode & TYPE).map_or(0, |entry| entry.0);
    kind | unix_permissions(mode)
}

/// What `chmod` takes: the permission bits with setuid, setgid and sticky.
pub fn unix_permissions(mode: u32) -> u32 {
    UNIX_FLAGS
        .iter()
        .filter(|entry| mode & entry.1 != 0)
        .fold(mode & PERMISSIONS, |permissions, entry| permissions | entry.0)
}

/// The kind of node a mode is of.
pub fn kind(mode: u32) -> NodeKind {
    match mode & TYPE {
        0 => NodeKind::File,
        DIR => NodeKind::Dir,
        SYMLINK => NodeKind::Symlink,
        DEVICE => NodeKind::Dev,
        bits if bits == DEVICE | CHARDEV => NodeKind::Chardev,
        FIFO => NodeKind::Fifo,
        SOCKET => NodeKind::Socket,
        _ => NodeKind::Irregular,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_every_kind_turn_into_restics_and_back() {
        for (st_mode, mode, expected) in [
            (0o100_644, 420, NodeKind::File),
            (0o104_755, 8_389_101, NodeKind::File),
            (0o040_755, 2_147_484_141, NodeKind::Dir),
            (0o043_777, 2_152_727_039, NodeKind::Dir),
            (0o120_777, 134_218_239, NodeKind::Symlink),
            (0o060_640, 67_109_280, NodeKind::Dev),
            (0o020_600, 69_206_400, NodeKind::Chardev),
            (0o010_644, 33_554_852, NodeKind::Fifo),
            (0o140_755, 16_777_709, NodeKind::Socket),
        ] {
            assert_eq!(of_unix(st_mode), mode, "{st_mode:o}");
            assert_eq!(to_unix(mode), st_mode, "{mode:o}");
            assert_eq!(kind(mode), expected, "{mode:o}");
        }
    }

    #[test]
    fn all_permissions_and_flags_survive_both_ways() {
        for bits in 0..=0o7777 {
            assert_eq!(to_unix(of_unix(0o100_000 | bits)), 0o100_000 | bits);
            assert_eq!(unix_permissions(of_unix(0o040_000 | bits)), bits);
        }
    }

    #[test]
    fn an_unknown_type_is_never_a_regular_file() {
        for st_mode in [0, 0o150_000, 0o160_644] {
            assert_eq!(kind(of_unix(st_mode)), NodeKind::Irregular, "{st_mode:o}");
        }
        assert_eq!(to_unix(IRREGULAR | 0o644), 0o644);
        assert_eq!(kind(DIR | SYMLINK), NodeKind::Irregular);
        assert_eq!(kind(CHARDEV), NodeKind::Irregular);
    }
}
