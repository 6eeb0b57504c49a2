//! A backup of ours that stops at a call to its store, and what restic says of what it leaves.
//!
//! That every stop is harmless the engine's own tests hold for each call; restic is asked for a sample of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pillion_backend::fault::{Fault, Rule};
use pillion_backend::mem::Mem;
use pillion_backend::{ErrorKind, FileKind, Operation};
use pillion_repository::Error;
use pillion_repository::backup::Report;
use pillion_repository::format::id::Id;

use crate::forest::{assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

/// The calls at which runs stop, from the first to the last: the operation, the kind of file, and which of them.
const STOPS: [(Operation, FileKind, u64); 10] = [
    (Operation::Load, FileKind::Config, 1),
    (Operation::Save, FileKind::Lock, 1),
    (Operation::Load, FileKind::Snapshot, 2),
    (Operation::Load, FileKind::Index, 1),
    (Operation::Load, FileKind::Pack, 1),
    (Operation::Save, FileKind::Pack, 1),
    (Operation::Save, FileKind::Pack, 3),
    (Operation::Save, FileKind::Index, 1),
    (Operation::Save, FileKind::Snapshot, 1),
    (Operation::Remove, FileKind::Lock, 1),
];

#[derive(Clone, Copy, Debug)]
enum Form {
    /// The call fails, and no other.
    Fails,
    /// Neither it nor any later one has an effect.
    Ends,
}

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

fn check(form: Form) {
    let changed = Changed::new();
    for (operation, kind, number) in STOPS {
        let stop = format!("{form:?} at {operation} {} {number}", kind.noun());
        println!("{stop}");
        let store = changed.store.duplicate();
        let faulty = Arc::new(Fault::new(store.clone()));
        let about = Rule::nth(number).of(operation).on(kind);
        faulty.add(about.fails(ErrorKind::Unavailable));
        let (later, counted) = (Arc::downgrade(&faulty), AtomicU64::new(0));
        faulty.before_each(move |call| {
            let is_meant = call.operation == operation && call.kind == Some(kind);
            let is_now = is_meant && counted.fetch_add(1, Ordering::SeqCst) + 1 == number;
            if let (true, Form::Ends, Some(faulty)) = (is_now, form, later.upgrade()) {
                faulty.add(Rule::from_nth(1).fails(ErrorKind::Unavailable));
            }
            std::future::ready(())
        });
        let result = changed.back_up(Arc::clone(&faulty));
        assert!(faulty.calls().iter().any(|call| call.failed.is_some()), "{stop}: a run makes that call");
        // What could not be written is told; a parent's tree that could not be read is read from the source instead.
        assert!(result.is_err() || !matches!((operation, kind), (Operation::Save, _)), "{stop}");
        changed.assert_harmless(&store);
    }
}

#[test]
fn what_a_run_leaves_that_ends_at_a_store_call_is_whole_to_restic() {
    check(Form::Ends);
}

#[test]
fn what_a_run_leaves_whose_store_call_fails_is_whole_to_restic() {
    check(Form::Fails);
}
