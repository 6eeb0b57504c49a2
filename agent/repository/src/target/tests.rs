//! The target on the running system: what is asked for is there afterwards, and nothing outside is touched.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

use super::*;
use crate::format::time::Timestamp;
use crate::format::tree::ExtendedAttribute;

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Runs a test with the system's best way of opening and with the one for old kernels.
fn check(test: impl Fn(&TargetDir, &Path)) {
    for resolution in [Resolution::of_system(), Resolution::PerComponent] {
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        test(&TargetDir::create_by(bytes(&path), resolution).unwrap(), &path);
    }
}

fn errno(error: &Error) -> Option<i32> {
    match error {
        Error::Local { source, .. } => source.raw_os_error(),
        _ => None,
    }
}

fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}

fn attribute(name: &str, value: &[u8]) -> ExtendedAttribute {
    ExtendedAttribute { name: name.as_bytes().to_vec(), value: value.to_vec() }
}

#[test]
fn file_appears_whole_under_its_name_with_everything_set() {
    check(|target, path| {
        let dir = target.create_dir(b"dir").unwrap();
        fs::write(path.join("dir/file"), "old").unwrap();
        let (temporary, file) = dir.create_temporary().unwrap();
        assert!(temporary.starts_with(TEMPORARY_PREFIX));
        file.write_at(b"second", 5).unwrap();
        drop(file);
        let file = dir.open_file(&temporary).unwrap();
        file.write_at(b"first", 0).unwrap();
        let attributes = [attribute("user.b", b"2"), attribute("user.a", &[0; 2000])];
        let problems = file.set_attributes(&Attributes {
            owner: Some(Owner { uid: 1234, gid: 5678 }),
            mode: Some(0o106_751),
            times: Some(Times { atime: time(-3, 5), mtime: time(5_000_000_000, 123_456_789) }),
            extended_attributes: Some(&attributes),
        });
        assert!(problems.is_empty(), "{problems:?}");
        dir.rename(&temporary, b"file").unwrap();
        let found = fs::metadata(path.join("dir/file")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode()), (1234, 5678, 0o106_751));
        assert_eq!((found.atime(), found.atime_nsec()), (-3, 5));
        assert_eq!((found.mtime(), found.mtime_nsec()), (5_000_000_000, 123_456_789));
        assert_eq!(fs::read(path.join("dir/file")).unwrap(), b"firstsecond");
        let mut value = [0; 10];
        assert_eq!(rustix::fs::getxattr(path.join("dir/file"), "user.b", &mut value[..]).unwrap(), 1);
        assert_eq!(fs::read_dir(path.join("dir")).unwrap().count(), 1, "no temporary file is left");
        target.sync_file_system().unwrap();
        assert!(target.free_space().unwrap().available_bytes > 0);
    });
}

#[test]
fn attributes_that_are_not_wanted_are_removed() {
    check(|target, path| {
        fs::write(path.join("file"), "").unwrap();
        rustix::fs::setxattr(path.join("file"), "user.old", b"x", XattrFlags::empty()).unwrap();
        let file = target.open_file(b"file").unwrap();
        let wanted = [attribute("user.new", b"y"), attribute("security.selinux", b"label")];
        let problems =
            file.set_attributes(&Attributes { extended_attributes: Some(&wanted), ..Attributes::default() });
        assert!(problems.is_empty(), "{problems:?}");
        let mut list = [0; 100];
        let length = rustix::fs::listxattr(path.join("file"), &mut list[..]).unwrap();
        assert_eq!(&list[..length], b"user.new\0");
    });
}

#[test]
fn holes_take_no_space() {
    const MIB: u64 = 1 << 20;
    check(|target, path| {
        let (name, file) = target.create_temporary().unwrap();
        file.write_at(&[1; 100], 64 * MIB).unwrap();
        file.set_size(1 << 40).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.size_bytes, 1 << 40);
        assert!(found.allocated_bytes < MIB);
        fs::write(path.join("full"), vec![1; 4 * MIB as usize]).unwrap();
        let full = target.open_file(b"full").unwrap();
        full.punch_hole(MIB, 2 * MIB).unwrap();
        assert!(full.metadata().unwrap().allocated_bytes <= 3 * MIB);
        let content = fs::read(path.join("full")).unwrap();
        assert_eq!(content.len() as u64, 4 * MIB);
        assert!(content[MIB as usize..3 * MIB as usize].iter().all(|byte| *byte == 0));
        assert!(content[..MIB as usize].iter().all(|byte| *byte == 1));
        full.write_zeros(0, 10 * MIB).unwrap();
        assert!(fs::read(path.join("full")).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(full.metadata().unwrap().size_bytes, 4 * MIB);
        target.remove_entry(&name).unwrap();
    });
}

