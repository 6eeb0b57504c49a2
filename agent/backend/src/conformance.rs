//! The contract of [`Backend`] as tests: every backend and every wrapper passes [`check`].
//!
//! Runs inside a tokio runtime; on one with several threads the concurrent calls truly run side by side. Panics
//! with a sentence at the first thing that is not as the contract says. Must never ask for more than the contract:
//! what a store answers faster or in better order than it must is its own affair.

mod concurrent;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::{Backend, Body, Entry, ErrorKind, FileKind, FileName, Result};

const MIB: usize = 1 << 20;

/// More names than any store lists in one answer (1,000 to 5,000), so that a list has to go on.
const MANY_NAMES: u64 = 5_100;

/// Checks that `backend` holds the contract. It must be empty and not yet created; it is left with its config only.
pub async fn check(backend: Arc<dyn Backend>) {
    nothing_is_there_before_anything_is_saved(&*backend).await;
    creating_twice_is_creating_once(&*backend).await;
    nothing_is_there_before_anything_is_saved(&*backend).await;
    what_is_saved_is_loaded(&*backend).await;
    more_bytes_than_the_caller_takes_are_not_loaded(&*backend).await;
    ranges_are_exact(&*backend).await;
    a_second_save_replaces_the_whole_file(&*backend).await;
    unusable_bodies_are_refused(&*backend).await;
    a_new_file_never_replaces_one(&*backend).await;
    removing_is_whole_and_may_be_repeated(&*backend).await;
    kinds_are_kept_apart(&*backend).await;
    concurrent::calls_for_one_file_are_each_whole(&backend).await;
    concurrent::of_many_new_files_of_one_name_one_wins(&backend).await;
    concurrent::dropped_calls_are_whole_or_nothing(&backend).await;
    concurrent::many_names_are_listed(&backend).await;
    // A busy store may have taken its time with what was dropped; by now it has had enough.
    concurrent::nothing_comes_after(&*backend, FileKind::Snapshot).await;
    the_config_is_listed_as_itself(&*backend).await;
}

/// A name of a kind, well spread over the folders of packs.
fn name(kind: FileKind, number: u64) -> FileName {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    FileName::new(kind, &format!("{spread:016x}{:032x}{number:016x}", 0)).expect("64 hex digits")
}

/// Bytes that differ from place to place and from seed to seed, so that no piece passes for another.
fn bytes(seed: u64, size_bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size_bytes];
    random.fill(&mut bytes);
    bytes.into()
}

fn must<T>(doing: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{doing} must succeed, but: {error}"))
}

fn must_fail<T>(doing: &str, expected: ErrorKind, result: Result<T>) {
    match result {
        Ok(_) => panic!("{doing} must fail as {expected:?}, but it succeeded"),
        Err(error) => {
            assert!(
                error.kind == expected,
                "{doing} must fail as {expected:?}, but: {:?}: {error}",
                error.kind
            );
        }
    }
}

/// What a kind lists; no name twice, and nothing of another kind.
async fn listed(backend: &dyn Backend, kind: FileKind) -> BTreeMap<FileName, u64> {
    let entries: Vec<Entry> = must("a list", backend.list(kind).try_collect().await);
    let mut files = BTreeMap::new();
    for entry in entries {
        assert!(entry.file.kind() == kind, "a list of {kind:?} holds {:?}", entry.file);
        let twice = files.insert(entry.file.clone(), entry.size_bytes);
        assert!(twice.is_none(), "a list holds {:?} twice", entry.file);
    }
    files
}

async fn nothing_is_there_before_anything_is_saved(backend: &dyn Backend) {
    for kind in FileKind::ALL {
        assert!(listed(backend, kind).await.is_empty(), "an empty store lists files of {kind:?}");
    }
    for file in [FileName::config(), name(FileKind::Key, 1), name(FileKind::Pack, 1)] {
        let missing = ErrorKind::NotFound;
        must_fail("stat of a file that is not there", missing, backend.stat(&file).await);
        must_fail("load of a file that is not there", missing, backend.load(&file, u64::MAX).await);
        for range in [0..0, 0..1, u64::MAX - 1..u64::MAX] {
            let result = backend.load_range(&file, range).await;
            must_fail("load of a range of a file that is not there", missing, result);
        }
        must("remove of a file that is not there", backend.remove(&file).await);
    }
}

async fn creating_twice_is_creating_once(backend: &dyn Backend) {
    must("the first create", backend.create().await);
    must("the second create", backend.create().await);
    let file = name(FileKind::Key, 2);
    must("a save", backend.save(&file, Body::Bytes(bytes(2, 100))).await);
    must("create of a store that holds files", backend.create().await);
    assert!(must("a load", backend.load(&file, u64::MAX).await) == bytes(2, 100), "create changed a file");
    must("a remove", backend.remove(&file).await);
}

