//! The source on the running system, and the double where the system will not misbehave on request.

mod races;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::handle::Resolution;
use super::*;
use crate::format::time::Timestamp;
use crate::format::tree::NodeKind;

pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The directory as every mode of opening sees it: the system's best, and the one for old kernels.
pub(super) fn opened(path: &Path) -> [Arc<dyn Directory>; 2] {
    [Resolution::of_system(), Resolution::PerComponent]
        .map(|resolution| root::open_by(bytes(path), resolution).unwrap().open_dir().unwrap())
}

fn names_of(directory: &dyn Directory) -> Vec<Vec<u8>> {
    let mut names = Names::new();
    directory.names(&mut names).unwrap();
    names.iter().map(<[u8]>::to_vec).collect()
}

fn mknod(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

pub(super) fn read_all(file: &mut dyn OpenFile) -> Vec<u8> {
    let mut content = vec![0; file.metadata().size_bytes as usize + 100];
    let length = file.fill(&mut content).unwrap();
    content.truncate(length);
    content
}

#[test]
fn every_kind_of_entry_is_seen_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("file"), "content").unwrap();
    fs::create_dir(path.join("dir")).unwrap();
    std::os::unix::fs::symlink("somewhere/\u{e9}", path.join("link")).unwrap();
    mknod(&path.join("pipe"), FileType::Fifo, 0);
    let _listener = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    mknod(&path.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    mknod(&path.join("block"), FileType::BlockDevice, rustix::fs::makedev(259, 300_000));
    for directory in opened(path) {
        for (name, kind) in [
            ("file", NodeKind::File),
            ("dir", NodeKind::Dir),
            ("link", NodeKind::Symlink),
            ("pipe", NodeKind::Fifo),
            ("socket", NodeKind::Socket),
            ("null", NodeKind::Chardev),
            ("block", NodeKind::Dev),
        ] {
            let found = directory.stat(name.as_bytes()).unwrap();
            let expected = fs::symlink_metadata(path.join(name)).unwrap();
            assert_eq!(found.kind, kind, "{name}");
            assert_eq!(found.mode, expected.mode(), "{name}");
            assert_eq!(found.size_bytes, expected.size(), "{name}");
            assert_eq!((found.device, found.inode), (expected.dev(), expected.ino()), "{name}");
            assert_eq!((found.links, found.device_number), (expected.nlink(), expected.rdev()), "{name}");
            assert_eq!((found.uid, found.gid), (expected.uid(), expected.gid()), "{name}");
            assert_eq!(found.mtime.seconds, expected.mtime(), "{name}");
            assert_eq!(i64::from(found.ctime.nanoseconds), expected.ctime_nsec(), "{name}");
            let is_file = kind == NodeKind::File;
            assert_eq!(directory.open_file(name.as_bytes(), &found).is_ok(), is_file, "{name}");
            assert_eq!(directory.open_dir(name.as_bytes(), &found).is_ok(), kind == NodeKind::Dir, "{name}");
        }
        assert_eq!(directory.read_link(b"link").unwrap(), "somewhere/\u{e9}".as_bytes());
        assert!(matches!(directory.read_link(b"file"), Err(Error::Swapped)));
        let file = directory.stat(b"file").unwrap();
        let mut file = directory.open_file(b"file", &file).unwrap();
        assert_eq!(read_all(&mut *file), b"content");
    }
}

#[test]
fn old_and_new_stat_calls_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "1234567").unwrap();
    let [directory, _] = opened(folder.path());
    let found = directory.stat(b"file").unwrap();
    let old = Metadata::from_stat(&rustix::fs::lstat(&path).unwrap());
    assert_ne!(found.mount, 0, "the kernel tells the mount since 5.8");
    assert_eq!(Metadata { mount: found.mount, ..old }, found);
}

