//! The cache: a directory of this machine that spares requests to the store, and holds packs until they are uploaded.
//!
//! ```text
//! owner                          locked by the one process that writes the rest
//! spool/pillion-spool-.../       packs that grow: one directory a process, its owner or not
//! repositories/ID/snapshots/ID   as the store has them, sealed
//! repositories/ID/index/ID
//! repositories/ID/trees/ID-N     the N-th piece of a pack that holds trees
//! ```
//! Nothing in here is needed: whatever is odd is as if it were not there, and goes. Nothing in here decides
//! anything: what is read was named by a list of the store first, and hashed or authenticated after.
//!
//! **Invariant:** a directory has one writer and one budget (`of_two_processes_one_owns_the_cache_and_both_work`,
//! `the_directory_never_holds_more_than_its_budget`).
//! **Invariant:** whatever is in the directory, a job ends as it would without one
//! (`whatever_is_odd_in_the_cache_is_as_if_it_were_not_there`).

#![allow(clippy::disallowed_methods, reason = "these files are the program's own, not a user's")]

mod budget;
mod disk;
mod files;
mod spool;
#[cfg(test)]
pub(crate) mod tests;
mod trees;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::format::id::Id;
use crate::limits;
use budget::{Budget, Class};
pub(crate) use files::Files;
pub use spool::{Place, SPOOL_PREFIX, Spool, SpoolFile};

const OWNER: &str = "owner";
const SPOOL: &str = "spool";
const REPOSITORIES: &str = "repositories";

/// Where what a person can do something about is told.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How a cache is to be.
pub struct Options {
    pub directory: PathBuf,
    /// All that may be in the directory, the spool included.
    pub max_bytes: u64,
    /// What a spool may have beside the owner's: [`least_bytes`] is enough.
    pub guest_bytes: u64,
    /// Where a spool is where the directory cannot be used.
    pub fallback: PathBuf,
    pub tell: Tell,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.directory.display(), self.max_bytes)
    }
}

/// What this process is to the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It keeps what it reads and writes.
    Owner,
    /// Another process is the owner: this one reads what is there and keeps nothing.
    Guest,
    /// The directory cannot be used: why.
    Unusable(String),
    /// There is to be no cache.
    Absent,
}

/// What of the budget is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub kept_bytes: u64,
    pub spool_bytes: u64,
    pub max_bytes: u64,
}

/// Cheap to clone; every clone is the same cache.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    standing: Standing,
    /// Where [`REPOSITORIES`] is.
    directory: PathBuf,
    /// The directory of the processes' spools.
    spools: PathBuf,
    /// Held for its lock.
    owner: Option<File>,
    budget: Mutex<Budget>,
    /// Some of the spool's bytes were given back.
    freed: Notify,
    /// Repositories by the number they have in a [`Key`].
    repositories: Mutex<Vec<Id>>,
    /// Of several who miss the same piece of trees one loads it.
    loading: [Mutex<()>; 16],
    tell: Tell,
    told: AtomicBool,
    /// As the budget was when it was last free to be looked at: what is kept, what the spool has, all there may be.
    seen_bytes: [AtomicU64; 3],
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({:?}, {})", self.0.standing, self.0.directory.display())
    }
}

/// The least budget with which packs of this size can always be written: every pack that may be open at once, and one
/// that is alone because of a large blob. What is closed beside them goes into the store and gives its place back.
/// (The tree of a directory with hundreds of thousands of entries may need more, and says so.)
pub fn least_bytes(pack_size_bytes: u32) -> u64 {
    let shared = limits::max_pack_bytes(pack_size_bytes);
    let alone = limits::max_lone_pack_bytes(limits::MAX_SHARED_BLOB_BYTES);
    limits::MAX_OPEN_PACKS as u64 * shared + shared.max(alone)
}

impl Cache {
    /// Never fails: a directory that cannot be used is told, and then there is no cache.
    pub fn open(options: Options) -> Self {
        let Options { directory, max_bytes, guest_bytes, fallback, tell } = options;
        let spools = directory.join(SPOOL);
        let opened = match make_directory(&spools).and_then(|()| lock_owner(&directory.join(OWNER))) {
            Ok(Some(owner)) => {
                spool::sweep(&spools);
                let owned = Shared::new(Standing::Owner, directory, spools, max_bytes, tell);
                let owned = Shared { owner: Some(owner), ..owned };
                owned.take_stock();
                owned
            }
            Ok(None) => Shared::new(Standing::Guest, directory, spools, guest_bytes.min(max_bytes), tell),
            Err(e) => {
                let why = format!("the cache cannot be used: {}: {e}", directory.display());
                tell(&why);
                Shared::new(Standing::Unusable(why), directory, fallback, u64::MAX, tell)
            }
        };
        Self(Arc::new(opened))
    }

    /// Nothing is kept; packs grow in directories below `spools`, as many as it takes.
    pub fn absent(spools: PathBuf) -> Self {
        let absent = Shared::new(Standing::Absent, PathBuf::new(), spools, u64::MAX, Arc::new(|_| {}));
        Self(Arc::new(absent))
    }