async fn what_is_saved_is_loaded(backend: &dyn Backend) {
    let folder = BodyFolder::new();
    for (number, size_bytes) in [0, 1, 4_095, 65_537, MIB, 17 * MIB].into_iter().enumerate() {
        let number = number as u64;
        let expected = bytes(number, size_bytes);
        let bodies = [Body::Bytes(expected.clone()), folder.body(&number.to_string(), &expected)];
        for (body, kind) in bodies.into_iter().zip([FileKind::Pack, FileKind::Index]) {
            let file = name(kind, 10 + number);
            must("a save", backend.save(&file, body).await);
            let entry = must("stat of what was saved", backend.stat(&file).await);
            assert!(entry.file == file, "stat of {file:?} tells of {:?}", entry.file);
            assert!(
                entry.size_bytes == size_bytes as u64,
                "stat tells {} of {size_bytes} bytes",
                entry.size_bytes
            );
            let loaded = must("load of what was saved", backend.load(&file, size_bytes as u64).await);
            assert!(
                loaded == expected,
                "a file of {size_bytes} bytes is loaded with other bytes than were saved"
            );
            must("a remove", backend.remove(&file).await);
        }
        folder.must_hold(&number.to_string(), &expected);
    }
}

async fn more_bytes_than_the_caller_takes_are_not_loaded(backend: &dyn Backend) {
    let file = name(FileKind::Snapshot, 25);
    must("a save", backend.save(&file, Body::Bytes(bytes(25, 1_000))).await);
    for max_bytes in [0, 1, 999] {
        let loaded = backend.load(&file, max_bytes).await;
        must_fail("load of a file that is too large", ErrorKind::TooLarge, loaded);
    }
    must("a remove", backend.remove(&file).await);
}

async fn ranges_are_exact(backend: &dyn Backend) {
    let file = name(FileKind::Pack, 20);
    let whole = bytes(20, MIB + 11);
    let size_bytes = whole.len() as u64;
    must("a save", backend.save(&file, Body::Bytes(whole.clone())).await);
    let inside: [Range<u64>; 9] = [
        0..0,
        0..1,
        0..size_bytes,
        1..17,
        4_095..4_097,
        77..size_bytes - 77,
        size_bytes - 1..size_bytes,
        size_bytes / 2..size_bytes / 2,
        size_bytes..size_bytes,
    ];
    for range in inside {
        let loaded = must("load of a range inside the file", backend.load_range(&file, range.clone()).await);
        let expected = &whole[range.start as usize..range.end as usize];
        assert!(loaded == expected, "the range {range:?} of {size_bytes} bytes is loaded with other bytes");
    }
    let outside: [Range<u64>; 6] = [
        0..size_bytes + 1,
        size_bytes - 1..size_bytes + 1,
        size_bytes..size_bytes + 1,
        size_bytes + 1..size_bytes + 1,
        0..u64::MAX,
        Range { start: 5, end: 4 },
    ];
    for range in outside {
        let doing = format!("load of the range {range:?} of {size_bytes} bytes");
        must_fail(&doing, ErrorKind::OutOfRange, backend.load_range(&file, range).await);
    }
    must("a remove", backend.remove(&file).await);
}

async fn a_second_save_replaces_the_whole_file(backend: &dyn Backend) {
    let folder = BodyFolder::new();
    let file = name(FileKind::Snapshot, 30);
    for (seed, size_bytes) in [(1, 1_000), (2, 1_000), (3, 5_000), (4, 10), (5, 0), (6, 1)] {
        let expected = bytes(seed, size_bytes);
        must("a save over a file", backend.save(&file, folder.body("replacing", &expected)).await);
        assert!(
            must("a load", backend.load(&file, u64::MAX).await) == expected,
            "a saved file was not replaced as a whole"
        );
        must("a save over a file", backend.save(&file, Body::Bytes(expected.clone())).await);
        assert!(
            must("a load", backend.load(&file, u64::MAX).await) == expected,
            "a saved file was not replaced as a whole"
        );
        folder.remove("replacing");
    }
    let twice = folder.body("twice", &bytes(7, 300));
    must("a save", backend.save(&file, twice.clone()).await);
    must("the same save again", backend.save(&file, twice.clone()).await);
    must("the same file under another name", backend.save(&name(FileKind::Snapshot, 31), twice).await);
    folder.remove("twice");
    for file in [file, name(FileKind::Snapshot, 31)] {
        let loaded = must("load after the body was removed", backend.load(&file, u64::MAX).await);
        assert!(loaded == bytes(7, 300), "a file that was saved from a file changed when that was removed");
        must("a remove", backend.remove(&file).await);
    }
    assert!(listed(backend, FileKind::Snapshot).await.is_empty(), "saving left more than it was asked for");
}

async fn unusable_bodies_are_refused(backend: &dyn Backend) {
    let folder = BodyFolder::new();
    let file = name(FileKind::Index, 40);
    must("a save", backend.save(&file, Body::Bytes(bytes(40, 50))).await);
    for said_bytes in [99, 101] {
        folder.body("body", &bytes(1, 100));
        let body = Body::File { path: folder.path("body").into(), size_bytes: said_bytes, sha256: None };
        must_fail(
            "a save of a body of another size",
            ErrorKind::UnusableBody,
            backend.save(&file, body).await,
        );
        folder.remove("body");
    }
    let missing = Body::File { path: folder.path("missing").into(), size_bytes: 1, sha256: None };
    must_fail("a save of a missing body", ErrorKind::UnusableBody, backend.save(&file, missing).await);
    assert!(
        must("a load", backend.load(&file, u64::MAX).await) == bytes(40, 50),
        "a failed save changed the file"
    );
    must("a remove", backend.remove(&file).await);
}

