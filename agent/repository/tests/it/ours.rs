//! Our own engine on a directory, as the tests call it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pillion_backend::local::Local;
use pillion_backend::mem::Mem;
use pillion_backend::{Backend, FileKind, FileName};
use pillion_repository::backup::{self, Mounts, Options, Parent, Report, Source, SourcePaths};
use pillion_repository::event::{Progress, Silent};
use pillion_repository::filter::restore_select::RestoreSelect;
use pillion_repository::filter::{ExcludeOptions, Exclusion};
use pillion_repository::format::blob::BlobKind;
use pillion_repository::format::id::Id;
use pillion_repository::lock;
use pillion_repository::repository::{self, BlobReader, Creator, Repository, Settings};
use pillion_repository::restore;
use pillion_repository::restore::marker::Owner;
use pillion_repository::store::Store;
use pillion_repository::{Error, Result};
use tokio::runtime::{Builder, Runtime};

use crate::restic::PASSWORD;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

pub(crate) fn local(path: &Path) -> Local {
    Local::new(path.to_owned())
}

/// The same repository in memory.
pub(crate) fn in_memory(repository: &crate::restic::Repository) -> Mem {
    let store = Mem::new();
    let local =
        Store::new(Arc::new(local(repository.path())), runtime().handle().clone(), Default::default());
    let kinds = FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config);
    let listed = kinds.flat_map(|kind| local.list(kind).expect("it can be listed"));
    for file in listed.map(|entry| entry.file).chain([FileName::config()]) {
        store.put_raw(&file, local.load(&file).expect("it can be read"));
    }
    store
}

/// What a store holds, as a directory for restic.
pub(crate) fn write_out(store: &Mem, directory: &Path) {
    for kind in ["data", "index", "keys", "locks", "snapshots"] {
        std::fs::create_dir_all(directory.join(kind)).expect("create a directory");
    }
    for (file, bytes) in store.files() {
        let path = directory.join(file.path());
        std::fs::create_dir_all(path.parent().expect("below the repository")).expect("create a directory");
        std::fs::write(path, bytes).expect("write a file");
    }
}

/// Makes a repository as a person would, at the usual cost of its key.
pub(crate) fn init(backend: impl Backend) -> Repository {
    try_init(backend).expect("it is made")
}

pub(crate) fn try_init(backend: impl Backend) -> Result<Repository> {
    let store = Store::new(Arc::new(backend), runtime().handle().clone(), Default::default());
    let creator = Creator { hostname: "host".to_owned(), username: "user".to_owned() };
    repository::init(&store, PASSWORD.as_bytes(), &creator, Settings::default())
}

pub(crate) fn open(backend: impl Backend) -> Repository {
    open_with(backend, PASSWORD, |_| {}).expect("it opens")
}

pub(crate) fn open_with(
    backend: impl Backend,
    password: &str,
    change: impl FnOnce(&mut Settings),
) -> Result<Repository> {
    let store = Store::new(Arc::new(backend), runtime().handle().clone(), Default::default());
    let mut settings = Settings { workers: 2, ..Settings::default() };
    change(&mut settings);
    Repository::open(store, password.as_bytes(), settings)
}

pub(crate) fn options(source: &Path) -> Options {
    Options {
        source: Source::Paths(vec![source.as_os_str().as_bytes().to_vec()]),
        source_paths: SourcePaths::Resolved,
        working_directory: b"/".to_vec(),
        mounts: Mounts::Cross,
        exclusion: Exclusion::parse(ExcludeOptions::default()).unwrap(),
        excludes: Vec::new(),
        parent: Parent::Latest,
        group_by: Default::default(),
        compare: Default::default(),
        access_time: Default::default(),
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

pub(crate) fn lock_options() -> lock::Options {
    let holder = lock::Holder {
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        pid: std::process::id(),
        uid: 0,
        gid: 0,
    };
    let timing = lock::Timing { settle: Duration::ZERO, ..Default::default() };
    lock::Options {
        holder,
        mode: lock::Mode::Shared,
        retry_for: Duration::ZERO,
        timing,
        given_up: lock::GivenUp::default(),
        ended: lock::Ended::default(),
    }
}

pub(crate) fn try_backup(repository: &Repository, options: &Options) -> Result<Report> {
    backup::backup(repository, options, &Silent, &Progress::default())
}

/// A backup that leaves nothing out.
pub(crate) fn backup(repository: &Repository, source: &Path) -> Report {
    let report = try_backup(repository, &options(source)).expect("the backup succeeds");
    assert_eq!(report.faults, Default::default());
    report
}

/// Restores what a snapshot has at a directory.
pub(crate) fn restore(repository: &Repository, snapshot: &Id, directory: &Path, target: &Path) {
    let options = restore::Options {
        snapshot_id: *snapshot,
        snapshot: repository.load_snapshot(snapshot).expect("the snapshot can be read"),
        path: directory.as_os_str().as_bytes().to_vec(),
        target: target.as_os_str().as_bytes().to_vec(),
        target_path: restore::TargetPath::Resolved,
        select: RestoreSelect::Everything,
        overwrite: Default::default(),
        delete: false,
        dry_run: false,
        verify: false,
        special: Default::default(),
        ownership: Default::default(),
        owner: Owner { run_id: "test".to_owned(), host: "host".to_owned(), pid: std::process::id() },
        lock: Some(lock_options()),
    };
    let report = restore::restore(repository, &options, &Silent, &Progress::default());
    let report = report.expect("the restore succeeds");
    assert_eq!(report.errors, 0);
}

/// The tree that a snapshot has at an absolute path.
pub(crate) fn tree_at(repository: &Repository, snapshot: &Id, path: &Path) -> Id {
    let mut reader = reader(repository);
    let mut tree = repository.load_snapshot(snapshot).expect("the snapshot can be read").tree;
    for name in path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let nodes = reader.load_tree(&tree).expect("the tree can be read");
        let node = nodes.into_iter().find(|node| node.name == name).expect("the path is in the snapshot");
        tree = node.subtree.expect("a directory");
    }
    tree
}

pub(crate) fn reader(repository: &Repository) -> BlobReader {
    BlobReader::new(repository, &repository.load_index().expect("the index can be read").index)
}

/// Loads all blobs below a tree.
pub(crate) fn assert_whole(reader: &mut BlobReader, tree: &Id) -> Result<(), Error> {
    for node in reader.load_tree(tree)? {
        for id in node.content.iter().flatten() {
            reader.load(BlobKind::Data, id)?;
        }
        if let Some(subtree) = &node.subtree {
            assert_whole(reader, subtree)?;
        }
    }
    Ok(())
}

pub(crate) fn snapshot_ids(repository: &Repository) -> Vec<Id> {
    repository.store.list_ids(FileKind::Snapshot).unwrap()
}
