//! A damaged repository: what is whole comes back, what is not is named.

use pillion_backend::{Backend, Body, FileKind};

use super::super::*;
use super::fixture::{Fixture, Told, assert_same, look, noise};
use crate::format::blob::BlobKind;
use crate::format::index;
use crate::store::file_name;

/// Twenty files, the blob of one of them (and of its twin) broken.
fn broken() -> (Fixture, Options) {
    let fixture = Fixture::new();
    for number in 0..20 {
        fixture.write(&format!("dir/{number:02}"), &noise(number, 10_000));
    }
    fixture.write("twin", &noise(7, 10_000));
    let large = [noise(7, 10_000), noise(100, 3 << 20)].concat();
    fixture.write("large", &large);
    let options = fixture.options(&fixture.backup());
    let id = Id::of(&noise(7, 10_000));
    let blobs = fixture.blobs(BlobKind::Data);
    let (pack, blob) = blobs.iter().find(|(_, blob)| blob.id == id).unwrap();
    let name = file_name(FileKind::Pack, pack);
    fixture.backend.inner().damage(&name, |bytes| bytes[blob.offset as usize + 50] ^= 1);
    (fixture, options)
}

#[test]
fn files_of_a_broken_blob_are_named_and_all_others_come_back() {
    let (fixture, options) = broken();
    let told = Told::default();
    let report = restore(&fixture.repository, &options, &told, &Progress::default()).unwrap();
    let mut problems = told.problems();
    problems.sort();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("/dir/07: data blob ") && problems[1].starts_with("/twin: data blob "));
    assert_eq!((report.errors, report.files_restored), (2, 21));
    let marker = fixture.marker().display().to_string();
    assert_eq!(report.marker, Some(marker));
    let found = look(&fixture.target());
    let missing = |name: &[u8]| !found.contains_key(name);
    assert!(missing(b"dir/07") && missing(b"twin"), "nothing half-made has a true name");
    assert!(found.keys().all(|name| !name.ends_with(b"part")), "{:?}", found.keys());
    assert_eq!(found.len(), look(&fixture.source()).len() - 2 + 1, "the rest, and the marker");
}

#[test]
fn another_copy_of_a_broken_blob_is_found() {
    let (fixture, options) = broken();
    let id = Id::of(&noise(7, 10_000));
    let (pack, mut blob) = fixture.blobs(BlobKind::Data).into_iter().find(|(_, blob)| blob.id == id).unwrap();
    // The same blob as it was, in a pack of its own.
    let mut sealed = fixture.pack(&pack)[blob.offset as usize..][..blob.length as usize].to_vec();
    sealed[50] ^= 1;
    let copy = Id::of(&sealed);
    blob.offset = 0;
    let runtime = fixture.repository.store.runtime();
    let name = file_name(FileKind::Pack, &copy);
    runtime.block_on(fixture.backend.save(&name, Body::from(sealed))).unwrap();
    let mut json = Vec::new();
    index::encode([(copy, &[blob][..])], &mut json).unwrap();
    fixture.repository.save_file(FileKind::Index, &json).unwrap();
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
}

#[test]
fn a_missing_pack_costs_its_own_files_only() {
    let (fixture, options) = broken();
    let packs = fixture.blobs(BlobKind::Data);
    let pack = packs[0].0;
    let lost = packs.iter().filter(|(found, _)| *found == pack).count();
    fixture.backend.inner().remove_raw(&file_name(FileKind::Pack, &pack)).unwrap();
    let report = fixture.restore(&options).unwrap();
    assert!(report.errors >= 1 && lost >= 1);
    assert!(fixture.marker().exists());
}

#[test]
fn a_broken_tree_is_named_and_nothing_of_it_deleted() {
    let fixture = Fixture::new();
    fixture.write("bad/file", b"1");
    fixture.write("good/file", b"2");
    let mut options = fixture.options(&fixture.backup());
    let mut trees = BlobReader::new(&fixture.repository, &fixture.repository.load_index().unwrap().index);
    let root = snapshots::find_tree(&mut trees, &options.snapshot.tree, &options.path).unwrap();
    let bad = snapshots::find_tree(&mut trees, &root, b"bad").unwrap();
    let blobs = fixture.blobs(BlobKind::Tree);
    let (pack, blob) = blobs.iter().find(|(_, blob)| blob.id == bad).unwrap();
    let name = file_name(FileKind::Pack, pack);
    fixture.backend.inner().damage(&name, |bytes| bytes[blob.offset as usize + 40] ^= 1);
    super::fixture::write(&fixture.target().join("bad/here before"), b"x");
    super::fixture::write(&fixture.target().join("good/here before"), b"x");
    options.delete = true;
    let told = Told::default();
    let report = restore(&fixture.repository, &options, &told, &Progress::default()).unwrap();
    assert_eq!((report.errors, report.files_deleted), (1, 1));
    assert!(told.problems()[0].starts_with("/bad: tree blob "), "{:?}", told.problems());
    assert!(fixture.target().join("bad/here before").exists());
    assert!(fixture.target().join("good/file").exists());
}