#[test]
fn special_entries_are_made_as_what_they_are() {
    check(|target, path| {
        target.create_symlink(b"link", b"/nowhere/\xff").unwrap();
        target.create_fifo(b"pipe").unwrap();
        target.create_device(b"char", NodeKind::Chardev, rustix::fs::makedev(1, 3)).unwrap();
        target.create_device(b"block", NodeKind::Dev, rustix::fs::makedev(259, 300_000)).unwrap();
        assert!(target.create_device(b"socket", NodeKind::Socket, 0).is_err());
        for (name, kind) in [
            ("link", NodeKind::Symlink),
            ("pipe", NodeKind::Fifo),
            ("char", NodeKind::Chardev),
            ("block", NodeKind::Dev),
        ] {
            let problems = target.set_attributes_of(
                name.as_bytes(),
                kind,
                &Attributes {
                    owner: Some(Owner { uid: 12, gid: 34 }),
                    mode: Some(0o4751),
                    times: Some(Times { atime: time(1, 2), mtime: time(3, 4) }),
                    extended_attributes: Some(&[attribute("trusted.note", b"x")]),
                },
            );
            assert!(problems.is_empty(), "{name}: {problems:?}");
            let found = fs::symlink_metadata(path.join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (12, 34), "{name}");
            assert_eq!((found.mtime(), found.mtime_nsec()), (3, 4), "{name}");
            let mode = if kind == NodeKind::Symlink { 0o777 } else { 0o4751 };
            assert_eq!(found.mode() & 0o7777, mode, "{name}");
            let mut value = [0; 10];
            let read = rustix::fs::lgetxattr(path.join(name), "trusted.note", &mut value[..]);
            assert_eq!(read.unwrap(), 1, "{name}");
        }
        assert_eq!(target.read_link(b"link").unwrap(), b"/nowhere/\xff");
        assert!(fs::symlink_metadata(path.join("char")).unwrap().file_type().is_char_device());
        let block = fs::symlink_metadata(path.join("block")).unwrap();
        assert_eq!(block.rdev(), rustix::fs::makedev(259, 300_000));
    });
}

#[test]
fn directory_keeps_its_times_when_they_are_set_last() {
    check(|target, path| {
        let dir = target.create_dir(b"dir").unwrap();
        dir.create_dir(b"below").unwrap();
        let problems = dir.set_attributes(&Attributes {
            owner: Some(Owner { uid: 1, gid: 2 }),
            mode: Some(0o041_770),
            times: Some(Times { atime: time(1, 0), mtime: time(2, 0) }),
            extended_attributes: Some(&[attribute("user.note", b"x")]),
        });
        assert!(problems.is_empty(), "{problems:?}");
        let found = fs::metadata(path.join("dir")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode(), found.mtime()), (1, 2, 0o041_770, 2));
    });
}

#[test]
fn hard_link_is_a_second_name_also_of_a_link() {
    check(|target, path| {
        let dir = target.create_dir(b"dir").unwrap();
        fs::write(path.join("file"), "x").unwrap();
        symlink("/etc/passwd", path.join("link")).unwrap();
        dir.create_hard_link(b"second", target, b"file").unwrap();
        dir.create_hard_link(b"same-link", target, b"link").unwrap();
        assert_eq!(fs::metadata(path.join("dir/second")).unwrap().nlink(), 2);
        assert!(fs::symlink_metadata(path.join("dir/same-link")).unwrap().is_symlink());
    });
}

#[test]
fn rename_new_never_replaces() {
    check(|target, path| {
        fs::write(path.join("old"), "old").unwrap();
        let (temporary, _) = target.create_temporary().unwrap();
        let error = target.rename_new(&temporary, b"old").unwrap_err();
        assert_eq!(errno(&error), Some(Errno::EXIST.raw_os_error()));
        assert_eq!(fs::read(path.join("old")).unwrap(), b"old");
        target.rename_new(&temporary, b"new").unwrap();
        fs::create_dir(path.join("dir")).unwrap();
        let error = target.rename(b"new", b"dir").unwrap_err();
        assert_eq!(errno(&error), Some(Errno::ISDIR.raw_os_error()));
        assert!(error.to_string().contains("/dir:"), "{error}");
    });
}

