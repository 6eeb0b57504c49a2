//! Runs with a cache: the same as without, and fewer requests. What is in it is damaged, short of room, of another
//! time, or of a process that was killed.

#![allow(clippy::disallowed_methods, reason = "these files are the tests' own, and paths make them plain")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pillion_backend::fault::{Fault, Rule};
use pillion_backend::{ErrorKind, FileName, Operation};

use super::stops::Changed;
use super::*;
use crate::cache::{Cache, Options as CacheOptions, least_bytes};

/// A repository, a source and a cache directory.
struct Scene {
    bench: Bench,
    folder: tempfile::TempDir,
}

/// Enough for everything but what a test makes large.
const ROOM_BYTES: u64 = 64 << 20;

impl Scene {
    fn new() -> Self {
        let bench = Bench::new();
        bench
            .script
            .file("/data/a", b"some bytes")
            .file("/data/dir/b", b"others")
            .file("/data/dir/deep/c", b"more");
        Self { bench, folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self, max_bytes: u64) -> Cache {
        cache_in(self.folder.path(), max_bytes)
    }

    fn run(&self) -> Report {
        self.run_reporting(self.bench.store.clone()).0
    }

    fn run_reporting(&self, backend: impl Backend) -> (Report, Vec<String>) {
        let record = Record::default();
        let repository = fixture::open_with(backend, self.cache(ROOM_BYTES));
        let report = backup(&repository, &self.bench.options(), &record, &Progress::default());
        (report.expect("the backup succeeds"), record.sorted())
    }

    /// Runs and counts what was loaded from the store after the repository was opened.
    fn run_counting_loads(&self) -> (Report, usize) {
        let store = Arc::new(Fault::new(self.bench.store.clone()));
        let (report, told) = self.run_reporting(Arc::clone(&store));
        assert_eq!(told, [""; 0]);
        let is_load = |call: &pillion_backend::fault::Call| {
            call.operation == Operation::Load && !matches!(call.kind, Some(FileKind::Config | FileKind::Key))
        };
        (report, store.calls().iter().filter(|call| is_load(call)).count())
    }

    fn files(&self) -> Vec<PathBuf> {
        crate::cache::tests::files(self.folder.path()).into_keys().map(PathBuf::from).collect()
    }

    /// The names of what is kept in a folder, without the numbers of pieces.
    fn kept(&self, folder: &str) -> BTreeSet<String> {
        let in_folder = |path: &PathBuf| path.parent().is_some_and(|parent| parent.ends_with(folder));
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy()[..64].to_owned();
        self.files().into_iter().filter(in_folder).map(name).collect()
    }

    /// The names of the store's files of a kind.
    fn stored(&self, kind: FileKind) -> BTreeSet<String> {
        let files = self.bench.store.files().into_keys();
        files.filter(|file| file.kind() == kind).map(|file| file.name().to_owned()).collect()
    }
}

fn cache_in(directory: &Path, max_bytes: u64) -> Cache {
    Cache::open(options_in(directory, max_bytes))
}

fn options_in(directory: &Path, max_bytes: u64) -> CacheOptions {
    CacheOptions {
        directory: directory.to_owned(),
        max_bytes,
        guest_bytes: least_bytes(fixture::PACK_SIZE_BYTES),
        fallback: directory.to_owned(),
        tell: Arc::new(|message| panic!("{message}")),
    }
}

#[test]
fn an_unchanged_run_loads_nothing_but_config_and_key() {
    let scene = Scene::new();
    let first = scene.run();
    for _ in 0..2 {
        let (report, loads) = scene.run_counting_loads();
        assert_eq!((report.snapshot.tree, loads), (first.snapshot.tree, 0));
        assert_eq!((report.summary.tree_blobs, report.summary.files_unmodified), (0, 3));
    }
    assert_eq!(scene.kept("snapshots"), scene.stored(FileKind::Snapshot));
    assert_eq!(scene.kept("index"), scene.stored(FileKind::Index));
    assert_eq!(scene.kept("trees").len(), 1);
}

#[test]
fn whatever_is_odd_in_the_cache_is_as_if_it_were_not_there() {
    type Damage = fn(&Path, &[PathBuf]);
    let damages: [(&str, Damage); 8] = [
        ("removed", |file, _| fs::remove_file(file).unwrap()),
        ("empty", |file, _| fs::write(file, b"").unwrap()),
        ("truncated", |file, _| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a bit flipped", |file, _| {
            let mut bytes = fs::read(file).unwrap();
            // Also of the piece: what is sealed begins at its begin.
            bytes[40] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("longer", |file, _| fs::write(file, [fs::read(file).unwrap(), vec![0; 10]].concat()).unwrap()),
        ("another's", |file, all| {
            let other = all.iter().find(|other| *other != file).unwrap();
            fs::write(file, fs::read(other).unwrap()).unwrap();
        }),
        ("a link", |file, _| {
            fs::rename(file, file.with_extension("away")).unwrap();
            std::os::unix::fs::symlink(file.with_extension("away"), file).unwrap();
        }),
        ("a pipe", |file, _| {
            fs::remove_file(file).unwrap();
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let scene = Scene::new();
        let first = scene.run();
        let kept = scene.files();
        assert_eq!(kept.len(), 3, "{kept:?}");
        for file in &kept {
            damage(file, &kept);
            let (report, loads) = scene.run_counting_loads();
            assert_eq!(report.snapshot.tree, first.snapshot.tree, "{name}: {}", file.display());
            assert_eq!(report.summary.tree_blobs, 0, "{name}: {}", file.display());
            // Behind what is wanted of a piece may be anything.
            assert_eq!(loads, usize::from(name != "longer" || !file.to_string_lossy().contains("/trees/")));
            scene.bench.assert_holds_the_source(&report);
            let (_, loads) = scene.run_counting_loads();
            assert_eq!(loads, 0, "{name}: it was kept again");
        }
    }
}

#[test]
fn a_file_that_is_damaged_while_the_cache_is_open_is_loaded_from_the_store() {
    let scene = Scene::new();
    let quiet: crate::cache::Tell = Arc::new(|_| {});
    let cache = Cache::open(CacheOptions { tell: quiet, ..options_in(scene.folder.path(), ROOM_BYTES) });
    let run = |store: Arc<Fault<Mem>>| {
        let repository = fixture::open_with(store, cache.clone());
        backup(&repository, &scene.bench.options(), &Silent, &Progress::default()).unwrap()
    };
    let first = run(Arc::new(Fault::new(scene.bench.store.clone())));
    for file in scene.files() {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let report = run(Arc::new(Fault::new(scene.bench.store.clone())));
        assert_eq!((report.snapshot.tree, report.summary.tree_blobs), (first.snapshot.tree, 0));
        fs::remove_dir(&file).unwrap();
    }
}

#[test]
fn what_leaves_the_store_leaves_the_cache() {
    let scene = Scene::new();
    scene.run();
    for change in 0..3 {
        scene.bench.script.advance(10);
        scene.bench.script.write("/data/a", format!("change {change}").as_bytes());
        scene.run();
    }
    let trees = scene.kept("trees");
    assert_eq!((scene.kept("index").len(), trees.len()), (4, 4));
    // The first snapshot is forgotten, and what an index names besides is as if it had been pruned.
    let (snapshots, _) = fixture::open(scene.bench.store.clone()).load_snapshots().unwrap();
    let forgotten = crate::store::file_name(FileKind::Snapshot, &snapshots[0].0);
    scene.bench.store.remove_raw(&forgotten).unwrap();
    let name = scene.stored(FileKind::Index).pop_first().unwrap();
    scene.bench.store.remove_raw(&FileName::new(FileKind::Index, &name).unwrap()).unwrap();
    scene.bench.assert_holds_the_source(&scene.run());
    assert_eq!(scene.kept("snapshots"), scene.stored(FileKind::Snapshot));
    assert_eq!(scene.kept("index"), scene.stored(FileKind::Index));
    assert!(!scene.kept("index").contains(&name));
    assert!(scene.kept("trees").is_subset(&scene.stored(FileKind::Pack)));
    assert!(!trees.is_subset(&scene.kept("trees")), "what no index names is gone");
}

/// A cache knows trees that the repository no longer has: restic has pruned or rebuilt the index.
#[test]
fn a_tree_that_no_index_names_is_stored_again_though_the_cache_has_it() {
    let scene = Scene::new();
    let first = scene.run();
    let store = &scene.bench.store;
    for kind in [FileKind::Index, FileKind::Pack] {
        for name in scene.stored(kind) {
            store.remove_raw(&FileName::new(kind, &name).unwrap()).unwrap();
        }
    }
    let (report, told) = scene.run_reporting(store.clone());
    assert!(!told.is_empty(), "that nothing could be compared with is said");
    assert_eq!(report.snapshot.tree, first.snapshot.tree);
    scene.bench.assert_holds_the_source(&report);
    scene.bench.assert_holds_the_source(&first);
}

#[test]
fn a_check_is_told_nothing_by_the_cache() {
    for kind in [FileKind::Index, FileKind::Snapshot, FileKind::Pack] {
        let scene = Scene::new();
        scene.run();
        let check = |repository: &Repository| {
            let (read_data, lock, snapshots) = (crate::check::ReadData::Suspicious, None, None);
            let options = crate::check::Options { lock, read_data, snapshots };
            crate::check::check(repository, &options, &Silent, &Progress::default()).unwrap()
        };
        let repository = fixture::open_with(scene.bench.store.clone(), scene.cache(ROOM_BYTES));
        assert!(check(&repository).is_sound());
        for name in scene.stored(kind) {
            scene.bench.store.damage(&FileName::new(kind, &name).unwrap(), |bytes| bytes[40] ^= 1);
        }
        let found = check(&repository);
        assert!(!found.is_sound(), "{kind:?}");
        assert_eq!(found, check(&fixture::open(scene.bench.store.clone())), "{kind:?}");
    }
}

/// A source of many packs, which are stored one by one where the spool has no room for more.
fn large() -> Scene {
    let scene = Scene::new();
    for number in 0..80 {
        let path = format!("/data/many/{number}/file");
        scene.bench.script.file(&path, &noise(number, 100 << 10));
    }
    scene
}

#[test]
fn a_run_whose_spool_is_full_waits_for_its_uploads() {
    let scene = large();
    let max_bytes = least_bytes(fixture::PACK_SIZE_BYTES);
    let cache = scene.cache(max_bytes);
    let spool = Spool::open(&cache).unwrap();
    // Somebody else's: what is left is enough for these blobs, and for no more.
    let one = crate::limits::max_pack_bytes(fixture::PACK_SIZE_BYTES);
    let _others = spool.try_place(max_bytes - 5 * one).unwrap();
    let store = Arc::new(Fault::new(scene.bench.store.clone()));
    let (is_full, largest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let directory = scene.folder.path().to_owned();
    {
        let (is_full, largest) = (Arc::clone(&is_full), Arc::clone(&largest));
        let spool = Arc::new(spool);
        store.before_each(move |call| {
            let (is_full, largest, spool) = (Arc::clone(&is_full), Arc::clone(&largest), Arc::clone(&spool));
            let directory = directory.clone();
            async move {
                let sum = || crate::cache::tests::files(&directory).values().sum::<u64>();
                largest.fetch_max(sum(), Ordering::SeqCst);
                // No upload ends before there is no place for another pack.
                let is_pack = call.operation == Operation::Save && call.kind == Some(FileKind::Pack);
                while is_pack && !is_full.load(Ordering::SeqCst) {
                    match spool.try_place(one) {
                        Some(place) => drop(place),
                        None => is_full.store(true, Ordering::SeqCst),
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        });
    }
    let repository = fixture::open_with(Arc::clone(&store), cache);
    let report = backup(&repository, &scene.bench.options(), &Silent, &Progress::default()).unwrap();
    assert!(is_full.load(Ordering::SeqCst));
    let largest = largest.load(Ordering::SeqCst);
    assert!(largest > one && largest <= 5 * one, "{largest} bytes where a pack may have {one}");
    scene.bench.assert_holds_the_source(&report);
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_run_holds_no_more_than_the_budget_at_any_moment() {
    let scene = large();
    let max_bytes = least_bytes(fixture::PACK_SIZE_BYTES);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where the test fails.
        let end = Ends(&over);
        let watcher = scope.spawn(|| {
            let mut largest = 0;
            while !over.load(Ordering::SeqCst) {
                largest = largest.max(crate::cache::tests::files(scene.folder.path()).values().sum::<u64>());
            }
            largest
        });
        for change in 0..3 {
            scene.bench.script.advance(10);
            scene.bench.script.write("/data/many/3/file", &noise(100 + change, 2 << 20));
            let repository = fixture::open_with(scene.bench.store.clone(), scene.cache(max_bytes));
            let report = backup(&repository, &scene.bench.options(), &Silent, &Progress::default()).unwrap();
            scene.bench.assert_holds_the_source(&report);
        }
        drop(end);
        let largest = watcher.join().unwrap();
        assert!(largest <= max_bytes, "{largest} of {max_bytes} bytes");
    });
}

#[test]
fn a_cache_that_is_too_small_for_the_packs_ends_the_run_with_a_sentence() {
    let scene = Scene::new();
    let max_bytes = least_bytes(fixture::PACK_SIZE_BYTES) - 1;
    let repository = fixture::open_with(scene.bench.store.clone(), scene.cache(max_bytes));
    let failed = backup(&repository, &scene.bench.options(), &Silent, &Progress::default());
    let message = failed.unwrap_err().to_string();
    let begin =
        format!("the cache {} is too small: its budget is {max_bytes} bytes", scene.folder.path().display());
    assert!(message.starts_with(&begin), "{message}");
}

#[test]
fn two_runs_at_once_share_a_directory_and_one_keeps_what_it_reads() {
    let scene = large();
    let owner = scene.cache(ROOM_BYTES);
    let run = |cache: Cache| {
        let repository = fixture::open_with(scene.bench.store.clone(), cache);
        backup(&repository, &scene.bench.options(), &Silent, &Progress::default()).unwrap()
    };
    let reports = std::thread::scope(|scope| {
        let threads = [owner, scene.cache(ROOM_BYTES)].map(|cache| scope.spawn(|| run(cache)));
        threads.map(|thread| thread.join().unwrap())
    });
    for report in &reports {
        scene.bench.assert_holds_the_source(report);
    }
    assert_eq!(scene.kept("snapshots").len(), 1, "the guest kept nothing");
    scene.run();
    assert_eq!(scene.kept("snapshots").len(), 3);
}

/// As without a cache, and the cache of a run that was stopped somewhere serves the next one.
#[test]
fn a_stop_at_any_store_call_leaves_a_cache_that_harms_nothing() {
    let changed = Changed::new();
    let folder = tempfile::tempdir().unwrap();
    for n in 1.. {
        let store = changed.bench.store.duplicate();
        let faulty = Arc::new(Fault::new(store.clone()));
        let repository = fixture::open_with(Arc::clone(&faulty), cache_in(folder.path(), ROOM_BYTES));
        faulty.forget_calls();
        faulty.add(Rule::from_nth(n).fails(ErrorKind::Unavailable));
        let result = backup(&repository, &changed.bench.options(), &Silent, &Progress::default());
        drop(repository);
        let next = fixture::open_with(store.clone(), cache_in(folder.path(), ROOM_BYTES));
        let report = backup(&next, &changed.bench.options(), &Silent, &Progress::default()).unwrap();
        drop(next);
        assert_eq!(report.faults, Faults::default());
        assert_same(
            &restored(&fixture::open(store.clone()), &report.snapshot.tree).remove_above("data"),
            &changed.after,
        );
        assert_sound(&store);
        if faulty.count() < n {
            result.expect("nothing went wrong");
            assert!(n > 10, "the run makes more calls than that");
            return;
        }
    }
}
