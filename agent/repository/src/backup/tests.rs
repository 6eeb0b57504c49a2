//! The backup engine on a store that fails by script and on a file system that plays races on cue.
//!
//! What a run stored is read back by code of its own ([`Bench::restored`]), blob by blob, and compared with what
//! the source showed. What stock restic says of the same bytes is asked in `tests/it`.

mod cache;
mod history;
mod hostile;
mod incomplete;
mod index;
mod quiesce;
mod racy;
mod relative;
mod sparse;
mod stops;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use pillion_backend::Backend;
use pillion_backend::mem::Mem;

use super::*;
use crate::event::Silent;
use crate::format::blob::BlobKind;
use crate::format::config::Version;
use crate::format::tree::mode;
use crate::repository::{BlobReader, fixture};
use crate::source::Names;
use crate::source::script::Script;

/// A source and a repository.
struct Bench {
    script: Arc<Script>,
    store: Mem,
}

/// What an entry is, for comparing a snapshot with the source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: NodeKind,
    mode: u32,
    mtime: Timestamp,
    /// A file's bytes or a link's target.
    content: Vec<u8>,
}

type Tree = BTreeMap<String, Seen>;

impl Bench {
    fn new() -> Self {
        Self { script: Script::new(), store: fixture::create(Version::Two) }
    }

    fn options(&self) -> Options {
        options(SourcePaths::Scripted(Arc::clone(&self.script)), "/data")
    }

    fn run(&self) -> Report {
        self.run_with(|_| {})
    }

    fn run_with(&self, change: impl FnOnce(&mut Options)) -> Report {
        let mut options = self.options();
        change(&mut options);
        backup_to(self.store.clone(), &options, &Silent).expect("the backup succeeds")
    }

    /// Runs and tells what was reported.
    fn run_reporting(&self, change: impl FnOnce(&mut Options)) -> (Report, Vec<String>) {
        let record = Record::default();
        let mut options = self.options();
        change(&mut options);
        let report = backup_to(self.store.clone(), &options, &record).expect("the backup succeeds");
        (report, record.sorted())
    }

    /// What the source holds now.
    fn source(&self) -> Tree {
        let mut tree = Tree::new();
        let source = self.script.source("/data");
        see(&source.open_dir().unwrap(), "", &mut tree);
        tree
    }

    fn restored(&self, report: &Report) -> Tree {
        let repository = fixture::open(self.store.clone());
        restored(&repository, &report.snapshot.tree)
    }

    fn assert_holds_the_source(&self, report: &Report) {
        assert_eq!(report.faults, Faults::default());
        assert_same(&self.restored(report).remove_above("data"), &self.source());
    }
}

trait Below {
    fn remove_above(self, above: &str) -> Self;
}

impl Below for Tree {
    /// What is below a directory, by the paths that begin there.
    fn remove_above(self, above: &str) -> Self {
        let prefix = format!("/{above}/");
        self.into_iter()
            .filter_map(|(path, seen)| Some((format!("/{}", path.strip_prefix(&prefix)?), seen)))
            .collect()
    }
}

/// Says which paths differ rather than print megabytes.
#[track_caller]
fn assert_same(left: &Tree, right: &Tree) {
    let paths: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let different: Vec<_> = paths.into_iter().filter(|path| left.get(*path) != right.get(*path)).collect();
    assert!(different.is_empty(), "these differ: {different:?}");
}

fn options(source_paths: SourcePaths, source: &str) -> Options {
    Options {
        source: Source::Paths(vec![source.as_bytes().to_vec()]),
        source_paths,
        working_directory: b"/".to_vec(),
        mounts: Mounts::Refuse,
        exclusion: excluding(&[]),
        excludes: Vec::new(),
        parent: Parent::Latest,
        group_by: GroupBy::default(),
        compare: Compare::default(),
        access_time: AccessTime::default(),
        host: "host".to_owned(),
        username: "user".to_owned(),
        uid: 0,
        gid: 0,
        tags: Vec::new(),
        identity: None,
        time: None,
        program_version: "pillion test".to_owned(),
        skip_if_unchanged: false,
        quiesce: None,
        lock: Some(lock_options()),
    }
}

fn excluding(patterns: &[&str]) -> Exclusion {
    let mut options = crate::filter::ExcludeOptions::default();
    options.patterns.patterns = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
    Exclusion::parse(options).unwrap()
}

fn lock_options() -> lock::Options {
    let holder = lock::Holder {
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        pid: std::process::id(),
        uid: 0,
        gid: 0,
    };
    let timing =
        lock::Timing { settle: std::time::Duration::ZERO, unreadable: Vec::new(), ..Default::default() };
    lock::Options {
        holder,
        mode: lock::Mode::Shared,
        retry_for: std::time::Duration::ZERO,
        timing,
        given_up: lock::GivenUp::default(),
        ended: lock::Ended::default(),
    }
}

fn backup_to(backend: impl Backend, options: &Options, reporter: &dyn Reporter) -> Result<Report> {
    backup(&fixture::open(backend), options, reporter, &Progress::default())
}

