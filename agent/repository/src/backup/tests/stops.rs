//! A run that stops anywhere: the store fails once, or for ever, or answers into the void.

use std::collections::HashMap;

use pillion_backend::fault::{Call, Fault, Rule};
use pillion_backend::{ErrorKind, FileName, Operation};

use super::*;
use crate::format::{file, index as index_file};

/// A repository with one snapshot, and a source that has changed since.
pub(super) struct Changed {
    pub(super) bench: Bench,
    before: Tree,
    pub(super) after: Tree,
}

impl Changed {
    pub(super) fn new() -> Self {
        let bench = Bench::new();
        bench.script.file("/data/same", b"stays as it is").file("/data/dir/small", b"first");
        bench.script.file("/data/large", &noise(1, 1 << 20));
        bench.run();
        let before = bench.source();
        bench.script.advance(10);
        bench.script.write("/data/large", &noise(2, 2 << 20)).file("/data/new", &noise(3, 600 << 10));
        bench
            .script
            .write("/data/dir/small", b"second")
            .remove("/data/same")
            .file("/data/other/same", b"stays");
        let after = bench.source();
        Self { bench, before, after }
    }

    fn run_on(&self, backend: impl Backend) -> Result<Report> {
        backup_to(backend, &self.bench.options(), &Silent)
    }

    /// Nothing that was stored is lost, nothing refers to what is not there, and the next run goes on from here.
    fn assert_harmless(&self, store: &Mem, result: &Result<Report>, stop: &str) {
        let snapshots = assert_sound(store);
        assert_same(&snapshots[0].1.clone().remove_above("data"), &self.before);
        let saved = result.as_ref().is_ok_and(|report| report.snapshot_id.is_some());
        assert!(!saved || snapshots.len() == 2, "{stop}: the run says that it left a snapshot");
        for (_, tree) in snapshots.into_iter().skip(1) {
            assert_same(&tree.remove_above("data"), &self.after);
        }
        let named = blob_places(store);
        let report =
            self.run_on(store.clone()).unwrap_or_else(|e| panic!("{stop}: the next run failed: {e}"));
        let held = restored(&fixture::open(store.clone()), &report.snapshot.tree);
        assert_same(&held.remove_above("data"), &self.after);
        for (blob, places) in blob_places(store) {
            let stored_before = named.get(&blob).copied().unwrap_or(0);
            assert_eq!(places, stored_before.max(1), "{stop}: {blob:?} was stored again");
        }
    }
}

fn blob_places(store: &Mem) -> HashMap<(BlobKind, Id), usize> {
    let index = fixture::open(store.clone()).load_index().expect("the index can be read").index;
    let mut places = HashMap::new();
    for (kind, id, _) in index.iter() {
        *places.entry((kind, id)).or_default() += 1;
    }
    places
}

/// Runs with the rule that `rule` gives for every n, until a run ends before its rule strikes.
fn for_every_call(rule: impl Fn(u64) -> Rule) {
    let changed = Changed::new();
    for n in 1.. {
        let store = changed.bench.store.duplicate();
        let faulty = Arc::new(Fault::new(store.clone()));
        let repository = fixture::open(Arc::clone(&faulty));
        faulty.forget_calls();
        faulty.add(rule(n));
        let result = backup(&repository, &changed.bench.options(), &Silent, &Progress::default());
        let calls = faulty.calls();
        let stop =
            format!("call {n} ({})", calls.get(n as usize - 1).map(Call::to_string).unwrap_or_default());
        changed.assert_harmless(&store, &result, &stop);
        if (calls.len() as u64) < n {
            result.expect("nothing went wrong");
            assert!(n > 15, "the run makes more calls than that");
            return;
        }
    }
}

#[test]
fn a_stop_at_any_store_call_harms_nothing() {
    for_every_call(|n| Rule::from_nth(n).fails(ErrorKind::Unavailable));
}

#[test]
fn a_call_whose_answer_is_lost_harms_nothing() {
    for_every_call(|n| Rule::nth(n).fails_after_effect(ErrorKind::Unavailable));
    for_every_call(|n| Rule::from_nth(n).fails_after_effect(ErrorKind::Unavailable));
}

#[test]
fn a_call_that_fails_once_harms_nothing() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Full, ErrorKind::NotFound] {
        for_every_call(|n| Rule::nth(n).fails(kind));
    }
    for_every_call(|n| Rule::nth(n).breaks_off_after(1, ErrorKind::Unavailable));
}

#[test]
fn a_store_that_is_full_is_the_error_of_the_run() {
    let changed = Changed::new();
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let store = changed.bench.store.duplicate();
        let faulty = Fault::new(store);
        faulty.add(Rule::from_nth(1).of(Operation::Save).on(kind).fails(ErrorKind::Full));
        let failed = changed.run_on(faulty);
        assert!(
            matches!(&failed, Err(Error::Backend(e)) if e.kind == ErrorKind::Full),
            "{kind:?}: {failed:?}"
        );
    }
}