async fn a_new_file_never_replaces_one(backend: &dyn Backend) {
    let folder = BodyFolder::new();
    let file = name(FileKind::Key, 50);
    if !backend.can_save_new() {
        let result = backend.save_new(&file, Body::Bytes(bytes(1, 9))).await;
        must_fail("save_new where the store cannot", ErrorKind::Unsupported, result);
        must_fail("a load", ErrorKind::NotFound, backend.load(&file, u64::MAX).await);
        return;
    }
    must("the first save_new", backend.save_new(&file, folder.body("first", &bytes(1, 300))).await);
    for other in [Body::Bytes(bytes(2, 300)), folder.body("second", &bytes(2, 300))] {
        let result = backend.save_new(&file, other).await;
        must_fail("save_new of a name that exists", ErrorKind::AlreadyExists, result);
    }
    let result = backend.save_new(&file, Body::Bytes(bytes(1, 300))).await;
    must_fail("save_new of the very same bytes", ErrorKind::AlreadyExists, result);
    let first = folder.body("first", &bytes(1, 300));
    must_fail("save_new of the same file", ErrorKind::AlreadyExists, backend.save_new(&file, first).await);
    assert!(
        must("a load", backend.load(&file, u64::MAX).await) == bytes(1, 300),
        "save_new changed a file that was there"
    );
    assert!(listed(backend, FileKind::Key).await.len() == 1, "a failed save_new left something");
    must("a remove", backend.remove(&file).await);
    must("save_new after a remove", backend.save_new(&file, Body::Bytes(bytes(3, 1))).await);
    must("a remove", backend.remove(&file).await);
}

async fn removing_is_whole_and_may_be_repeated(backend: &dyn Backend) {
    let file = name(FileKind::Lock, 60);
    let other = name(FileKind::Lock, 61);
    must("a save", backend.save(&file, Body::Bytes(bytes(1, 40))).await);
    must("a save", backend.save(&other, Body::Bytes(bytes(2, 40))).await);
    must("a remove", backend.remove(&file).await);
    must("the remove again", backend.remove(&file).await);
    must_fail("stat of what was removed", ErrorKind::NotFound, backend.stat(&file).await);
    must_fail("load of what was removed", ErrorKind::NotFound, backend.load(&file, u64::MAX).await);
    let left: Vec<_> = listed(backend, FileKind::Lock).await.into_keys().collect();
    assert!(left == [other.clone()], "after a remove the list holds {left:?}");
    must("a remove", backend.remove(&other).await);
}

async fn kinds_are_kept_apart(backend: &dyn Backend) {
    let kinds = FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config);
    for (seed, kind) in kinds.clone().enumerate() {
        must("a save", backend.save(&name(kind, 70), Body::Bytes(bytes(seed as u64, 70 + seed))).await);
    }
    for (seed, kind) in kinds.enumerate() {
        let file = name(kind, 70);
        let loaded = must("a load", backend.load(&file, u64::MAX).await);
        assert!(loaded == bytes(seed as u64, 70 + seed), "{file:?} has the bytes of another kind's file");
        let found = listed(backend, kind).await;
        assert!(
            found == BTreeMap::from([(file.clone(), 70 + seed as u64)]),
            "the list of {kind:?} holds {found:?}"
        );
        must("a remove", backend.remove(&file).await);
    }
}

async fn the_config_is_listed_as_itself(backend: &dyn Backend) {
    let config = FileName::config();
    must("a save of the config", backend.save(&config, Body::Bytes(bytes(80, 155))).await);
    let found = listed(backend, FileKind::Config).await;
    assert!(found == BTreeMap::from([(config.clone(), 155)]), "the list of configs holds {found:?}");
    assert!(
        must("a load of the config", backend.load(&config, u64::MAX).await) == bytes(80, 155),
        "the config changed"
    );
    for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config) {
        assert!(listed(backend, kind).await.is_empty(), "files of {kind:?} are left where all were removed");
    }
}

/// A folder for bodies that are files, gone when dropped.
struct BodyFolder(PathBuf);

impl BodyFolder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pillion-conformance-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A new file, under a name that an earlier body of the same name may still be known by.
    fn body(&self, name: &str, bytes: &Bytes) -> Body {
        self.remove(name);
        let path = self.path(name);
        std::fs::write(&path, bytes)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        Body::File { path: Arc::from(Path::new(&path)), size_bytes: bytes.len() as u64, sha256: None }
    }

    fn remove(&self, name: &str) {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("cannot remove {name}: {error}")
            }
            _ => {}
        }
    }

    fn must_hold(&self, name: &str, bytes: &Bytes) {
        let found = std::fs::read(self.path(name));
        assert!(found.is_ok_and(|found| found == *bytes), "saving a file changed its bytes or its name");
    }
}

impl Drop for BodyFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
