//! A backup of ours that stops at a call to its store, and what restic says of what it leaves.
//!
//! That every stop is harmless the engine's own tests hold for each call; restic is asked for a sample of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use pillion_backend::ErrorKind;
use pillion_backend::fault::{Fault, Rule};
use pillion_backend::mem::Mem;
use pillion_repository::Error;
use pillion_repository::backup::Report;
use pillion_repository::format::id::Id;

use crate::forest::{assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

/// Stops of each form, spread over the run from its first call to its last.
const SAMPLES: u64 = 8;

/// A repository with two snapshots, and a source that has changed since.
struct Changed {
    store: Mem,
    source: tempfile::TempDir,
    older: Vec<(Id, BTreeMap<Vec<u8>, String>)>,
}

impl Changed {
    fn new() -> Self {
        let store = ours::in_memory(&restic::Repository::create());
        let mut changed = Self { store, source: tempfile::tempdir().unwrap(), older: Vec::new() };
        for version in 0..3 {
            let mut random = fastrand::Rng::with_seed(version);
            let mut write = |name: &str, size_bytes: usize| {
                let path = changed.source.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size_bytes).collect();
                fs::write(path, bytes).unwrap();
            };
            write("large", 2 << 20);
            write("dir/small", 1000);
            write(&format!("new-{version}/file"), 300_000);
            if version < 2 {
                let report = changed.back_up(changed.store.clone()).unwrap();
                changed.older.push((report.snapshot_id.unwrap(), picture(changed.source.path())));
            }
        }
        changed
    }

    fn back_up(&self, backend: impl pillion_backend::Backend) -> Result<Report, Error> {
        // So small that there are several packs, and an index before the last.
        let small_packs = |settings: &mut pillion_repository::repository::Settings| {
            settings.pack_size_bytes = 256 << 10;
        };
        let ours = ours::open_with(backend, restic::PASSWORD, small_packs)?;
        ours::try_backup(&ours, &ours::options(self.source.path()))
    }

    fn assert_restores(&self, repository: &Path, snapshot: &Id, expected: &BTreeMap<Vec<u8>, String>) {
        let target = tempfile::tempdir().unwrap();
        let from = format!("{snapshot}:{}", self.source.path().display());
        let to = target.path().to_str().unwrap();
        run(restic::command(repository, Path::new("/")).args(["restore", &from, "--target", to]));
        assert_same_picture(expected, &picture(target.path()));
    }

    /// What the stopped run left is whole to restic, with every older snapshot; so it is after the next run.
    fn assert_harmless(&self, store: &Mem) {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path();
        ours::write_out(store, repository);
        let restic = |arguments: &[&str]| run(restic::command(repository, Path::new("/")).args(arguments));
        // Of a process that ended the lock stays.
        restic(&["unlock", "--remove-all"]);
        restic(&["check", "--read-data"]);
        for (snapshot, expected) in &self.older {
            self.assert_restores(repository, snapshot, expected);
        }
        let next = self.back_up(ours::local(repository)).unwrap();
        restic(&["check", "--read-data"]);
        self.assert_restores(repository, &next.snapshot_id.unwrap(), &picture(self.source.path()));
    }
}

fn check(rule: fn(u64) -> Rule) {
    let changed = Changed::new();
    let counted = Arc::new(Fault::new(changed.store.duplicate()));
    changed.back_up(Arc::clone(&counted)).unwrap();
    let calls = counted.count();
    assert!(calls > 2 * SAMPLES, "a run makes more calls than {calls}");
    for sample in 0..SAMPLES {
        let n = 1 + sample * (calls - 1) / (SAMPLES - 1);
        let store = changed.store.duplicate();
        let faulty = Arc::new(Fault::new(store.clone()));
        faulty.add(rule(n));
        let result = changed.back_up(Arc::clone(&faulty));
        let made = faulty.calls();
        let stop = made.get(n as usize - 1).map(ToString::to_string).unwrap_or_default();
        println!("call {n} of {calls} ({stop}): {:?}", result.as_ref().map(|report| report.snapshot_id));
        changed.assert_harmless(&store);
    }
}

#[test]
fn what_a_run_leaves_that_ends_at_a_store_call_is_whole_to_restic() {
    check(|n| Rule::from_nth(n).fails(ErrorKind::Unavailable));
}

#[test]
fn what_a_run_leaves_whose_store_call_fails_is_whole_to_restic() {
    check(|n| Rule::nth(n).fails(ErrorKind::Unavailable));
}