/// Whatever the names say and wherever the target's links lead, what lies outside stays as it was.
#[test]
fn nothing_outside_the_target_is_touched() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let before = fs::metadata(&secret).unwrap();
    check(|target, path| {
        symlink(&secret, path.join("to-file")).unwrap();
        symlink(outside.path(), path.join("to-dir")).unwrap();
        assert!(target.open_dir(b"to-dir").is_err());
        assert!(target.create_dir(b"to-dir").is_err());
        assert!(target.open_file(b"to-file").is_err());
        assert!(target.open_file_to_read(b"to-file").is_err());
        assert!(target.create_fifo(b"to-file").is_err());
        let wanted = Attributes {
            owner: Some(Owner { uid: 1, gid: 1 }),
            mode: Some(0o777),
            times: Some(Times { atime: time(1, 1), mtime: time(1, 1) }),
            extended_attributes: Some(&[]),
        };
        for kind in [NodeKind::Symlink, NodeKind::Fifo] {
            target.set_attributes_of(b"to-file", kind, &wanted);
        }
        let (temporary, file) = target.create_temporary().unwrap();
        file.write_at(b"new", 0).unwrap();
        target.rename(&temporary, b"to-file").unwrap();
        assert_eq!(fs::read(path.join("to-file")).unwrap(), b"new");
        for name in [&b""[..], b".", b"..", b"../x", b"/etc/x", b"a/b", b"a\0b"] {
            let case = name.escape_ascii();
            assert!(target.open_dir(name).is_err(), "{case}");
            assert!(target.create_dir(name).is_err(), "{case}");
            assert!(target.open_file(name).is_err(), "{case}");
            assert!(target.create_symlink(name, b"x").is_err(), "{case}");
            assert!(target.create_fifo(name).is_err(), "{case}");
            assert!(target.rename(b"to-file", name).is_err(), "{case}");
            assert!(target.rename_new(name, b"x").is_err(), "{case}");
            assert!(target.create_hard_link(name, target, b"to-file").is_err(), "{case}");
            assert!(target.create_hard_link(b"x", target, name).is_err(), "{case}");
            assert!(target.remove_entry(name).is_err(), "{case}");
            assert!(!target.set_attributes_of(name, NodeKind::Fifo, &wanted).is_empty(), "{case}");
        }
        target.remove_entry(b"to-dir").unwrap();
        target.remove_entry(b"to-dir").unwrap();
    });
    let after = fs::metadata(&secret).unwrap();
    assert_eq!(fs::read(&secret).unwrap(), b"untouched");
    assert_eq!(
        (after.mode(), after.uid(), after.ctime_nsec()),
        (before.mode(), before.uid(), before.ctime_nsec())
    );
}

#[test]
fn removing_a_directory_follows_no_link_and_stops_at_a_mount() {
    check(|target, path| {
        fs::create_dir_all(path.join("dir/a/b")).unwrap();
        fs::create_dir_all(path.join("kept")).unwrap();
        fs::write(path.join("kept/file"), "").unwrap();
        fs::write(path.join("dir/a/b/file"), "").unwrap();
        symlink(path.join("kept"), path.join("dir/a/link")).unwrap();
        target.remove_entry(b"dir").unwrap();
        assert!(!path.join("dir").exists());
        assert!(path.join("kept/file").exists());

        fs::create_dir_all(path.join("dir/mounted")).unwrap();
        let mounted = path.join("dir/mounted");
        let mount = Command::new("mount").arg("--bind").args([&path.join("kept"), &mounted]).status();
        assert!(mount.expect("needs `mount`").success(), "needs the right to mount: run it as root");
        let removed = target.remove_entry(b"dir");
        assert!(Command::new("umount").arg(&mounted).status().unwrap().success());
        assert_eq!(errno(&removed.unwrap_err()), Some(Errno::BUSY.raw_os_error()));
        assert!(path.join("kept/file").exists());
    });
}

#[test]
fn setuid_is_withheld_where_the_owner_could_not_be_set() {
    check(|target, path| {
        fs::write(path.join("file"), "").unwrap();
        let file = target.open_file(b"file").unwrap();
        // A number that no kernel accepts as an owner.
        let owner = Some(Owner { uid: u32::MAX, gid: 0 });
        let problems =
            file.set_attributes(&Attributes { owner, mode: Some(0o7755), ..Attributes::default() });
        assert_eq!(problems.len(), 1);
        let mode = fs::metadata(path.join("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1755);
    });
}

#[test]
fn target_is_made_with_the_directories_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(path.join("true")).unwrap();
    fs::write(path.join("file"), "").unwrap();
    symlink("true", path.join("link")).unwrap();
    let target = TargetDir::create_without_links(bytes(&path.join("true/a/b"))).unwrap();
    assert!(path.join("true/a/b").is_dir());
    assert_eq!(target.path(), bytes(&path.join("true/a/b")));
    let error = TargetDir::create_without_links(bytes(&path.join("link/x"))).unwrap_err();
    assert!(error.to_string().contains("/link"), "{error}");
    assert!(TargetDir::create_without_links(bytes(&path.join("link"))).is_err());
    assert!(!path.join("true/x").exists());
    let target = TargetDir::create_resolved(bytes(&path.join("link/x/y/"))).unwrap();
    assert_eq!(target.path(), bytes(&path.join("true/x/y")));
    assert!(TargetDir::create_resolved(bytes(&path.join("file"))).is_err());
    assert!(TargetDir::create_resolved(bytes(&path.join("file/x"))).is_err());
    assert!(TargetDir::create_resolved(bytes(&path.join("none/../x"))).is_err());
}
