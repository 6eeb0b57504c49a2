//! A repository in memory, a source, a target, and what a tree of files looks like.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pillion_backend::fault::Fault;
use pillion_backend::mem::Mem;
use pillion_backend::{Backend, Bytes, FileKind};
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::backup::{self, backup};
use crate::cache::Cache;
use crate::event::{Change, Silent};
use crate::filter::exclude::{ExcludeOptions, Exclusion};
use crate::format::blob::BlobKind;
use crate::format::pack::PackEntry;
use crate::repository::{Creator, Settings, init};
use crate::source::AccessTime;
use crate::store::Store;

pub(super) struct Fixture {
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) backend: Arc<Fault<Mem>>,
    pub(super) repository: Repository,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        for name in ["source", "target", "spool"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        let backend = Arc::new(Fault::new(Mem::new()));
        let store = Store::new(
            Arc::clone(&backend) as Arc<dyn Backend>,
            runtime.handle().clone(),
            CancellationToken::new(),
        );
        let creator = Creator { hostname: "test".to_owned(), username: "test".to_owned() };
        let settings =
            Settings { cache: Cache::absent(path.join("spool")), workers: 2, ..Settings::default() };
        let repository = init(&store, b"secret", &creator, settings).unwrap();
        Self { _runtime: runtime, _folder: folder, path, backend, repository }
    }

    pub(super) fn source(&self) -> PathBuf {
        self.path.join("source")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.path.join("target")
    }

    /// Writes a file of the source, with the directories above it.
    pub(super) fn write(&self, name: &str, content: &[u8]) {
        write(&self.source().join(name), content);
    }

    /// Backs the source up; the snapshot's content is the source's.
    pub(super) fn backup(&self) -> (Id, Snapshot) {
        let source = self.source().as_os_str().as_bytes().to_vec();
        let options = backup::Options {
            source: backup::Source::Paths(vec![source]),
            source_paths: backup::SourcePaths::Resolved,
            working_directory: b"/".to_vec(),
            mounts: backup::Mounts::Cross,
            exclusion: Exclusion::parse(ExcludeOptions::default()).unwrap(),
            excludes: Vec::new(),
            parent: backup::Parent::None,
            group_by: backup::GroupBy::default(),
            compare: backup::Compare::default(),
            access_time: AccessTime::Modified,
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
            lock: Some(lock::Options {
                holder: lock::Holder {
                    hostname: "test".to_owned(),
                    username: "test".to_owned(),
                    pid: std::process::id(),
                    uid: 0,
                    gid: 0,
                },
                mode: lock::Mode::Shared,
                retry_for: std::time::Duration::ZERO,
                timing: lock::Timing { settle: std::time::Duration::ZERO, ..lock::Timing::default() },
                given_up: lock::GivenUp::default(),
                ended: lock::Ended::default(),
            }),
        };
        let report = backup(&self.repository, &options, &Silent, &Progress::default()).unwrap();
        assert_eq!(report.faults, backup::Faults::default());
        let id = report.snapshot_id.unwrap();
        (id, self.repository.load_snapshot(&id).unwrap())
    }

    pub(super) fn options(&self, (snapshot_id, snapshot): &(Id, Snapshot)) -> Options {
        Options {
            snapshot_id: *snapshot_id,
            snapshot: snapshot.clone(),
            path: self.source().as_os_str().as_bytes().to_vec(),
            target: self.target().as_os_str().as_bytes().to_vec(),
            target_path: TargetPath::WithoutLinks,
            select: RestoreSelect::Everything,
            overwrite: Overwrite::Always,
            delete: false,
            dry_run: false,
            verify: false,
            special: Special::AsStored,
            ownership: Ownership::ByNumber,
            owner: Owner { run_id: "run".to_owned(), host: "test".to_owned(), pid: std::process::id() },
            lock: None,
        }
    }

    pub(super) fn restore(&self, options: &Options) -> Result<Report> {
        restore(&self.repository, options, &Silent, &Progress::default())
    }

    /// Restores and expects all to be well.
    pub(super) fn restore_whole(&self, options: &Options) -> Report {
        let told = Told::default();
        let report = restore(&self.repository, options, &told, &Progress::default()).unwrap();
        assert_eq!(told.problems(), Vec::<String>::new());
        assert_eq!(report.errors, 0);
        assert!(!self.marker().exists(), "the marker is gone");
        report
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.target().join(".pillion-restore")
    }

    /// Every pack with its blobs of that kind.
    pub(super) fn blobs(&self, kind: BlobKind) -> Vec<(Id, PackEntry)> {
        let index = self.repository.load_index().unwrap().index;
        let of_kind = index.iter().filter(|(found, ..)| *found == kind);
        of_kind
            .map(|(kind, id, at)| {
                let entry = PackEntry {
                    kind,
                    id,
                    offset: at.offset,
                    length: at.length,
                    uncompressed_length: at.uncompressed_length,
                };
                (at.pack, entry)
            })
            .collect()
    }

    pub(super) fn pack(&self, pack: &Id) -> Bytes {
        self.backend.inner().files()[&crate::store::file_name(FileKind::Pack, pack)].clone()
    }
}

pub(super) fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Bytes that no compressor makes smaller, always the same.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// All that a restore brings back of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    links: u64,
    device: u64,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) content: Vec<u8>,
}

/// Everything below a directory, by its path in it. The directory itself is not among it.
pub(super) fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let content = if found.is_file() {
                fs::read(&path).unwrap()
            } else if found.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                Vec::new()
            };
            let below = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let entry = Seen {
                mode: found.mode(),
                owner: (found.uid(), found.gid()),
                mtime: (found.mtime(), found.mtime_nsec()),
                links: if found.is_dir() { 0 } else { found.nlink() },
                device: found.rdev(),
                attributes: attributes(&path),
                content,
            };
            seen.insert(below, entry);
            if found.is_dir() {
                directories.push(path);
            }
        }
    }
    seen
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = [0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = [0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    found.sort();
    found
}

/// Two trees are the same; tells the first difference.
pub(super) fn assert_same(found: &Path, expected: &Path) {
    let (found, expected) = (look(found), look(expected));
    for (path, entry) in &expected {
        let shown = path.escape_ascii();
        match found.get(path) {
            None => panic!("{shown} is missing"),
            Some(other) if other.content != entry.content => panic!("{shown} has other content"),
            Some(other) => assert_eq!(other, entry, "{shown}"),
        }
    }
    let more = found.keys().find(|path| !expected.contains_key(*path));
    assert_eq!(more.map(|path| path.escape_ascii().to_string()), None);
}

/// Remembers what it is told.
#[derive(Default)]
pub(super) struct Told {
    items: Mutex<Vec<(String, Change)>>,
    problems: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Told {
    /// Sorted, since files end in any order.
    pub(super) fn items(&self) -> Vec<(String, Change)> {
        let mut items = self.items.lock().unwrap().clone();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        items
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }
}

impl Reporter for Told {
    fn report(&self, event: Event<'_>) {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match event {
            Event::Item { path, change, .. } => self.items.lock().unwrap().push((text(path), change)),
            Event::RestoreProblem { path, detail } => {
                self.problems.lock().unwrap().push(format!("{}: {detail}", text(path)));
            }
            Event::Warning { message } => self.warnings.lock().unwrap().push(message),
            _ => {}
        }
    }

    fn wants_items(&self) -> bool {
        true
    }
}
