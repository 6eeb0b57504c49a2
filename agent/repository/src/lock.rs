//! The lock on a repository: it owns the right to write.
//!
//! restic's protocol: look, write our own, wait, look again; refresh by a new file before the old one goes.
//! A lock that could not be refreshed in time, or that somebody removed, cancels [`Lock::token`], and with it
//! every store call of the job. A resident process never holds one while it is idle, or nobody else could
//! ever prune or check.

mod guard;
mod refresh;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use pillion_backend::{Body, FileKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};
use crate::event::{Event, Reporter};
use crate::format::id::Id;
use crate::format::lock::Lock as LockFile;
use crate::format::time::Timestamp;
use crate::repository::Repository;
use crate::store::{Store, entry_id, file_name};

/// Who holds a lock, as others read it.
#[derive(Clone, Debug)]
pub struct Holder {
    pub hostname: String,
    pub username: String,
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Others may read and back up at the same time.
    Shared,
    /// Nobody else may hold any lock.
    Exclusive,
}

/// The times of the protocol. The default is restic's; tests shorten it.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between writing our lock and looking again.
    pub settle: Duration,
    /// Waits before a lock file that cannot be read is tried again.
    pub unreadable: Vec<Duration>,
    pub refresh: Duration,
    /// Without a successful refresh for this long the lock counts as lost.
    pub lost_after: Duration,
    /// Wait between two tries of `retry_for`, doubling up to the second value.
    pub retry: (Duration, Duration),
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            settle: Duration::from_millis(200),
            unreadable: vec![seconds(5), seconds(10), seconds(20)],
            refresh: seconds(5 * 60),
            lost_after: seconds(22 * 60 + 30),
            retry: (seconds(5), seconds(60)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub holder: Holder,
    pub mode: Mode,
    /// How long to wait for somebody else's lock to go.
    pub retry_for: Duration,
    pub timing: Timing,
    /// For whoever may have to give up the job.
    pub given_up: GivenUp,
    /// Whose locks are of the dead.
    pub ended: Ended,
}

/// Knows of a lock that whoever holds it has ended, beyond doubt: such a lock is removed and not heeded.
#[derive(Clone, Default)]
pub struct Ended(Option<Arc<Knows>>);

type Knows = dyn Fn(&LockFile) -> bool + Send + Sync;

impl Ended {
    pub fn new(knows: impl Fn(&LockFile) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(knows)))
    }

    pub fn knows(&self, lock: &LockFile) -> bool {
        self.0.as_ref().is_some_and(|knows| knows(lock))
    }
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ended")
    }
}

/// Has the lock go although its job does not end: a thread of it may hang in the system for good.
#[derive(Clone, Debug, Default)]
pub struct GivenUp {
    asked: CancellationToken,
    refreshers: TaskTracker,
}

impl GivenUp {
    /// From here on the job writes nothing any more, whenever its threads return, and its lock is removed. Waits for that
    /// no longer than `patience`.
    pub async fn give_up(&self, patience: Duration) {
        self.asked.cancel();
        self.refreshers.close();
        let _it_grows_stale_otherwise = tokio::time::timeout(patience, self.refreshers.wait()).await;
    }
}

/// A held lock. Dropping it removes its file as well as it can; [`Lock::release`] says how that went.
#[derive(Debug)]
pub struct Lock {
    /// Store calls of this outlive the job's cancellation: the lock must go even then.
    store: Store,
    shared: Arc<Shared>,
    refresher: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    current: std::sync::Mutex<Id>,
    /// When the current file was begun to be written, by the wall clock.
    refreshed: std::sync::Mutex<SystemTime>,
    /// Ends with the job, or when the lock is lost.
    token: CancellationToken,
    /// Ends only when the lock is lost.
    valid: CancellationToken,
    /// Asks the refresher to end; it finishes a refresh that is under way, so that `current` is true then.
    released: CancellationToken,
    lost: OnceLock<String>,
}

impl Lock {
    pub fn acquire(repository: &Repository, options: &Options) -> Result<Self> {
        Self::acquire_while(repository, options, |_| Ok(())).map(|(lock, ())| lock)
    }

