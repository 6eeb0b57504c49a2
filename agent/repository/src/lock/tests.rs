use std::sync::Arc;

use pillion_backend::mem::Mem;
use pillion_backend::{Backend, FileKind};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::repository::{Creator, Settings, init};

/// A repository in memory, and the runtime it needs.
struct Fixture {
    _runtime: tokio::runtime::Runtime,
    repository: Repository,
}

impl Fixture {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let backend: Arc<dyn Backend> = Arc::new(Mem::new());
        let store = Store::new(backend, runtime.handle().clone(), CancellationToken::new());
        let creator = Creator { hostname: "test".to_owned(), username: "test".to_owned() };
        let repository = init(&store, b"secret", &creator, Settings::default()).unwrap();
        Self { _runtime: runtime, repository }
    }

    fn locks(&self) -> Vec<Id> {
        self.repository.store.list_ids(FileKind::Lock).unwrap()
    }
}

fn options(mode: Mode) -> Options {
    let holder = Holder {
        hostname: "test".to_owned(),
        username: "test".to_owned(),
        pid: std::process::id(),
        uid: 0,
        gid: 0,
    };
    let milliseconds = Duration::from_millis;
    let timing = Timing {
        settle: milliseconds(1),
        unreadable: vec![milliseconds(1)],
        refresh: milliseconds(5),
        lost_after: milliseconds(200),
        retry: (milliseconds(1), milliseconds(2)),
    };
    Options {
        holder,
        mode,
        retry_for: Duration::ZERO,
        timing,
        given_up: GivenUp::default(),
        ended: Ended::default(),
    }
}

#[test]
fn only_shared_locks_live_side_by_side() {
    let check = |first: Mode, second: Mode, both: bool| {
        let fixture = Fixture::new();
        let held = Lock::acquire(&fixture.repository, &options(first)).unwrap();
        let other = Lock::acquire(&fixture.repository, &options(second));
        assert_eq!(other.is_ok(), both, "{first:?} then {second:?}");
        assert!(both || matches!(other, Err(Error::Locked(_))));
        drop((held, other));
        assert_eq!(fixture.locks(), [], "every lock is gone, that of the loser too");
    };
    check(Mode::Shared, Mode::Shared, true);
    check(Mode::Shared, Mode::Exclusive, false);
    check(Mode::Exclusive, Mode::Shared, false);
    check(Mode::Exclusive, Mode::Exclusive, false);
}

#[test]
fn a_refreshed_lock_has_a_new_file_and_is_gone_after_release() {
    let fixture = Fixture::new();
    let lock = Lock::acquire(&fixture.repository, &options(Mode::Shared)).unwrap();
    let first = fixture.locks();
    let deadline = Instant::now() + Duration::from_secs(30);
    while fixture.locks().iter().any(|id| first.contains(id)) {
        assert!(Instant::now() < deadline, "the lock was never refreshed");
        std::thread::yield_now();
    }
    lock.release().unwrap();
    assert_eq!(fixture.locks(), []);
}

#[test]
fn a_lock_that_somebody_removed_ends_its_job() {
    let fixture = Fixture::new();
    let lock = Lock::acquire(&fixture.repository, &options(Mode::Shared)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !lock.token().is_cancelled() {
        assert!(Instant::now() < deadline, "nobody noticed");
        for id in fixture.locks() {
            fixture.repository.store.remove(&file_name(FileKind::Lock, &id)).unwrap();
        }
    }
    let explained = lock.explain::<()>(Err(Error::Cancelled));
    assert!(matches!(explained, Err(Error::LockLost(_))), "{explained:?}");
}

#[test]
fn waiting_for_a_lock_ends_when_it_goes() {
    let fixture = Fixture::new();
    let held = Lock::acquire(&fixture.repository, &options(Mode::Exclusive)).unwrap();
    let waiting = Options { retry_for: Duration::from_secs(60), ..options(Mode::Shared) };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| Lock::acquire(&fixture.repository, &waiting));
        held.release().unwrap();
        other.join().unwrap().expect("the lock was released");
    });
}

#[test]
fn unlock_leaves_a_living_process_its_lock() {
    let fixture = Fixture::new();
    let own = options(Mode::Shared);
    let _held = Lock::acquire(&fixture.repository, &own).unwrap();
    assert_eq!(unlock(&fixture.repository, &own.holder, false).unwrap(), 0);
    assert_eq!(unlock(&fixture.repository, &own.holder, true).unwrap(), 1);
}

#[test]
fn nothing_is_written_while_a_lock_is_too_old() {
    let fixture = Fixture::new();
    let mut options = options(Mode::Shared);
    // The refresher looks only after some seconds: the write comes first.
    options.timing.refresh = Duration::from_secs(3600);
    options.timing.lost_after = Duration::from_secs(1800);
    let lock = Lock::acquire(&fixture.repository, &options).unwrap();
    let guarded = lock.guarded(&fixture.repository.store, &options).with_cancel(lock.token().clone());
    let file = |content: &[u8]| file_name(FileKind::Snapshot, &Id::of(content));
    guarded.save(&file(b"fresh"), Body::from(b"fresh".to_vec())).unwrap();
    // The machine sleeps for an hour, and somebody unlocks the repository.
    *lock.shared.refreshed.lock().unwrap() -= Duration::from_secs(3600);
    for id in fixture.locks() {
        fixture.repository.store.remove(&file_name(FileKind::Lock, &id)).unwrap();
    }
    guarded.load(&file(b"fresh")).expect("reading does no harm");
    let refused = guarded.save(&file(b"old"), Body::from(b"old".to_vec()));
    assert!(matches!(lock.explain(refused), Err(Error::LockLost(_))));
    assert!(fixture.repository.store.stat(&file(b"old")).is_err());
}

#[test]
fn a_job_that_was_given_up_has_no_lock_and_writes_nothing() {
    let fixture = Fixture::new();
    let options = options(Mode::Shared);
    let lock = Lock::acquire(&fixture.repository, &options).unwrap();
    let writing = fixture.repository.store.with_cancel(lock.valid_token().clone());
    assert_eq!(fixture.locks().len(), 1);
    fixture.repository.store.runtime().block_on(options.given_up.give_up(Duration::from_secs(60)));
    assert_eq!(fixture.locks(), []);
    let file = file_name(FileKind::Pack, &Id::of(b"x"));
    assert!(matches!(writing.save(&file, Body::from(b"x".to_vec())), Err(Error::Cancelled)));
    assert!(lock.lost().unwrap().to_string().contains("given up"));
    lock.release().unwrap();
}

#[test]
fn a_job_without_a_lock_is_given_up_at_once() {
    let fixture = Fixture::new();
    fixture.repository.store.runtime().block_on(GivenUp::default().give_up(Duration::MAX));
}
