//! A restore that is stopped anywhere: the marker stays, nothing half-made has a true name, and the next run
//! completes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

use pillion_backend::ErrorKind;
use pillion_backend::fault::Rule;

use super::super::*;
use super::fixture::{Fixture, assert_same, look, noise};
use crate::event::Silent;
use crate::target::TEMPORARY_PREFIX;

fn fill(fixture: &Fixture) {
    for number in 0..12 {
        fixture.write(&format!("dir-{}/{number}", number % 3), &noise(number, 2_000));
    }
    fixture.write("large", &noise(99, 4 << 20));
    fs::hard_link(fixture.source().join("large"), fixture.source().join("other name")).unwrap();
}

/// Whatever has a true name in the target is whole.
fn assert_nothing_half_made(fixture: &Fixture) {
    let source = look(&fixture.source());
    for (path, found) in look(&fixture.target()) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
        if name != marker::NAME && found.mode & 0o170_000 == 0o100_000 {
            assert!(!name.starts_with(TEMPORARY_PREFIX), "an orderly stop leaves no temporary file");
            assert!(found.content == source[&path].content, "{}", path.escape_ascii());
        }
    }
}

#[test]
fn a_stop_at_any_store_call_leaves_the_marker_and_the_next_run_completes() {
    let fixture = Fixture::new();
    fill(&fixture);
    let options = fixture.options(&fixture.backup());
    for n in 1.. {
        fixture.backend.add(Rule::from_nth(n).fails(ErrorKind::Unavailable));
        let stopped = fixture.restore(&options);
        fixture.backend.clear_rules();
        if stopped.is_ok() {
            assert!(n > 4, "the restore makes more calls than {n}");
            break;
        }
        assert_nothing_half_made(&fixture);
        let began = fs::read_dir(fixture.target()).unwrap().count() > 0;
        assert_eq!(fixture.marker().exists(), began, "call {n}");
        fixture.restore_whole(&options);
        assert_same(&fixture.target(), &fixture.source());
        fs::remove_dir_all(fixture.target()).unwrap();
        fs::create_dir(fixture.target()).unwrap();
    }
}

/// Cancels the run when it is told of the n-th entry.
struct CancelAt {
    n: u64,
    count: AtomicU64,
    token: CancellationToken,
}

impl Reporter for CancelAt {
    fn report(&self, event: Event<'_>) {
        if matches!(event, Event::Item { .. }) && self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.n {
            self.token.cancel();
        }
    }

    fn wants_items(&self) -> bool {
        true
    }
}

#[test]
fn a_stop_at_any_entry_leaves_the_marker_and_the_next_run_completes() {
    let fixture = Fixture::new();
    fill(&fixture);
    let options = fixture.options(&fixture.backup());
    let entries = look(&fixture.source()).len() as u64;
    for n in 1..=entries {
        let token = CancellationToken::new();
        let store = fixture.repository.store.with_cancel(token.clone());
        let stopping = CancelAt { n, count: AtomicU64::new(0), token };
        let stopped =
            restore(&fixture.repository.with_store(store), &options, &stopping, &Progress::default());
        assert!(matches!(stopped, Err(Error::Cancelled)), "entry {n}: {stopped:?}");
        assert!(fixture.marker().exists(), "entry {n}");
        assert_nothing_half_made(&fixture);
        fixture.restore_whole(&options);
        assert_same(&fixture.target(), &fixture.source());
        fs::remove_dir_all(fixture.target()).unwrap();
        fs::create_dir(fixture.target()).unwrap();
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let fixture = Fixture::new();
    fill(&fixture);
    let mut options = fixture.options(&fixture.backup());
    let temporary = crate::target::temporary_name();
    let temporary = std::ffi::OsStr::from_bytes(&temporary);
    super::fixture::write(&fixture.target().join("dir-1").join(temporary), b"half");
    // Without a marker it may be anybody's.
    restore(&fixture.repository, &options, &Silent, &Progress::default()).unwrap();
    assert!(fixture.target().join("dir-1").join(temporary).exists());
    fs::write(fixture.marker(), "").unwrap();
    fs::File::open(fixture.marker()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    options.overwrite = Overwrite::IfChanged;
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
}

#[test]
fn a_full_target_ends_the_run_with_one_error() {
    let full = Error::local("write", "/x", rustix::io::Errno::NOSPC);
    let denied = Error::local("write", "/x", rustix::io::Errno::ACCESS);
    assert!(ends_the_run(&full) && !ends_the_run(&denied));
}