#[test]
fn names_are_raw_bytes_in_order_and_listing_twice_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let given: [&[u8]; 7] = [b"b", b"a", b"\xff\xfe", b"a.b", b"\xc3\xa9", b" ", b"abcdefghi"];
    for name in given {
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    let mut expected = given.map(<[u8]>::to_vec);
    expected.sort();
    for directory in opened(folder.path()) {
        assert_eq!(names_of(&*directory), expected);
        assert_eq!(names_of(&*directory), expected);
        assert!(directory.stat(b"\xff\xfe").is_ok());
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    for directory in opened(folder.path()) {
        let dir = directory.stat(b"dir").unwrap();
        for name in [&b""[..], b".", b"..", b"dir/..", b"/etc", b"a\0b"] {
            assert!(directory.stat(name).is_err(), "stat {}", name.escape_ascii());
            assert!(directory.open_dir(name, &dir).is_err(), "open {}", name.escape_ascii());
            assert!(directory.read_link(name).is_err(), "read {}", name.escape_ascii());
            assert!(directory.extended_attributes(name).is_err(), "attributes of {}", name.escape_ascii());
        }
    }
}

#[test]
fn modes_and_times_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o7751)).unwrap();
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: -5, tv_nsec: 1 },
        last_modification: rustix::fs::Timespec { tv_sec: 4_000_000_000, tv_nsec: 999_999_999 },
    };
    rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    let [directory, _] = opened(folder.path());
    let found = directory.stat(b"file").unwrap();
    assert_eq!(found.mode, 0o107_751);
    assert_eq!(found.atime, Timestamp { seconds: -5, nanoseconds: 1 });
    assert_eq!(found.mtime, Timestamp { seconds: 4_000_000_000, nanoseconds: 999_999_999 });
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "content").unwrap();
    let old = rustix::fs::Timespec { tv_sec: 1000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    let [directory, _] = opened(folder.path());
    let mut file = directory.open_file(b"file", &directory.stat(b"file").unwrap()).unwrap();
    assert_eq!(read_all(&mut *file), b"content");
    assert_eq!(directory.stat(b"file").unwrap().atime.seconds, 1000);
}

#[test]
fn attributes_of_open_and_unopened_things_are_the_same_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
    let large = vec![7; 3000];
    // One entry more than the owner's, the group's and the others' makes an access control list of a mode.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [(1, 6, -1), (2, 4, 1234), (4, 4, -1), (0x10, 6, -1), (0x20, 0, -1)] {
        let (tag, permissions, id): (u16, u16, i32) = (tag, permissions, id);
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    let given = [("user.large", &large), ("user.empty", &vec![]), ("system.posix_acl_access", &acl)];
    for (name, value) in given {
        rustix::fs::setxattr(&path, name, value, XattrFlags::empty()).unwrap();
    }
    for directory in opened(folder.path()) {
        let by_name = directory.extended_attributes(b"file").unwrap();
        let file = directory.open_file(b"file", &directory.stat(b"file").unwrap()).unwrap();
        assert_eq!(file.extended_attributes().unwrap(), by_name);
        assert_eq!(by_name.len(), given.len());
        for (name, value) in given {
            let found = by_name.iter().find(|attribute| attribute.name == name.as_bytes()).unwrap();
            assert_eq!(&found.value, value, "{name}");
        }
        let mut listed = vec![0; 1000];
        let length = rustix::fs::listxattr(&path, &mut listed[..]).unwrap();
        let in_order: Vec<&[u8]> = by_name.iter().map(|attribute| &*attribute.name).collect();
        assert_eq!([in_order.join(&0), vec![0]].concat(), &listed[..length]);
        // The link's own, which are none, and not those of the file it leads to.
        assert_eq!(directory.extended_attributes(b"link").unwrap(), []);
        assert!(matches!(directory.extended_attributes(b"missing"), Err(Error::Vanished)));
    }
}

#[test]
fn attributes_of_a_directory_do_not_depend_on_how_it_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap().join("dir");
    fs::create_dir_all(path.join("below")).unwrap();
    rustix::fs::setxattr(&path, "user.note", b"x", XattrFlags::empty()).unwrap();
    let expected = [ExtendedAttribute { name: b"user.note".to_vec(), value: b"x".to_vec() }];
    let source = open_without_links(bytes(&path.join("below"))).unwrap();
    let passed = source.parent();
    assert_eq!(passed.extended_attributes_of_self().unwrap(), expected);
    assert_eq!(names_of(&**passed), [b"below"]);
    let source = open_without_links(bytes(&path)).unwrap();
    assert_eq!(source.open_dir().unwrap().extended_attributes_of_self().unwrap(), expected);
}

