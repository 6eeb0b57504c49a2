//! A small repository with two snapshots, copied for each case, and what is done with the copy.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pillion_backend::local::Local;
use pillion_backend::{FileKind, FileName};
use pillion_repository::Result;
use pillion_repository::backup::{self, Mounts, Parent, Source, SourcePaths};
use pillion_repository::cache::Cache;
use pillion_repository::check::{self, ReadData, Report};
use pillion_repository::event::{Event, Progress, Reporter, Silent};
use pillion_repository::filter::Exclusion;
use pillion_repository::format::blob::{BlobKind, Compression};
use pillion_repository::format::id::Id;
use pillion_repository::format::tree::NodeKind;
use pillion_repository::lock::{self, Holder, Mode, Timing};
use pillion_repository::repository::{BlobReader, Repository, Settings};
use pillion_repository::store::Store;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::restic;

/// Paths that cannot be read, each with the number of the snapshot it is in.
pub(super) type Lost = BTreeSet<(String, usize)>;

/// The repository all cases are copies of, and its source.
pub(super) struct Base {
    runtime: tokio::runtime::Runtime,
    repository: restic::Repository,
    source: TempDir,
}

impl Base {
    pub(super) fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(Self::create)
    }

    fn create() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let base =
            Self { runtime, repository: restic::Repository::create(), source: tempfile::tempdir().unwrap() };
        let keys = base.repository.path().join("keys");
        let first = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
        let second = fs::read_to_string(first).unwrap().replace("2026-01-01", "2026-01-02");
        fs::write(keys.join(Id::of(second.as_bytes()).to_string()), second).unwrap();

        let mut noise = fastrand::Rng::with_seed(1);
        let mut write = |path: &str, size: usize| {
            let path = base.source.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let bytes: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(size).collect();
            fs::write(path, bytes).unwrap();
        };
        let case = base.at(base.repository.path().to_owned(), None, "base".to_owned());
        write("src/first/large", 40_000);
        (0..20).for_each(|number| write(&format!("src/first/small/{number}"), 300 + number));
        case.back_up();
        write("src/second/new", 5_000);
        write("src/second/other", 3_000);
        case.back_up();
        base
    }

    /// A copy of its own.
    pub(super) fn case(&'static self, name: impl Into<String>) -> Case<'static> {
        let directory = tempfile::tempdir().unwrap();
        copy(self.repository.path(), directory.path());
        self.at(directory.path().to_owned(), Some(directory), name.into())
    }

    fn at(&self, path: PathBuf, directory: Option<TempDir>, name: String) -> Case<'_> {
        Case { base: self, path, _directory: directory, name, spool: tempfile::tempdir().unwrap() }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) struct Case<'a> {
    base: &'a Base,
    path: PathBuf,
    _directory: Option<TempDir>,
    name: String,
    spool: TempDir,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What a check said.
pub(super) struct Found {
    pub(super) report: Report,
    /// The damage that was told, line by line.
    pub(super) told: Vec<String>,
}

impl Found {
    pub(super) fn names(&self, file: &FileName) -> bool {
        self.told.iter().any(|line| line.contains(file.name()))
    }
}

#[derive(Default)]
struct Listener {
    told: Mutex<Vec<String>>,
    cancel_at_step: Option<CancellationToken>,
}

impl Reporter for Listener {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Damage { detail } => self.told.lock().unwrap().push(detail),
            Event::Step { message } if message == "load indexes" => {
                self.cancel_at_step.iter().for_each(CancellationToken::cancel);
            }
            _ => {}
        }
    }
}