    /// Acquires, and uses the time between the two looks: `meanwhile` runs when our lock file is durable.
    /// What it reads is as good as read later: whoever takes a conflicting lock after that moment sees
    /// ours and gives up, and if one was there before, the second look fails and its result is dropped.
    pub fn acquire_while<T>(
        repository: &Repository,
        options: &Options,
        meanwhile: impl Fn(&Repository) -> Result<T>,
    ) -> Result<(Self, T)> {
        let deadline = Instant::now() + options.retry_for;
        let mut pause = options.timing.retry.0;
        loop {
            match Self::try_acquire(repository, options, &meanwhile) {
                Err(Error::Locked(_)) if Instant::now() + pause <= deadline => {
                    repository.store.sleep(pause)?;
                    pause = (pause * 2).min(options.timing.retry.1);
                }
                result => return result,
            }
        }
    }

    fn try_acquire<T>(
        repository: &Repository,
        options: &Options,
        meanwhile: impl Fn(&Repository) -> Result<T>,
    ) -> Result<(Self, T)> {
        refuse_conflict(repository, options, None)?;
        let (id, body) = sealed_lock(repository, options);
        // From here on it is removed again: the file may be there also where saving it seems to fail.
        let mut lock = Self::new(repository, id);
        repository.store.save(&file_name(FileKind::Lock, &id), body)?;
        let written = Instant::now();
        let work = repository.with_store(lock.store_for_reading(&repository.store));
        let result = match meanwhile(&work) {
            Ok(result) => result,
            Err(e) => {
                // A prune that was under way removes what is being read: then the conflict is the reason.
                refuse_conflict(repository, options, Some(&id))?;
                return Err(e);
            }
        };
        repository.store.sleep(options.timing.settle.saturating_sub(written.elapsed()))?;
        refuse_conflict(repository, options, Some(&id))?;
        lock.start_refreshing(repository, options);
        Ok((lock, result))
    }

    fn new(repository: &Repository, id: Id) -> Self {
        let valid = CancellationToken::new();
        let token = repository.store.cancel_token().child_token();
        Self {
            store: repository.store.with_cancel(CancellationToken::new()),
            shared: Arc::new(Shared {
                current: std::sync::Mutex::new(id),
                refreshed: std::sync::Mutex::new(SystemTime::now()),
                token,
                valid,
                released: CancellationToken::new(),
                lost: OnceLock::new(),
            }),
            refresher: None,
        }
    }

    fn store_for_reading(&self, store: &Store) -> Store {
        store.with_cancel(self.shared.token.clone())
    }

    /// The store for what the job writes: a write waits where the lock has not been refreshed in time.
    pub fn guarded(&self, store: &Store, options: &Options) -> Store {
        store.with_backend(Arc::new(guard::Guarded {
            inner: Arc::clone(store.backend()),
            shared: Arc::clone(&self.shared),
            lost_after: options.timing.lost_after,
        }))
    }

    /// For a job's work: ends with the job and with the lock.
    pub fn token(&self) -> &CancellationToken {
        &self.shared.token
    }

    /// For what an interrupted job still has to write (its index): ends with the lock alone.
    pub fn valid_token(&self) -> &CancellationToken {
        &self.shared.valid
    }

    /// Why the lock was lost, if it was.
    pub fn lost(&self) -> Option<Error> {
        self.shared.lost.get().map(|why| Error::LockLost(why.clone()))
    }

    /// The result of a job under this lock: one that was cancelled because of the lock says so.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        match (result, self.lost()) {
            (Err(Error::Cancelled), Some(lost)) => Err(lost),
            (result, _) => result,
        }
    }

    /// Ends a job under this lock: its result, explained. That the lock's file stays is told, and no failure of the
    /// job: it was done.
    pub(crate) fn conclude<T>(self, result: Result<T>, reporter: &dyn Reporter) -> Result<T> {
        let result = self.explain(result);
        if let Err(e) = self.release() {
            reporter.report(Event::Warning { message: format!("the lock could not be removed: {e}") });
        }
        result
    }

    pub fn release(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        if self.shared.released.is_cancelled() {
            return Ok(());
        }
        self.shared.released.cancel();
        if let Some(refresher) = self.refresher.take() {
            let _ended = self.store.runtime().block_on(refresher);
        }
        self.remove_file()
    }

    fn remove_file(&self) -> Result<()> {
        let id = *self.shared.current.lock().expect("no thread panics with it");
        self.store.remove(&file_name(FileKind::Lock, &id))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _best_effort = self.remove();
    }
}