/// Remembers what was told, one word and a path each; but not the steps of a run that goes well.
#[derive(Default)]
struct Record(Mutex<Vec<String>>);

impl Record {
    fn sorted(&self) -> Vec<String> {
        let mut told = self.0.lock().unwrap().clone();
        told.sort();
        told
    }
}

impl Reporter for Record {
    fn report(&self, event: Event<'_>) {
        if matches!(event, Event::Step { .. }) {
            return;
        }
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        self.0.lock().unwrap().push(match event {
            Event::Skipped { path, reason, .. } => format!("{reason:?} {}", text(path)),
            Event::Torn { path } => format!("Torn {}", text(path)),
            Event::Vanished { path } => format!("Vanished {}", text(path)),
            Event::Warning { message } => format!("Warning {message}"),
            other => format!("{other:?}"),
        });
    }
}

fn see(directory: &Arc<dyn source::Directory>, above: &str, tree: &mut Tree) {
    let mut names = Names::default();
    directory.names(&mut names).unwrap();
    for name in names.iter() {
        let path = format!("{above}/{}", String::from_utf8_lossy(name));
        let found = directory.stat(name).unwrap();
        let content = match found.kind {
            NodeKind::File => read_all(directory, name, &found),
            NodeKind::Symlink => directory.read_link(name).unwrap(),
            NodeKind::Socket => continue,
            _ => Vec::new(),
        };
        if found.kind == NodeKind::Dir {
            see(&directory.open_dir(name, &found).unwrap(), &path, tree);
        }
        let seen = Seen { kind: found.kind, mode: mode::of_unix(found.mode), mtime: found.mtime, content };
        tree.insert(path, seen);
    }
}

fn read_all(directory: &Arc<dyn source::Directory>, name: &[u8], found: &Metadata) -> Vec<u8> {
    let mut content = vec![0; found.size_bytes as usize];
    let read = directory.open_file(name, found).unwrap().fill(&mut content).unwrap();
    assert_eq!(read, content.len());
    content
}

/// Loads every blob below a tree.
fn restored(repository: &Repository, tree: &Id) -> Tree {
    let index = repository.load_index().expect("the index can be read").index;
    let mut reader = BlobReader::new(repository, &index);
    let mut restored = Tree::new();
    restore_below(&mut reader, tree, "", &mut restored);
    restored
}

fn restore_below(reader: &mut BlobReader, tree: &Id, above: &str, restored: &mut Tree) {
    for node in reader.load_tree(tree).expect("the tree can be read") {
        let path = format!("{above}/{}", String::from_utf8_lossy(&node.name));
        let mut content = node.link_target.clone();
        for id in node.content.iter().flatten() {
            content.extend_from_slice(reader.load(BlobKind::Data, id).expect("the blob can be read"));
        }
        if node.kind == NodeKind::File {
            assert_eq!(content.len() as u64, node.size, "{path}");
        }
        if let Some(subtree) = &node.subtree {
            restore_below(reader, subtree, &path, restored);
        }
        restored.insert(path, Seen { kind: node.kind, mode: node.mode, mtime: node.mtime, content });
    }
}

/// Every snapshot of a store, whole; panics where one is not, or where an index names what is not there.
fn assert_sound(store: &Mem) -> Vec<(Snapshot, Tree)> {
    let repository = fixture::open(store.clone());
    let (snapshots, damaged) = repository.load_snapshots().unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let index = repository.load_index().expect("the index can be read").index;
    let mut reader = BlobReader::new(&repository, &index);
    for (kind, id, _) in index.iter() {
        reader.load(kind, &id).expect("what an index names is there");
    }
    snapshots
        .into_iter()
        .map(|(_, snapshot)| (snapshot.clone(), restored(&repository, &snapshot.tree)))
        .collect()
}

/// Bytes that no compression makes smaller, always the same for one seed.
fn noise(seed: u64, size_bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size_bytes).collect()
}

#[test]
fn a_snapshot_holds_what_the_source_shows() {
    let bench = Bench::new();
    bench
        .script
        .file("/data/a", b"some bytes")
        .file("/data/dir/empty", b"")
        .symlink("/data/dir/link", "../a");
    bench.script.file("/data/large", &noise(1, 3 << 20)).dir("/data/hollow");
    bench
        .script
        .put("/data/pipe", source::script::Entry::Fifo)
        .put("/data/null", source::script::Entry::Chardev(259));
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn an_unchanged_source_adds_no_blob_and_opens_no_file() {
    let bench = Bench::new();
    bench
        .script
        .file("/data/a", b"some bytes")
        .file("/data/dir/b", b"others")
        .symlink("/data/dir/link", "../a");
    let first = bench.run();
    let opened = bench.script.calls(source::script::Call::OpenFile, "/data/a");
    let second = bench.run();
    assert_eq!((second.summary.data_blobs, second.summary.tree_blobs), (0, 0));
    assert_eq!(second.snapshot.tree, first.snapshot.tree);
    assert_eq!(second.parent, first.snapshot_id);
    assert_eq!(second.summary.files_unmodified, 2);
    assert_eq!(bench.script.calls(source::script::Call::OpenFile, "/data/a"), opened);
}
