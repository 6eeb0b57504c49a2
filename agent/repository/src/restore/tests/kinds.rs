//! Every kind of entry comes back as what it was.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::super::*;
use super::fixture::{Fixture, assert_same, look, noise};

/// One of each, in directories that do not allow it and with times long ago.
fn fill(fixture: &Fixture) {
    let source = fixture.source();
    fixture.write("a/small", b"hello");
    fixture.write("a/empty", b"");
    fixture.write("a/large", &noise(1, 5 << 20));
    fixture.write("a/same-blobs", &noise(1, 5 << 20));
    fixture.write("b/setuid", b"#!");
    fs::create_dir_all(source.join("empty/deeper")).unwrap();
    fs::hard_link(source.join("a/small"), source.join("b/link")).unwrap();
    fs::hard_link(source.join("a/large"), source.join("0-first-of-large")).unwrap();
    symlink("/nowhere/\u{e4}", source.join("b/symlink")).unwrap();
    for (name, kind, number) in [
        ("b/pipe", FileType::Fifo, 0),
        ("b/null", FileType::CharacterDevice, makedev(1, 3)),
        ("b/disk", FileType::BlockDevice, makedev(259, 300_000)),
    ] {
        mknodat(CWD, source.join(name), kind, Mode::RUSR, number).unwrap();
    }
    std::os::unix::fs::chown(source.join("b/setuid"), Some(1234), Some(5678)).unwrap();
    std::os::unix::fs::lchown(source.join("b/symlink"), Some(12), Some(34)).unwrap();
    fs::set_permissions(source.join("b/setuid"), fs::Permissions::from_mode(0o6751)).unwrap();
    setxattr(source.join("a/small"), "user.note", b"text", XattrFlags::empty()).unwrap();
    setxattr(source.join("a"), "user.note", b"on a directory", XattrFlags::empty()).unwrap();
    let default_acl: Vec<u8> = [(1u16, 7u16), (4, 5), (0x20, 0)]
        .iter()
        .flat_map(|(tag, rights)| [tag.to_le_bytes(), rights.to_le_bytes(), [0xff; 2], [0xff; 2]].concat())
        .collect();
    let default_acl = [&2u32.to_le_bytes()[..], &default_acl].concat();
    setxattr(source.join("a"), "system.posix_acl_default", &default_acl, XattrFlags::empty()).unwrap();
    let old = UNIX_EPOCH - Duration::new(77, 5);
    File::open(source.join("a/small")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(source.join("empty"), fs::Permissions::from_mode(0o41_500)).unwrap();
    File::open(source.join("empty")).unwrap().set_modified(old).unwrap();
}

#[test]
fn every_kind_of_entry_comes_back_as_it_was() {
    let fixture = Fixture::new();
    fill(&fixture);
    let mut options = fixture.options(&fixture.backup());
    options.verify = true;
    let report = fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
    let entries = look(&fixture.source()).len() as u64;
    assert_eq!((report.files_total, report.files_restored), (entries, entries));
    assert_eq!(report.bytes_total, 5 + 2 + 2 * (5 << 20));
    assert_eq!(report.bytes_restored, report.bytes_total);
    assert_eq!(report.files_verified, Some(5), "second names are not read again");

    let again = fixture.restore_whole(&options);
    assert_eq!((again.files_skipped, again.bytes_restored), (5, 0), "what is right is left");
    assert_same(&fixture.target(), &fixture.source());
}

#[test]
fn what_lends_out_rights_is_left_out_on_request() {
    let fixture = Fixture::new();
    fill(&fixture);
    let mut options = fixture.options(&fixture.backup());
    options.special = Special::LeftOut;
    fixture.restore_whole(&options);
    let mut expected = look(&fixture.source());
    expected.remove(&b"b/null"[..]).unwrap();
    expected.remove(&b"b/disk"[..]).unwrap();
    let mut found = look(&fixture.target());
    assert_eq!(found[&b"b/setuid"[..]].mode, 0o100_751);
    found.remove(&b"b/setuid"[..]);
    expected.remove(&b"b/setuid"[..]);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected);
}

#[test]
fn owners_may_be_looked_up_by_name() {
    let fixture = Fixture::new();
    fixture.write("known", b"1");
    fixture.write("unknown", b"2");
    let source = fixture.source();
    std::os::unix::fs::chown(source.join("known"), Some(1), Some(1)).unwrap();
    std::os::unix::fs::chown(source.join("unknown"), Some(987_654), Some(987_654)).unwrap();
    let mut options = fixture.options(&fixture.backup());
    options.ownership = Ownership::ByName;
    fixture.restore_whole(&options);
    let owner = |name: &str| {
        fs::metadata(fixture.target().join(name)).map(|found| (found.uid(), found.gid())).unwrap()
    };
    assert_eq!(owner("known"), (1, 1));
    assert_eq!(owner("unknown"), (0, 0), "as restic does");
}

#[test]
fn holes_come_back_as_holes() {
    let fixture = Fixture::new();
    let path = fixture.source().join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(300 << 20).unwrap();
    file.write_all_at(&noise(3, 100_000), 123 << 20).unwrap();
    // Zeros that take space, and an old file with other content in the way.
    fixture.write("zeros", &vec![0; 3 << 20]);
    fixture.write("tail", &[&noise(4, 10_000)[..], &vec![0; 200_000]].concat());
    let options = fixture.options(&fixture.backup());
    super::fixture::write(&fixture.target().join("sparse"), &noise(5, 4 << 20));
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
    let taken = |name: &str| fs::metadata(fixture.target().join(name)).unwrap().blocks() * 512;
    assert!(taken("sparse") < 1 << 20, "{} bytes", taken("sparse"));
    assert_eq!(taken("zeros"), 0);
    assert!(taken("tail") <= 16 << 10, "{} bytes", taken("tail"));
}

#[test]
fn part_of_a_snapshot_is_restored_with_what_leads_to_it() {
    use crate::filter::PatternOptions;

    let fixture = Fixture::new();
    fill(&fixture);
    let snapshot = fixture.backup();
    let patterns =
        |pattern: &str| PatternOptions { patterns: vec![pattern.into()], ..PatternOptions::default() };
    let none = PatternOptions::default();
    let check = |path: &str, select: RestoreSelect, expected: &[&str]| {
        let mut options = fixture.options(&snapshot);
        options.path.extend_from_slice(path.as_bytes());
        options.select = select;
        options.verify = true;
        fixture.restore_whole(&options);
        let found: Vec<_> = look(&fixture.target()).into_keys().collect();
        assert_eq!(found, expected.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>());
        fs::remove_dir_all(fixture.target()).unwrap();
    };
    check("/empty", RestoreSelect::Everything, &["deeper"]);
    check("", RestoreSelect::parse(&patterns("small"), &none).unwrap(), &["a", "a/small"]);
    check("", RestoreSelect::parse(&patterns("/b/l*"), &none).unwrap(), &["b", "b/link"]);
    check("", RestoreSelect::parse(&none, &patterns("[ab0]*")).unwrap(), &["empty", "empty/deeper"]);
    let mut options = fixture.options(&snapshot);
    options.path = b"/none".to_vec();
    assert!(fixture.restore(&options).unwrap_err().to_string().contains("/none in the snapshot: not found"));
}
