//! What could not be backed up is said, in every run until it can be.

use rustix::io::Errno;

use super::*;
use crate::source::script::Call;

fn bench() -> Bench {
    let bench = Bench::new();
    bench
        .script
        .file("/data/good", b"good")
        .file("/data/dir/secret", b"secret")
        .file("/data/dir/other", b"other");
    bench
}

/// Two runs tell the same and leave the path out; once repaired, it is there and the run is complete.
fn check(spoil: impl Fn(&Script), repair: impl Fn(&Script), told: &str, missing: &str) {
    let bench = bench();
    spoil(&bench.script);
    for run in ["first", "second"] {
        let (report, events) = bench.run_reporting(|_| {});
        assert!(!report.is_complete(), "{run}");
        assert_eq!(events, [told], "{run}");
        let held = bench.restored(&report);
        assert!(!held.keys().any(|path| path == missing), "{run}: {held:?}");
        assert!(held.contains_key("/data/good"), "{run}");
    }
    repair(&bench.script);
    let (report, events) = bench.run_reporting(|_| {});
    assert!(report.is_complete());
    assert_eq!(events, Vec::<String>::new());
    bench.assert_holds_the_source(&report);
}

fn fails(call: Call, path: &'static str, errno: Errno) -> impl Fn(&Script) {
    move |script| {
        script.fail_always(call, path, errno);
    }
}

fn repaired(script: &Script) {
    script.forget_cues();
}

#[test]
fn what_cannot_be_read_is_said_in_every_run_until_it_can() {
    let secret = "/data/dir/secret";
    check(fails(Call::OpenFile, secret, Errno::ACCESS), repaired, "Unreadable /data/dir/secret", secret);
    check(fails(Call::Stat, secret, Errno::IO), repaired, "InputOutput /data/dir/secret", secret);
    check(fails(Call::Read, secret, Errno::IO), repaired, "InputOutput /data/dir/secret", secret);
    check(fails(Call::MetadataNow, secret, Errno::IO), repaired, "InputOutput /data/dir/secret", secret);
    check(
        fails(Call::ExtendedAttributes, secret, Errno::PERM),
        repaired,
        "Unreadable /data/dir/secret",
        secret,
    );
}

#[test]
fn a_directory_that_cannot_be_read_is_said_in_every_run_until_it_can() {
    let dir = "/data/dir";
    check(fails(Call::OpenDir, dir, Errno::ACCESS), repaired, "Unreadable /data/dir", dir);
    check(fails(Call::Names, dir, Errno::IO), repaired, "InputOutput /data/dir", dir);
    check(fails(Call::ExtendedAttributes, dir, Errno::ACCESS), repaired, "Unreadable /data/dir", dir);
}

#[test]
fn a_file_that_became_unreadable_is_not_taken_from_the_parent() {
    let bench = bench();
    bench.run();
    bench.script.advance(100);
    bench.script.change("/data/dir/secret", |metadata| metadata.ctime.seconds += 100);
    bench.script.fail_always(Call::OpenFile, "/data/dir/secret", Errno::ACCESS);
    for _ in 0..2 {
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(events, ["Unreadable /data/dir/secret"]);
        assert_eq!(report.faults.skipped, 1);
    }
}

#[test]
fn a_file_that_breaks_off_in_the_middle_is_not_half_in_the_snapshot() {
    let bench = bench();
    bench.script.file("/data/large", &noise(2, 5 << 20)).fail_reads_from("/data/large", 3 << 20, Errno::IO);
    for _ in 0..2 {
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(events, ["InputOutput /data/large"]);
        assert!(!bench.restored(&report).contains_key("/data/large"));
    }
}

