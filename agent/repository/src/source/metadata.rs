//! What the system tells of one entry.

use rustix::fs::{FileType, Stat, Statx, makedev};

use crate::format::time::Timestamp;
use crate::format::tree::NodeKind;

/// The answer of one `lstat` or `fstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: NodeKind,
    /// `st_mode`, with the bits of the type.
    pub mode: u32,
    pub size_bytes: u64,
    /// What the file takes on the disk.
    pub allocated_bytes: u64,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub atime: Timestamp,
    pub uid: u32,
    pub gid: u32,
    pub inode: u64,
    /// `st_dev` as the kernel numbers it.
    pub device: u64,
    pub links: u64,
    /// `st_rdev`: which device a device file stands for.
    pub device_number: u64,
    /// The mount the entry was reached through; 0 where the kernel (before 5.8) does not tell.
    pub mount: u64,
}

impl Metadata {
    /// Whether both describe one thing: the same inode of the same device, of the same type.
    pub fn is_same_thing(&self, other: &Self) -> bool {
        (self.device, self.inode, self.kind) == (other.device, other.inode, other.kind)
    }

    /// Whether both lie in the same mount, so that `self` is no mount point below `directory`.
    ///
    /// The mount decides where it is known, not the device: a bind mount may show the same device again, and
    /// one mount may have several devices (overlayfs' layers, the subvolumes of btrfs).
    pub fn is_in_mount_of(&self, directory: &Self) -> bool {
        if self.mount != 0 && directory.mount != 0 {
            self.mount == directory.mount
        } else {
            self.device == directory.device
        }
    }

    /// Whether asking for holes is worth the calls.
    pub fn is_sparse(&self) -> bool {
        self.kind == NodeKind::File && self.allocated_bytes < self.size_bytes
    }

    /// Whether another name may lead to the same content.
    pub fn has_other_links(&self) -> bool {
        self.links > 1 && self.kind != NodeKind::Dir
    }

    pub(crate) fn from_statx(stat: &Statx) -> Self {
        // Either of the two, the reusable or the unique ID: which one is a property of the running kernel.
        let mount_is_known = stat.stx_mask & MASK_OF_MOUNT_IDS != 0;
        let time = |t: rustix::fs::StatxTimestamp| Timestamp { seconds: t.tv_sec, nanoseconds: t.tv_nsec };
        Self {
            kind: kind_of(u32::from(stat.stx_mode)),
            mode: u32::from(stat.stx_mode),
            size_bytes: stat.stx_size,
            allocated_bytes: stat.stx_blocks.saturating_mul(512),
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            atime: time(stat.stx_atime),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            inode: stat.stx_ino,
            device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            links: u64::from(stat.stx_nlink),
            device_number: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            mount: if mount_is_known { stat.stx_mnt_id } else { 0 },
        }
    }

    /// For systems without `statx` (an old container runtime's seccomp filter).
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the fields' types differ by CPU")]
    pub(crate) fn from_stat(stat: &Stat) -> Self {
        let time = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
        };
        Self {
            kind: kind_of(stat.st_mode),
            mode: stat.st_mode,
            size_bytes: stat.st_size as u64,
            allocated_bytes: (stat.st_blocks as u64).saturating_mul(512),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            atime: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
            uid: stat.st_uid,
            gid: stat.st_gid,
            inode: stat.st_ino,
            device: stat.st_dev,
            links: stat.st_nlink as u64,
            device_number: stat.st_rdev,
            mount: 0,
        }
    }
}

/// `STATX_MNT_ID` (Linux 5.8) and `STATX_MNT_ID_UNIQUE` (6.8): asked for both, a kernel gives the better one.
pub(crate) const MASK_OF_MOUNT_IDS: u32 = 0x1000 | 0x4000;

pub(crate) fn kind_of(mode: u32) -> NodeKind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::BlockDevice => NodeKind::Dev,
        FileType::CharacterDevice => NodeKind::Chardev,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::Unknown => NodeKind::Irregular,
    }
}
