//! The marker: who may restore where somebody else did.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::super::*;
use super::fixture::{Fixture, assert_same};
use crate::source;

fn fixture() -> (Fixture, Options) {
    let fixture = Fixture::new();
    fixture.write("file", b"content");
    let options = fixture.options(&fixture.backup());
    (fixture, options)
}

/// What another machine wrote, so long ago.
fn leave(fixture: &Fixture, boot_id: &str, age: Duration) {
    let id = Id::of(b"snapshot");
    let content = format!(
        r#"{{"run_id":"r","snapshot_id":"{id}","time":"2024-01-01T00:00:00Z","host":"other","pid":7,"boot_id":"{boot_id}"}}"#
    );
    fs::write(fixture.marker(), content).unwrap();
    File::open(fixture.marker()).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn of_two_restores_into_one_target_the_second_is_refused() {
    let (fixture, options) = fixture();
    let target = Arc::new(TargetDir::create_without_links(&options.target).unwrap());
    let runtime = fixture.repository.store.runtime();
    let running = Marker::leave(&target, &options, runtime).unwrap();
    let refused = fixture.restore(&options).unwrap_err().to_string();
    let expected = format!("PID {} on test", std::process::id());
    assert!(refused.contains(&expected) && refused.contains("/target/.pillion-restore"), "{refused}");
    assert!(!fixture.target().join("file").exists());
    drop(running);
    assert!(fixture.marker().exists(), "only success takes it away");
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
}

#[test]
fn a_marker_of_another_machine_is_taken_over_when_it_is_stale() {
    let (fixture, options) = fixture();
    leave(&fixture, "another boot", Duration::from_secs(60));
    let refused = fixture.restore(&options).unwrap_err().to_string();
    assert!(refused.contains("by PID 7 on other"), "{refused}");
    leave(&fixture, "another boot", Duration::from_secs(6 * 60));
    fixture.restore_whole(&options);
}

#[test]
fn a_free_marker_of_this_machine_is_taken_over_at_once() {
    let (fixture, options) = fixture();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    leave(&fixture, boot_id.trim(), Duration::ZERO);
    fixture.restore_whole(&options);
}

#[test]
fn a_marker_is_seen_by_whoever_backs_up() {
    let (fixture, options) = fixture();
    let check = |expected: bool| {
        let target = source::open_without_links(&options.target).unwrap();
        target.open_dir().unwrap();
        assert_eq!(marker::is_in(&target), expected);
    };
    check(false);
    leave(&fixture, "", Duration::ZERO);
    check(true);
}

#[test]
fn a_marker_in_a_snapshot_is_left_out() {
    let (fixture, _) = fixture();
    fixture.write(".pillion-restore", b"old");
    fixture.write("dir/.pillion-restore", b"somebody's own");
    let options = fixture.options(&fixture.backup());
    fixture.restore_whole(&options);
    assert!(fixture.target().join("dir/.pillion-restore").exists());
}

#[test]
fn a_dry_run_leaves_no_marker_and_makes_no_target() {
    let (fixture, mut options) = fixture();
    options.target.extend_from_slice(b"/not/there");
    options.dry_run = true;
    let report = fixture.restore(&options).unwrap();
    assert_eq!((report.files_restored, report.bytes_restored), (1, 7));
    assert_eq!(fs::read_dir(fixture.target()).unwrap().count(), 0);
}