    pub fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// The directory in which the spools are.
    pub fn spools(&self) -> &Path {
        &self.0.spools
    }

    /// What the spool and what is kept may have together.
    pub fn max_bytes(&self) -> u64 {
        self.0.budget().total_bytes()
    }

    /// What of the budget is used, for whoever shows it; `None` where nothing is kept. Waits for nobody, who may be at a
    /// disk that hangs: then it is what was seen before.
    pub fn usage(&self) -> Option<Usage> {
        if !matches!(self.0.standing, Standing::Owner | Standing::Guest) {
            return None;
        }
        let [kept, spool, max] = &self.0.seen_bytes;
        if let Ok(budget) = self.0.budget.try_lock() {
            kept.store(budget.kept_bytes(), Ordering::Relaxed);
            spool.store(budget.written_bytes(), Ordering::Relaxed);
            max.store(budget.total_bytes(), Ordering::Relaxed);
        }
        let value = |seen: &AtomicU64| seen.load(Ordering::Relaxed);
        Some(Usage { kept_bytes: value(kept), spool_bytes: value(spool), max_bytes: value(max) })
    }

    /// Whether opening it anew would come to the same: the owner's lock is still the directory's.
    pub fn is_settled(&self) -> bool {
        self.0.owner.as_ref().is_some_and(|lock| {
            let found = fs::metadata(self.0.directory.join(OWNER));
            let held = lock.metadata();
            matches!((found, held), (Ok(found), Ok(held)) if (found.dev(), found.ino()) == (held.dev(), held.ino()))
        })
    }

    /// What is kept of one repository, for the job that begins.
    pub(crate) fn of(&self, repository: Id) -> Files {
        if !matches!(self.0.standing, Standing::Owner | Standing::Guest) {
            return Files::none();
        }
        self.0.budget().begin_job();
        self.0.told.store(false, Ordering::Relaxed);
        self.beside(repository)
    }

    /// The same for whoever reads beside a job, which is still the one that has begun.
    pub(crate) fn beside(&self, repository: Id) -> Files {
        match self.0.standing {
            Standing::Owner | Standing::Guest => Files::new(self.clone(), self.0.number_of(repository)),
            Standing::Unusable(_) | Standing::Absent => Files::none(),
        }
    }

    /// Fails where less than that can be had, with a sentence that says what to do.
    pub(crate) fn refuse_below(&self, bytes: u64) -> Result<()> {
        if self.max_bytes() < bytes { Err(self.too_small(bytes)) } else { Ok(()) }
    }

    fn too_small(&self, needed_bytes: u64) -> Error {
        let (directory, max_bytes) = (self.0.directory.display(), self.max_bytes());
        Error::Refused(format!(
            "the cache {directory} is too small: its budget is {max_bytes} bytes, and {needed_bytes} are needed; \
             give it more, or choose a smaller pack size"
        ))
    }
}

/// A kept file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    repository: u32,
    what: What,
    id: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum What {
    Snapshot,
    Index,
    /// A piece of the pack of that ID.
    Trees(u32),
}

impl What {
    fn folder(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Trees(_) => "trees",
        }
    }
}

impl Key {
    fn class(&self) -> Class {
        match self.what {
            What::Trees(_) => Class::Tree,
            What::Snapshot | What::Index => Class::File,
        }
    }

    fn file_name(&self) -> String {
        match self.what {
            What::Trees(piece) => format!("{}-{piece}", self.id),
            What::Snapshot | What::Index => self.id.to_string(),
        }
    }

    /// The key of a file in a folder; `None` for what the cache never wrote, or never finished.
    fn parse(repository: u32, folder: What, name: &str) -> Option<Self> {
        let (id, what) = match folder {
            What::Trees(_) => {
                let (id, piece) = name.split_once('-')?;
                (id, What::Trees(piece.parse().ok()?))
            }
            What::Snapshot | What::Index => (name, folder),
        };
        let key = Self { repository, what, id: id.parse().ok()? };
        (key.file_name() == name).then_some(key)
    }
}

impl Shared {
    fn new(standing: Standing, directory: PathBuf, spools: PathBuf, max_bytes: u64, tell: Tell) -> Self {
        Self {
            standing,
            directory,
            spools,
            owner: None,
            budget: Mutex::new(Budget::new(max_bytes)),
            freed: Notify::new(),
            repositories: Mutex::default(),
            loading: Default::default(),
            tell,
            told: AtomicBool::new(false),
            seen_bytes: Default::default(),
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().expect("no thread panics with it")
    }

    fn number_of(&self, repository: Id) -> u32 {
        let mut repositories = self.repositories.lock().expect("no thread panics with it");
        let position = repositories.iter().position(|known| *known == repository).unwrap_or_else(|| {
            repositories.push(repository);
            repositories.len() - 1
        });
        u32::try_from(position).expect("fewer than 2^32 repositories")
    }

    fn is_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Tells the first trouble of a job; the others have mostly the same reason.
    fn trouble(&self, what: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            (self.tell)(what);
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The lock of a directory's owner; `None` if another process has it.
fn lock_owner(path: &Path) -> io::Result<Option<File>> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_link)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