fn lock_json(options: &Options) -> Vec<u8> {
    let Holder { hostname, username, pid, uid, gid } = options.holder.clone();
    let time = Timestamp::from(SystemTime::now());
    let exclusive = options.mode == Mode::Exclusive;
    LockFile { time, exclusive, hostname, username, pid: i64::from(pid), uid, gid }.encode()
}

/// Fails with [`Error::Locked`] where another lock forbids ours; `own` is not counted.
fn refuse_conflict(repository: &Repository, options: &Options, own: Option<&Id>) -> Result<()> {
    for entry in repository.store.list(FileKind::Lock)? {
        let id = entry_id(&entry);
        // An empty file is no lock: some stores show one while it is being written.
        if entry.size_bytes == 0 || own == Some(&id) {
            continue;
        }
        let lock = load_lock(repository, &options.timing, &id)?;
        if lock.as_ref().is_some_and(|lock| options.ended.knows(lock)) {
            // Where nothing may be removed it stays in nobody's way but an exclusive one's.
            match repository.store.remove(&entry.file) {
                Err(e @ (Error::Cancelled | Error::LockLost(_))) => return Err(e),
                _ => continue,
            }
        }
        if let Some(lock) = lock.filter(|lock| lock.exclusive || options.mode == Mode::Exclusive) {
            return Err(Error::Locked(describe(&lock)));
        }
    }
    Ok(())
}

fn load_lock(repository: &Repository, timing: &Timing, id: &Id) -> Result<Option<LockFile>> {
    let mut waits = timing.unreadable.iter();
    loop {
        match repository.load_lock(id) {
            Ok(lock) => return Ok(Some(lock)),
            // Removed since it was listed: its holder is done.
            Err(Error::Backend(e)) if e.kind == pillion_backend::ErrorKind::NotFound => return Ok(None),
            Err(e @ (Error::Cancelled | Error::LockLost(_))) => return Err(e),
            Err(e) => match waits.next() {
                Some(wait) => repository.store.sleep(*wait)?,
                None => return Err(e),
            },
        }
    }
}

fn describe(lock: &LockFile) -> String {
    let kind = if lock.exclusive { "exclusively " } else { "" };
    let mut since = Vec::new();
    lock.time.write_to(&mut since);
    let since = String::from_utf8_lossy(&since).into_owned();
    format!("{kind}by PID {} on {} by {} since {since}", lock.pid, lock.hostname, lock.username)
}

/// Removes stale locks, or all of them, and returns how many went.
pub fn unlock(repository: &Repository, holder: &Holder, all: bool) -> Result<usize> {
    let mut removed = 0;
    for entry in repository.store.list(FileKind::Lock)? {
        let id = entry_id(&entry);
        let stale = all || {
            match repository.load_lock(&id) {
                Ok(lock) => {
                    lock.is_stale(Timestamp::from(SystemTime::now()), &holder.hostname, process_is_alive)
                }
                Err(Error::Backend(e)) if e.kind == pillion_backend::ErrorKind::NotFound => false,
                // What nobody can read is nobody's lock once it is old enough to be no half-written one.
                Err(Error::Damaged { .. }) => is_old(&entry),
                Err(e) => return Err(e),
            }
        };
        if stale {
            repository.store.remove(&entry.file)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_old(entry: &pillion_backend::Entry) -> bool {
    let age = entry.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > Duration::from_secs(30 * 60))
}

fn process_is_alive(pid: i64) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    // Signal 0 is not delivered; a process of somebody else answers "not permitted".
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

impl Lock {
    fn start_refreshing(&mut self, repository: &Repository, options: &Options) {
        let task = refresh::keep(
            repository.clone(),
            self.store.backend().clone(),
            options.clone(),
            Arc::clone(&self.shared),
        );
        let tracked = options.given_up.refreshers.track_future(task);
        self.refresher = Some(self.store.runtime().spawn(tracked));
    }
}

/// A lock's file, sealed and named, ready to be saved.
fn sealed_lock(repository: &Repository, options: &Options) -> (Id, Body) {
    let sealed = repository.encode_file(FileKind::Lock, &lock_json(options));
    (Id::of(&sealed), Body::from(sealed))
}