#[test]
fn a_torn_file_is_said_and_read_again() {
    let bench = bench();
    bench.script.before(Call::MetadataNow, "/data/dir/secret", 1, |script| {
        script.advance(10);
        script.write("/data/dir/secret", b"SECRET");
    });
    let (report, events) = bench.run_reporting(|_| {});
    assert_eq!(events, ["Torn /data/dir/secret"]);
    assert_eq!((report.faults.torn, report.faults.skipped), (1, 0));
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn a_file_that_is_torn_in_every_run_is_said_in_every_run() {
    let bench = bench();
    for turn in [1, 2] {
        bench.script.before(Call::MetadataNow, "/data/dir/secret", turn, |script| {
            script.advance(10);
            script.write("/data/dir/secret", b"SECRET");
        });
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(events, ["Torn /data/dir/secret"], "run {turn}");
        assert_eq!(report.faults, Faults { torn: 1, ..Faults::default() });
    }
    let (report, events) = bench.run_reporting(|_| {});
    assert_eq!(events, Vec::<String>::new());
    bench.assert_holds_the_source(&report);
}

#[test]
fn what_vanishes_is_neither_skipped_nor_torn() {
    let bench = bench();
    bench.script.before(Call::OpenFile, "/data/dir/secret", 1, |script| {
        script.remove("/data/dir/secret");
    });
    let (report, events) = bench.run_reporting(|_| {});
    assert_eq!(events, ["Vanished /data/dir/secret"]);
    assert!(report.is_complete());
    assert_eq!(report.faults, Faults { vanished: 1, ..Faults::default() });
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn what_an_exclude_left_out_is_back_when_the_exclude_is_gone() {
    let bench = bench();
    bench.run();
    let excluded = bench.run_with(|options| options.exclusion = excluding(&["/data/dir/secret"]));
    assert!(!bench.restored(&excluded).contains_key("/data/dir/secret"));
    assert!(bench.restored(&excluded).contains_key("/data/dir/other"));
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn what_cannot_be_read_is_no_fault_only_as_long_as_it_is_excluded() {
    let bench = bench();
    let told = "Unreadable /data/dir/secret";
    bench.script.fail_always(Call::OpenFile, "/data/dir/secret", Errno::ACCESS);
    for excludes in [&["/data/dir/secret"][..], &["/data/dir"]] {
        for _ in 0..2 {
            let exclusion = |options: &mut Options| options.exclusion = excluding(excludes);
            let (report, events) = bench.run_reporting(exclusion);
            assert!(report.is_complete() && events.is_empty(), "{excludes:?}: {events:?}");
            assert!(!bench.restored(&report).contains_key(excludes[0]));
        }
        for _ in 0..2 {
            let (report, events) = bench.run_reporting(|_| {});
            assert_eq!((report.is_complete(), &events[..]), (false, &[told.to_owned()][..]));
        }
    }
    bench.script.forget_cues();
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn another_user_reuses_nothing() {
    let secret = "/data/dir/secret";
    for other in [(1000, 0), (0, 1000)] {
        let bench = bench();
        let opened = || bench.script.calls(Call::OpenFile, secret);
        let as_other = |options: &mut Options| (options.uid, options.gid) = other;
        bench.run();
        bench.run();
        assert_eq!(opened(), 1, "the same user reads it once");
        bench.script.fail_always(Call::OpenFile, secret, Errno::ACCESS);
        for run in ["first", "second"] {
            let (report, events) = bench.run_reporting(as_other);
            assert_eq!(events, ["Unreadable /data/dir/secret"], "{run}");
            assert!(!report.is_complete() && !bench.restored(&report).contains_key(secret), "{run}");
        }
        bench.script.forget_cues();
        bench.assert_holds_the_source(&bench.run());
        let before = opened();
        let report = bench.run_with(as_other);
        assert_eq!(opened(), before + 1, "read again, though it is as it was");
        assert_eq!((report.summary.data_blobs, report.summary.tree_blobs), (0, 0), "and stored once");
        bench.run_with(as_other);
        assert_eq!(opened(), before + 1);
        bench.assert_holds_the_source(&report);
    }
}

#[test]
fn what_was_hidden_from_another_user_is_found() {
    let bench = bench();
    bench.script.symlink("/data/dir/link", "other").put("/data/dir/pipe", source::script::Entry::Fifo);
    let paths = ["/data/dir", "/data/dir/secret", "/data/dir/link", "/data/dir/pipe"];
    let first = bench.run_with(|options| options.uid = 1000);
    for path in paths {
        // Some attributes are only shown to whom the system trusts, and no time tells of them.
        let attribute = ExtendedAttribute { name: b"trusted.hidden".to_vec(), value: b"value".to_vec() };
        bench.script.set_extended_attributes(path, vec![attribute]);
    }
    let unseen = bench.run_with(|options| options.uid = 1000);
    assert_eq!(unseen.snapshot.tree, first.snapshot.tree, "nothing shows it");
    let repository = fixture::open(bench.store.clone());
    let report = bench.run();
    let mut reader = BlobReader::new(&repository, &repository.load_index().unwrap().index);
    let mut nodes_of = |tree: Id| reader.load_tree(&tree).unwrap();
    let data = nodes_of(report.snapshot.tree).remove(0).subtree.unwrap();
    let dir = nodes_of(data).into_iter().find(|node| node.name == b"dir").unwrap();
    let entries = nodes_of(dir.subtree.unwrap());
    let found = entries.iter().chain([&dir]).filter(|node| !node.rare.extended_attributes.is_empty());
    assert_eq!(found.count(), paths.len());
}

#[test]
fn a_mount_below_the_source_is_a_skip_and_not_an_empty_directory() {
    let bench = bench();
    bench.script.mount("/data/volume", 5000).file("/data/volume/file", b"of another file system");
    // A bind mount shows the same device.
    let device = bench.script.metadata("/data").device;
    bench.script.mount("/data/dir/bound", device).file("/data/dir/bound/file", b"of the same");
    for _ in 0..2 {
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(events, ["NestedMount /data/dir/bound", "NestedMount /data/volume"]);
        assert_eq!(report.faults.skipped, 2);
        assert!(
            !bench.restored(&report).keys().any(|path| path.contains("volume") || path.contains("bound"))
        );
    }
    bench.assert_holds_the_source(&bench.run_with(|options| options.mounts = Mounts::Cross));
}

#[test]
fn what_takes_the_place_of_an_entry_is_not_followed() {
    for call in [Call::OpenFile, Call::OpenDir] {
        let bench = bench();
        let path = if call == Call::OpenFile { "/data/dir/secret" } else { "/data/dir" };
        bench.script.file("/etc/shadow", b"foreign");
        bench.script.before(call, path, 1, move |script| {
            script.remove(path);
            script.symlink(path, if call == Call::OpenFile { "/etc/shadow" } else { "/etc" });
        });
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(events, [format!("Swapped {path}")]);
        let foreign = bench.restored(&report).values().any(|seen| seen.content == b"foreign");
        assert!(!foreign);
        bench.assert_holds_the_source(&bench.run());
    }
}

#[test]
fn a_source_that_is_not_there_makes_the_snapshot_incomplete_and_all_of_them_an_error() {
    let bench = bench();
    let two = Source::Paths(vec![b"/data".to_vec(), b"/gone".to_vec()]);
    let (report, events) = bench.run_reporting(|options| options.source = two);
    assert_eq!(events, ["MissingTarget /gone"]);
    assert!(!report.is_complete());
    let mut options = bench.options();
    options.source = Source::Paths(vec![b"/gone".to_vec()]);
    let refused = backup_to(bench.store.clone(), &options, &Silent);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}