impl Case<'_> {
    fn store(&self, cancel: CancellationToken) -> Store {
        Store::new(Arc::new(Local::new(self.path.clone())), self.base.runtime.handle().clone(), cancel)
    }

    pub(super) fn open(&self) -> Result<Repository> {
        self.open_with(CancellationToken::new())
    }

    fn open_with(&self, cancel: CancellationToken) -> Result<Repository> {
        let settings = Settings {
            compression: Compression::Auto,
            cache: Cache::absent(self.spool.path().to_owned()),
            workers: 2,
            ..Settings::default()
        };
        Repository::open(self.store(cancel), restic::PASSWORD.as_bytes(), settings)
    }

    pub(super) fn check(&self, read_data: ReadData) -> Found {
        self.check_with(&check::Options { lock: None, read_data, snapshots: None })
    }

    pub(super) fn check_snapshots(&self, read_data: ReadData, snapshots: Vec<Id>) -> Found {
        self.check_with(&check::Options { lock: None, read_data, snapshots: Some(snapshots) })
    }

    fn check_with(&self, options: &check::Options) -> Found {
        self.check_opened(&self.open().unwrap_or_else(|e| panic!("{self}: {e}")), options)
    }

    /// For many checks of one case: deriving a key takes longer than all the rest.
    pub(super) fn check_opened(&self, repository: &Repository, options: &check::Options) -> Found {
        let listener = Listener::default();
        let report = check::check(repository, options, &listener, &Progress::default());
        let report = report.unwrap_or_else(|e| panic!("{self}: {e}"));
        Found { report, told: listener.told.into_inner().unwrap() }
    }

    pub(super) fn check_locked(&self) -> Result<Report> {
        let options = check::Options {
            lock: Some(lock_options(Mode::Exclusive)),
            read_data: ReadData::Suspicious,
            snapshots: None,
        };
        check::check(&self.open()?, &options, &Silent, &Progress::default())
    }

    pub(super) fn check_cancelled_at_first_step(&self) -> Result<Report> {
        let cancel = CancellationToken::new();
        let listener = Listener { cancel_at_step: Some(cancel.clone()), ..Listener::default() };
        let options = check::Options {
            lock: Some(lock_options(Mode::Exclusive)),
            read_data: ReadData::All,
            snapshots: None,
        };
        check::check(&self.open_with(cancel)?, &options, &listener, &Progress::default())
    }

    pub(super) fn back_up(&self) {
        let options = backup::Options {
            source: Source::Paths(vec![self.source().join("src").into_os_string().into_encoded_bytes()]),
            source_paths: SourcePaths::Resolved,
            working_directory: b"/".to_vec(),
            mounts: Mounts::Cross,
            exclusion: Exclusion::parse(Default::default()).unwrap(),
            excludes: Vec::new(),
            parent: Parent::Latest,
            group_by: backup::GroupBy::default(),
            compare: backup::Compare::default(),
            access_time: Default::default(),
            host: "test".to_owned(),
            username: "test".to_owned(),
            uid: 0,
            gid: 0,
            tags: Vec::new(),
            identity: None,
            time: None,
            program_version: "test".to_owned(),
            skip_if_unchanged: false,
            quiesce: None,
            lock: Some(lock_options(Mode::Shared)),
        };
        let report = backup::backup(&self.open().unwrap(), &options, &Silent, &Progress::default());
        report.unwrap_or_else(|e| panic!("{self}: {e}"));
    }

    /// Two locks of others, as restic would write them.
    pub(super) fn leave_locks(&self) -> Vec<FileName> {
        let repository = self.open().unwrap();
        let json = |pid: u32| {
            format!(
                r#"{{"time":"{}","exclusive":false,"hostname":"other","username":"other","pid":{pid}}}"#,
                pillion_repository::format::time::Timestamp::from(std::time::SystemTime::now())
            )
        };
        let save = |pid| repository.save_file(FileKind::Lock, json(pid).as_bytes()).unwrap();
        [1, 2].map(|pid| FileName::new(FileKind::Lock, &save(pid).to_string()).unwrap()).to_vec()
    }

    pub(super) fn restic(&self, arguments: &[&str]) -> std::process::Output {
        restic::run(restic::command(&self.path, self.spool.path()).args(arguments))
    }

    /// Whether restic ends well.
    pub(super) fn restic_is_sound(&self, arguments: &[&str]) -> bool {
        let mut command = restic::command(&self.path, self.spool.path());
        command.args(arguments).output().unwrap().status.success()
    }

    pub(super) fn files(&self, kind: FileKind) -> Vec<FileName> {
        let ids = self.store(CancellationToken::new()).list_ids(kind).unwrap();
        ids.iter().map(|id| FileName::new(kind, &id.to_string()).unwrap()).collect()
    }

    pub(super) fn read(&self, file: &FileName) -> Vec<u8> {
        fs::read(self.path.join(file.path())).unwrap()
    }

    pub(super) fn remove(&self, file: &FileName) {
        fs::remove_file(self.path.join(file.path())).unwrap();
    }

    pub(super) fn add(&self, kind: FileKind, bytes: Vec<u8>) {
        let path = self.path.join(FileName::new(kind, &Id::of(&bytes).to_string()).unwrap().path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn damage(&self, file: &FileName, damage: super::Damage) {
        let others = match file.kind() {
            FileKind::Config => self.base_files(FileKind::Snapshot),
            kind => self.base_files(kind),
        };
        let others = if others.is_empty() { self.files(file.kind()) } else { others };
        let other = others.into_iter().find(|other| other != file).unwrap();
        let other =
            fs::read(self.base.repository.path().join(other.path())).unwrap_or_else(|_| self.read(&other));
        let path = self.path.join(file.path());
        let bytes = fs::read(&path).unwrap();
        // Packs may be read-only.
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = damage.apply(bytes, other) {
            fs::write(path, bytes).unwrap();
        }
    }

    pub(super) fn overwrite(&self, file: &FileName, bytes: &[u8]) {
        self.remove(file);
        fs::write(self.path.join(file.path()), bytes).unwrap();
    }

    /// Takes a broken pack out of the repository as restic does it, which keeps what can be read of it.
    pub(super) fn repair_pack(&self, pack: &FileName, damage: super::Damage) {
        match damage {
            super::Damage::Removed => self.restic(&["repair", "index"]),
            // restic leaves a copy in the directory it runs in.
            _ => self.restic(&["repair", "packs", pack.name()]),
        };
    }

    fn base_files(&self, kind: FileKind) -> Vec<FileName> {
        self.base.at(self.base.repository.path().to_owned(), None, String::new()).files(kind)
    }

    /// Oldest first.
    pub(super) fn snapshots(&self) -> Vec<Id> {
        self.open().unwrap().load_snapshots().unwrap().0.into_iter().map(|(id, _)| id).collect()
    }

    /// The pack that holds the first blob of a file of the newest snapshot.
    pub(super) fn pack_of(&self, path: &str) -> FileName {
        let repository = self.open().unwrap();
        let index = repository.load_index().unwrap().index;
        let mut found = None;
        self.visit(&repository, 1, &mut |at, content| {
            if self.below_source(at) == path {
                found = content.first().and_then(|id| index.lookup(BlobKind::Data, id).next());
            }
        });
        pack_name(&found.unwrap().pack)
    }

    pub(super) fn tree_pack_of_newest(&self) -> FileName {
        let repository = self.open().unwrap();
        let index = repository.load_index().unwrap().index;
        let (_, newest) = repository.load_snapshots().unwrap().0.pop().unwrap();
        pack_name(&index.lookup(BlobKind::Tree, &newest.tree).next().unwrap().pack)
    }

    fn visit(&self, repository: &Repository, number: usize, each: &mut dyn FnMut(&str, &[Id])) {
        let index = repository.load_index().unwrap().index;
        let mut reader = BlobReader::new(repository, &index);
        let (_, snapshot) = &repository.load_snapshots().unwrap().0[number];
        let mut stack = vec![(String::new(), snapshot.tree)];
        while let Some((path, tree)) = stack.pop() {
            for node in reader.load_tree(&tree).unwrap() {
                let path = format!("{path}/{}", String::from_utf8(node.name).unwrap());
                each(&path, node.content.as_deref().unwrap_or_default());
                stack.extend(node.subtree.map(|subtree| (path, subtree)));
            }
        }
    }

    /// Everything that cannot be read of the first two snapshots, found by reading everything.
    pub(super) fn unreadable(&self) -> Lost {
        let repository = self.open().unwrap();
        let mut index = pillion_repository::index::IndexBuilder::default();
        for id in repository.store.list_ids(FileKind::Index).unwrap() {
            if let Ok(file) = repository.load_index_file(&id) {
                index.append(file);
            }
        }
        let index = Arc::new(index.build());
        let mut reader = BlobReader::new(&repository, &index);
        let mut lost = Lost::new();
        for (number, (_, snapshot)) in repository.load_snapshots().unwrap().0.iter().take(2).enumerate() {
            let mut stack = vec![("/".to_owned(), snapshot.tree)];
            while let Some((path, tree)) = stack.pop() {
                let Ok(nodes) = reader.load_tree(&tree) else {
                    lost.insert((path, number));
                    continue;
                };
                for node in nodes {
                    let path =
                        format!("{}/{}", path.trim_end_matches('/'), String::from_utf8(node.name).unwrap());
                    let mut content = node.content.iter().flatten();
                    if node.kind == NodeKind::File
                        && content.any(|id| reader.load(BlobKind::Data, id).is_err())
                    {
                        lost.insert((path.clone(), number));
                    }
                    stack.extend(node.subtree.map(|subtree| (path, subtree)));
                }
            }
        }
        lost.into_iter().map(|(path, number)| (self.below_source(&path).to_owned(), number)).collect()
    }

    fn source(&self) -> &Path {
        self.base.source.path()
    }

    /// A path in a snapshot without where the source lies.
    fn below_source<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(self.source().to_str().unwrap()).unwrap_or(path)
    }

    /// What a check says of the first two snapshots.
    pub(super) fn lost(&self, report: &Report) -> Lost {
        assert_eq!(report.affected.unlisted, 0);
        let snapshots = self.snapshots();
        let number = |id: &Id| snapshots.iter().position(|snapshot| snapshot == id).unwrap();
        let of_path = |path: &check::AffectedPath| {
            let name = self.below_source(std::str::from_utf8(&path.path).unwrap()).to_owned();
            path.snapshots.iter().map(|id| (name.clone(), number(id))).collect::<Vec<_>>()
        };
        let lost: Lost = report.affected.paths.iter().flat_map(of_path).collect();
        let affected: BTreeSet<usize> = report.affected.snapshots.iter().map(number).collect();
        assert_eq!(affected, lost.iter().map(|(_, number)| *number).collect());
        lost
    }
}

fn pack_name(pack: &Id) -> FileName {
    FileName::new(FileKind::Pack, &pack.to_string()).unwrap()
}

fn lock_options(mode: Mode) -> lock::Options {
    let milliseconds = Duration::from_millis;
    let holder = Holder {
        hostname: "test".to_owned(),
        username: "test".to_owned(),
        pid: std::process::id(),
        uid: 0,
        gid: 0,
    };
    let timing = Timing { settle: milliseconds(1), unreadable: vec![milliseconds(1)], ..Timing::default() };
    lock::Options {
        holder,
        mode,
        retry_for: Duration::ZERO,
        timing,
        given_up: lock::GivenUp::default(),
        ended: lock::Ended::default(),
    }
}
