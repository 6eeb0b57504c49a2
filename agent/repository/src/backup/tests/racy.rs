//! Equal metadata proves equal content only of what is old: what may have changed unseen is read again.

use super::*;
use crate::source::script::Call;

/// The script's clock is the machine's.
fn bench(age_seconds: i64) -> Bench {
    let bench = Bench::new();
    let now = Timestamp::from(SystemTime::now());
    bench.script.set_now(Timestamp { seconds: now.seconds - age_seconds, ..now });
    bench.script.file("/data/database", b"before");
    bench
}

#[test]
fn a_racy_entry_is_read_again() {
    let bench = bench(50);
    let first = bench.run();
    bench.script.write_unseen("/data/database", b"after!");
    let second = bench.run();
    assert_ne!(first.snapshot.tree, second.snapshot.tree);
    bench.assert_holds_the_source(&second);
}

#[test]
fn a_change_between_reading_and_closing_is_in_the_next_snapshot() {
    let bench = bench(50);
    bench.script.before(Call::MetadataNow, "/data/database", 1, |script| {
        script.write_unseen("/data/database", b"after!");
    });
    let first = bench.run();
    assert_eq!(first.faults.torn, 0, "nothing shows it");
    bench.assert_holds_the_source(&bench.run());
}

#[test]
fn an_old_entry_is_not_read_again() {
    let bench = bench(70);
    bench.run();
    bench.run();
    assert_eq!(bench.script.calls(Call::OpenFile, "/data/database"), 1);
}

#[test]
fn a_racy_entry_that_did_not_change_adds_nothing() {
    let bench = bench(0);
    let first = bench.run();
    let second = bench.run();
    assert_eq!(bench.script.calls(Call::OpenFile, "/data/database"), 2);
    assert_eq!(second.snapshot.tree, first.snapshot.tree);
    assert_eq!((second.summary.data_blobs, second.summary.tree_blobs), (0, 0));
    assert_eq!((second.summary.files_unmodified, second.summary.files_changed), (1, 0));
}

#[test]
fn a_changed_time_alone_tells_of_a_change_and_can_be_ignored() {
    let check = |compare: Compare, change: fn(&mut Metadata), opened: usize| {
        let bench = bench(1000);
        bench.run();
        bench.script.change("/data/database", change);
        let report = bench.run_with(|options| options.compare = compare);
        assert_eq!(bench.script.calls(Call::OpenFile, "/data/database"), opened, "{compare:?}");
        bench.assert_holds_the_source(&report);
    };
    let strict = Compare::default();
    let ignore_ctime = Compare { ignore_ctime: true, ..strict };
    let ignore_inode = Compare { ignore_inode: true, ..strict };
    check(strict, |metadata| metadata.ctime.seconds += 1, 2);
    check(ignore_ctime, |metadata| metadata.ctime.seconds += 1, 1);
    check(ignore_ctime, |metadata| metadata.mtime.seconds += 1, 2);
    check(strict, |metadata| metadata.inode += 1000, 2);
    check(ignore_inode, |metadata| metadata.inode += 1000, 1);
    check(ignore_inode, |metadata| metadata.ctime.seconds += 1, 2);
    check(
        strict,
        |metadata| (metadata.mode, metadata.ctime.seconds) = (0o100_600, metadata.ctime.seconds + 1),
        2,
    );
    check(
        ignore_ctime,
        |metadata| (metadata.mode, metadata.ctime.seconds) = (0o100_600, metadata.ctime.seconds + 1),
        1,
    );
}

#[test]
fn the_parent_is_the_latest_snapshot_of_the_same_source() {
    let bench = bench(1000);
    let other_host = bench.run_with(|options| options.host = "other".to_owned());
    let own = bench.run();
    assert_eq!((other_host.parent, own.parent), (None, None));
    let other_paths = bench.run_with(|options| {
        options.source = Source::Paths(vec![b"/data/database".to_vec()]);
    });
    assert_eq!(other_paths.parent, None, "it has not all of this run's paths");
    assert_eq!(bench.run().parent, own.snapshot_id);
    let later =
        bench.run_with(|options| options.time = Some(Timestamp { seconds: 9_000_000_000, nanoseconds: 0 }));
    let next = bench.run();
    assert_ne!(next.parent, later.snapshot_id, "a snapshot of the future is no parent");
    assert_eq!(bench.run_with(|options| options.parent = Parent::None).parent, None);
    let chosen = Parent::Chosen(other_host.snapshot_id.unwrap().to_string());
    assert_eq!(bench.run_with(|options| options.parent = chosen).parent, other_host.snapshot_id);
}

#[test]
fn the_identity_tag_alone_says_whose_snapshot_it_is() {
    let bench = bench(1000);
    let tagged = |tag: &'static str| {
        move |options: &mut Options| {
            options.tags = vec![tag.to_owned()];
            options.identity = Some(tag.to_owned());
            options.host = "random-pod-name".to_owned() + tag;
        }
    };
    let mine = bench.run_with(tagged("mine"));
    let yours = bench.run_with(tagged("yours"));
    assert_eq!((mine.parent, yours.parent), (None, None));
    assert_eq!(bench.run_with(tagged("mine")).parent, mine.snapshot_id);
}