#[test]
fn an_upload_that_panics_ends_the_run() {
    let changed = Changed::new();
    let store = changed.bench.store.duplicate();
    let faulty = Arc::new(Fault::new(store.clone()));
    faulty.before_each(|call| async move {
        assert!(
            call.operation != Operation::Save || call.kind != Some(FileKind::Pack),
            "the test's script says so"
        );
    });
    let result = changed.run_on(faulty);
    assert!(result.is_err(), "{result:?}");
    changed.assert_harmless(&store, &result, "panic");
}

/// The names of the packs that an index file names.
fn packs_of(store: &Mem, file: &FileName) -> Vec<FileName> {
    let repository = fixture::open(store.clone());
    let json = file::decode(FileKind::Index, &store.files()[file], repository.key()).unwrap();
    let mut packs = Vec::new();
    index_file::decode(&json, &mut |pack, _| packs.push(crate::store::file_name(FileKind::Pack, &pack)))
        .unwrap();
    packs
}

#[test]
fn packs_are_durable_before_the_index_that_names_them_and_the_index_before_the_snapshot() {
    let changed = Changed::new();
    let store = changed.bench.store.duplicate();
    let faulty = Arc::new(Fault::new(store.clone()));
    changed.run_on(Arc::clone(&faulty)).unwrap();
    let saves = |kind| {
        let calls = faulty.calls().into_iter();
        calls
            .filter(move |call| call.operation == Operation::Save && call.kind == Some(kind))
            .collect::<Vec<_>>()
    };
    let ended: HashMap<FileName, u64> =
        saves(FileKind::Pack).into_iter().map(|call| (call.file.unwrap(), call.ended.unwrap())).collect();
    let indexes = saves(FileKind::Index);
    assert!(indexes.len() > 1, "the run is long enough for an index in between");
    let mut named = 0;
    for index in &indexes {
        for pack in packs_of(&store, index.file.as_ref().unwrap()) {
            assert!(ended[&pack] < index.began, "{pack} was named before it was durable");
            named += 1;
        }
    }
    assert_eq!(named, ended.len(), "every pack is named once");
    let [snapshot] = &saves(FileKind::Snapshot)[..] else { panic!("one snapshot") };
    assert!(indexes.iter().all(|index| index.ended.unwrap() < snapshot.began));
    let removes = faulty.calls().into_iter().filter(|call| call.operation == Operation::Remove);
    assert!(
        removes
            .into_iter()
            .all(|call| call.kind == Some(FileKind::Lock) && call.began > snapshot.ended.unwrap())
    );
}

#[test]
fn nothing_is_written_after_the_lock_is_lost() {
    let changed = Changed::new();
    for n in 1.. {
        let store = changed.bench.store.duplicate();
        let faulty = Arc::new(Fault::new(store.clone()));
        let repository = fixture::open(Arc::clone(&faulty));
        let options = changed.bench.options();
        let progress = Progress::default();
        let targets = Targets::resolve(&options, &Silent, &progress).unwrap();
        let prepared = Prepared { index: repository.load_index().unwrap(), parent: None };
        let lock = CancellationToken::new();
        let tokens = Tokens { run: lock.child_token(), lock: lock.clone() };
        faulty.forget_calls();
        let at_loss: Arc<Mutex<Option<usize>>> = Arc::default();
        let (calls, lost, stored) =
            (Arc::new(std::sync::atomic::AtomicU64::new(0)), Arc::clone(&at_loss), store.clone());
        faulty.before_each(move |_| {
            let (lock, lost, stored) = (lock.clone(), Arc::clone(&lost), stored.clone());
            let turn = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            async move {
                if turn == n {
                    *lost.lock().unwrap() = Some(stored.files().len());
                    lock.cancel();
                    tokio::task::yield_now().await;
                }
            }
        });
        let start = Timestamp::from(SystemTime::now());
        let result = run(&repository, &options, (&Silent, &progress), &targets, prepared, start, tokens);
        let Some(files_at_loss) = *at_loss.lock().unwrap() else {
            result.expect("nothing went wrong");
            assert!(n > 6, "the run makes more calls than that");
            return;
        };
        assert!(matches!(result, Err(Error::Cancelled)), "call {n}: {result:?}");
        // Uploads that were under way with the n-th call may have arrived; nothing begins later.
        let calls = faulty.calls();
        let later: Vec<_> = calls.iter().skip(n as usize).filter(|call| call.ended.is_some()).collect();
        assert!(store.files().len() <= files_at_loss + crate::limits::MAX_UPLOADS, "call {n}: {later:?}");
        let after_index = calls
            .iter()
            .skip(n as usize)
            .any(|call| matches!(call.kind, Some(FileKind::Index | FileKind::Snapshot)) && call.succeeded());
        assert!(!after_index, "call {n}: {later:?}");
    }
}
