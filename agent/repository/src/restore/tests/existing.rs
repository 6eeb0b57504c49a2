//! What a target has already: policies, deletion, things in the way.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use pillion_backend::FileKind;

use super::super::*;
use super::fixture::{Fixture, Told, assert_same, look, noise, write};
use crate::event::Change;

/// One file of the source was changed in the target in each way there is.
#[test]
fn each_policy_decides_as_restic_does() {
    use Overwrite::*;

    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let check = |overwrite: Overwrite, restored: &[&str], skipped: u64| {
        let fixture = Fixture::new();
        for name in ["same", "same-time", "newer", "older", "absent"] {
            fixture.write(name, b"stored");
            File::open(fixture.source().join(name)).unwrap().set_modified(time(1000)).unwrap();
        }
        let mut options = fixture.options(&fixture.backup());
        for (name, content, seconds) in [
            ("same", "stored", 900),
            ("same-time", "STORED", 1000),
            ("newer", "newer", 1001),
            ("older", "older", 999),
        ] {
            let path = fixture.target().join(name);
            write(&path, content.as_bytes());
            File::open(&path).unwrap().set_modified(time(seconds)).unwrap();
        }
        options.overwrite = overwrite;
        let report = fixture.restore_whole(&options);
        for name in ["same", "same-time", "newer", "older", "absent"] {
            let path = fixture.target().join(name);
            let is_restored =
                fs::read(&path).unwrap() == b"stored" && fs::metadata(&path).unwrap().mtime() == 1000;
            assert_eq!(is_restored, restored.contains(&name), "{name} with {overwrite:?}");
        }
        assert_eq!(report.files_skipped, skipped, "{overwrite:?}");
    };
    check(Always, &["same", "same-time", "newer", "older", "absent"], 1);
    check(IfChanged, &["same", "newer", "older", "absent"], 2);
    check(IfNewer, &["same", "older", "absent"], 3);
    check(Never, &["absent"], 4);
}

#[test]
fn only_the_blobs_that_differ_are_loaded() {
    let fixture = Fixture::new();
    let content = noise(1, 16 << 20);
    fixture.write("disk", &content);
    let options = fixture.options(&fixture.backup());
    let mut changed = content;
    changed[9 << 20] ^= 1;
    changed.truncate(15 << 20);
    write(&fixture.target().join("disk"), &changed);
    let before = fs::metadata(fixture.target().join("disk")).unwrap().ino();
    fixture.backend.forget_calls();
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
    assert_ne!(fs::metadata(fixture.target().join("disk")).unwrap().ino(), before, "it was written aside");
    let packs_read = fixture.backend.calls().iter().filter(|call| call.kind == Some(FileKind::Pack)).count();
    let blobs = fixture.blobs(crate::format::blob::BlobKind::Data).len();
    assert!(packs_read < blobs, "{packs_read} reads for {blobs} blobs, trees included");
}

#[test]
fn only_what_is_not_in_the_snapshot_is_deleted() {
    let fixture = Fixture::new();
    fixture.write("dir/kept", b"1");
    let mut options = fixture.options(&fixture.backup());
    let outside = fixture.path.join("outside");
    write(&outside.join("secret"), b"s");
    for name in ["more/deep/file", "dir/more", "dir/.pillion-restore"] {
        write(&fixture.target().join(name), b"x");
    }
    symlink(&outside, fixture.target().join("link")).unwrap();
    let before = look(&fixture.target());
    (options.delete, options.dry_run) = (true, true);
    let dry = fixture.restore(&options).unwrap();
    assert_eq!(look(&fixture.target()), before, "a dry run changes nothing");
    options.dry_run = false;
    let report = fixture.restore_whole(&options);
    assert_eq!((dry.files_deleted, report.files_deleted), (6, 6));
    assert_same(&fixture.target(), &fixture.source());
    assert!(outside.join("secret").exists());
}

#[test]
fn things_in_the_way_are_replaced_and_links_not_followed() {
    let fixture = Fixture::new();
    let outside = fixture.path.join("outside");
    write(&outside.join("secret"), b"s");
    fixture.write("dir/file", b"1");
    fixture.write("file", b"2");
    fixture.write("large", &noise(1, 3 << 20));
    fixture.write("blocked", b"3");
    symlink("x", fixture.source().join("link")).unwrap();
    fs::hard_link(fixture.source().join("file"), fixture.source().join("second")).unwrap();
    let mut options = fixture.options(&fixture.backup());
    let target = fixture.target();
    symlink(&outside, target.join("dir")).unwrap();
    symlink(outside.join("secret"), target.join("file")).unwrap();
    symlink(outside.join("secret"), target.join("second")).unwrap();
    symlink(outside.join("new"), target.join("large")).unwrap();
    fs::create_dir(target.join("link")).unwrap();
    write(&target.join("blocked/inside"), b"x");
    let told = Told::default();
    let report = restore(&fixture.repository, &options, &told, &Progress::default()).unwrap();
    assert_eq!(report.errors, 1);
    assert!(told.problems()[0].starts_with("/blocked: "), "{:?}", told.problems());
    assert!(told.warnings()[0].contains("/target/.pillion-restore stays"), "{:?}", told.warnings());
    assert!(fixture.marker().exists());
    options.delete = true;
    fixture.restore_whole(&options);
    assert_same(&target, &fixture.source());
    assert_eq!(look(&outside).len(), 1);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"s");
}

#[test]
fn every_entry_is_told_once() {
    let fixture = Fixture::new();
    fixture.write("dir/new", b"1");
    fixture.write("dir/old", b"2");
    fixture.write("dir/same", b"3");
    let mut options = fixture.options(&fixture.backup());
    write(&fixture.target().join("dir/old"), b"other");
    write(&fixture.target().join("dir/same"), b"3");
    write(&fixture.target().join("more"), b"");
    options.delete = true;
    let told = Told::default();
    restore(&fixture.repository, &options, &told, &Progress::default()).unwrap();
    let more = format!("{}/more", fixture.target().display());
    let mut expected = vec![
        ("/dir".to_owned(), Change::Restored),
        ("/dir/new".to_owned(), Change::Restored),
        ("/dir/old".to_owned(), Change::Updated),
        ("/dir/same".to_owned(), Change::Unchanged),
        (more, Change::Deleted),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told.items(), expected);
}