#[test]
fn holes_are_found_without_reading_them_and_reading_does_not_lose_its_place() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 64 * MIB).unwrap();
    file.set_len(1 << 40).unwrap();
    let [directory, _] = opened(folder.path());
    let metadata = directory.stat(b"sparse").unwrap();
    assert!(metadata.is_sparse());
    let mut file = directory.open_file(b"sparse", &metadata).unwrap();
    assert_eq!(file.next_data(0).unwrap(), Extent { start: 64 * MIB, end: 64 * MIB + 4096 });
    let mut buffer = [9; 10];
    assert_eq!(file.read(&mut buffer).unwrap(), 10);
    assert_eq!(buffer, [0; 10], "the file is read from its start");
    assert_eq!(file.read_at(&mut buffer, 64 * MIB).unwrap(), 10);
    assert_eq!(buffer, [1; 10]);
    let rest = file.next_data(65 * MIB).unwrap();
    assert!(rest.is_empty());
    assert_eq!(rest.start, 1 << 40);
}

#[test]
fn path_of_the_agent_leads_through_no_link_and_a_persons_may() {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(path.join("true/data")).unwrap();
    fs::write(path.join("true/file"), "").unwrap();
    std::os::unix::fs::symlink("true", path.join("link")).unwrap();
    std::os::unix::fs::symlink("true/data", path.join("end")).unwrap();
    let refused = |below: &str| open_without_links(bytes(&path.join(below))).unwrap_err();
    let link = bytes(&path.join("link")).to_vec();
    assert!(matches!(refused("link/data"), RootError::Link { component } if component == link));
    assert!(matches!(refused("end"), RootError::Link { .. }));
    assert!(matches!(refused("true/file/x"), RootError::NotADirectory { .. }));
    assert!(matches!(refused("true/none"), RootError::Missing { .. }));
    assert!(matches!(refused("true/../link"), RootError::NotAbsolute { .. }));
    assert!(matches!(open_without_links(b"relative"), Err(RootError::NotAbsolute { .. })));
    let resolved = open_resolved(bytes(&path.join("link/data"))).unwrap();
    assert_eq!(resolved.path, bytes(&path.join("true/data")));
    assert_eq!(resolved.name, b"data");
    assert_eq!(resolved.ancestors.len(), path.components().count() + 1);
    let source = open_without_links(&[bytes(&path), b"//./true/"].concat()).unwrap();
    assert_eq!(source.path, bytes(&path.join("true")));
    let file = open_without_links(bytes(&path.join("true/file"))).unwrap();
    assert_eq!(file.metadata.kind, NodeKind::File);
    assert!(matches!(file.open_dir(), Err(Error::Swapped)));
}

#[test]
fn top_of_the_file_system_is_a_source_too() {
    let source = open_without_links(b"/").unwrap();
    assert_eq!((&*source.path, &*source.name), (&b"/"[..], &b""[..]));
    let top = source.open_dir().unwrap();
    assert!(names_of(&*top).contains(&b"proc".to_vec()));
    let proc = top.stat(b"proc").unwrap();
    assert!(!proc.is_in_mount_of(top.metadata()), "another file system is mounted there");
}

/// Unmounts at the end of the test, also of one that fails.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(arguments: &[&str], at: &'a Path) -> Self {
        let status = Command::new("mount").args(arguments).arg(at).status().expect("needs `mount`");
        assert!(status.success(), "this test needs the right to mount: run it as root");
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0).status();
        assert!(std::thread::panicking() || status.is_ok_and(|status| status.success()));
    }
}

#[test]
fn nested_mounts_are_told_from_directories_also_on_the_same_device() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["plain", "other", "bound", "bound-file"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    fs::write(path.join("file"), "a").unwrap();
    fs::write(path.join("covered"), "b").unwrap();
    let (other, bound, covered) = (path.join("other"), path.join("bound"), path.join("covered"));
    let _other = Mounted::new(&["-t", "tmpfs", "tmpfs"], &other);
    let _bound = Mounted::new(&["--bind", path.join("plain").to_str().unwrap()], &bound);
    let _covered = Mounted::new(&["--bind", path.join("file").to_str().unwrap()], &covered);
    for directory in opened(path) {
        let of = |name: &[u8]| directory.stat(name).unwrap();
        assert!(of(b"plain").is_in_mount_of(directory.metadata()));
        assert!(of(b"file").is_in_mount_of(directory.metadata()));
        assert_eq!(of(b"bound").device, directory.metadata().device, "only the mount differs");
        for name in ["other", "bound", "covered"] {
            assert!(!of(name.as_bytes()).is_in_mount_of(directory.metadata()), "{name}");
        }
        // Whoever wants to cross a mount can.
        let below = directory.open_dir(b"bound", &of(b"bound")).unwrap();
        assert_eq!(below.metadata().mount, of(b"bound").mount);
    }
}
