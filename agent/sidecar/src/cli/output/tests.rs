//! Every printer against what restic 0.19.1 printed for the same figures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillion_repository::event::{Change, Event, Reporter, SkipReason};
use pillion_repository::format::id::Id;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::{Node, NodeKind, Rare};

use super::job::JobReporter;
use super::listing::*;
use super::progress::{Kind, Rate, Sample, status_json, status_text};
use super::summary::*;
use super::*;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What `print` writes to standard output and to standard error.
fn printed(style: Style, verbosity: Verbosity, print: impl FnOnce(Arc<Output>)) -> (String, String) {
    let (lines, problems) = (Paper::default(), Paper::default());
    let sinks = (Box::new(lines.clone()), Box::new(problems.clone()));
    print(Arc::new(Output::new(style, verbosity, DisplayZone::Utc, sinks.0, sinks.1)));
    (lines.text(), problems.text())
}

fn id(head: &str) -> Id {
    format!("{head:0<64}").parse().unwrap()
}

const TIME: Timestamp = Timestamp { seconds: 1_795_252_145, nanoseconds: 21_239_931 };

fn row(head: &str, seconds: i64, tags: &[&str], paths: &[&str], size_bytes: u64) -> SnapshotRow {
    let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    SnapshotRow {
        id: id(head),
        time: Timestamp { seconds: TIME.seconds + seconds, ..TIME },
        hostname: "h".into(),
        tags: texts(tags),
        paths: texts(paths),
        size_bytes: Some(size_bytes),
    }
}

#[test]
fn the_table_of_snapshots_is_restics() {
    let rows = || {
        vec![
            row("ed6d927b", 1, &[], &["/tmp/sc/s"], 14),
            row("49bc51cc", 0, &["t1", "t2"], &["/tmp/sc/s"], 9),
            row("1dc0e41a", 0, &[], &["/tmp/sc/s", "/tmp/sc/s2"], 9),
        ]
    };
    let expected = "\
ID        Time                 Host        Tags        Paths       Size
-----------------------------------------------------------------------
49bc51cc  2026-11-21 09:09:05  h           t1,t2       /tmp/sc/s   9 B

1dc0e41a  2026-11-21 09:09:05  h                       /tmp/sc/s   9 B
                                                       /tmp/sc/s2

ed6d927b  2026-11-21 09:09:06  h                       /tmp/sc/s   14 B
-----------------------------------------------------------------------
Timestamps shown in UTC
3 snapshots
";
    assert_eq!(snapshot_table(rows(), false, &DisplayZone::Utc), expected);
    let compact = "\
ID        Time                 Host  Tags    Size
-------------------------------------------------
49bc51cc  2026-11-21 09:09:05  h     t1      9 B
                                     t2
1dc0e41a  2026-11-21 09:09:05  h             9 B
ed6d927b  2026-11-21 09:09:06  h             14 B
-------------------------------------------------
Timestamps shown in UTC
3 snapshots
";
    assert_eq!(snapshot_table(rows(), true, &DisplayZone::Utc), compact);
    let key = GroupKey { hostname: "h".into(), tags: Some(vec!["t1".into(), "t2".into()]), paths: None };
    assert_eq!(key.header().unwrap(), "snapshots for (host [h], tags [t1, t2]):");
    assert_eq!(serde_json::to_string(&key).unwrap(), r#"{"hostname":"h","paths":null,"tags":["t1","t2"]}"#);
}

fn summary() -> BackupSummary {
    BackupSummary {
        files_changed: 1,
        files_unmodified: 2,
        dirs_changed: 1,
        dirs_unmodified: 1,
        data_blobs: 1,
        tree_blobs: 2,
        data_added: 1860,
        data_added_packed: 904,
        total_files_processed: 3,
        total_bytes_processed: 14,
        total_duration: 0.522992005,
        backup_start: "2026-11-21T09:09:06.296261436Z".into(),
        backup_end: "2026-11-21T09:09:06.819253449Z".into(),
        snapshot_id: Some(id("ed6d927b").to_string()),
        ..BackupSummary::default()
    }
}

#[test]
fn the_end_of_a_backup_is_restics() {
    let (text, _) = printed(Style::Text, Verbosity::Verbose, |output| summary().print(&output));
    let expected = "
Files:           0 new,     1 changed,     2 unmodified
Dirs:            0 new,     1 changed,     1 unmodified
Data Blobs:      1 new
Tree Blobs:      2 new
Added to the repository: 1.816 KiB (904 B stored)

processed 3 files, 14 B in 0:00
snapshot ed6d927b saved
";
    assert_eq!(text, expected);
    let (json, _) = printed(Style::Json, Verbosity::Essential, |output| summary().print(&output));
    assert_eq!(
        json,
        format!(
            "{}{}{}",
            r#"{"message_type":"summary","files_new":0,"files_changed":1,"files_unmodified":2,"dirs_new":0,"dirs_changed":1,"dirs_unmodified":1,"data_blobs":1,"tree_blobs":2,"data_added":1860,"data_added_packed":904,"total_files_processed":3,"total_bytes_processed":14,"total_duration":0.522992005,"backup_start":"2026-11-21T09:09:06.296261436Z","backup_end":"2026-11-21T09:09:06.819253449Z","snapshot_id":""#,
            id("ed6d927b"),
            "\"}\n"
        )
    );
    assert_eq!(printed(Style::Text, Verbosity::Quiet, |output| summary().print(&output)).0, "");
}

#[test]
fn the_ends_of_the_other_commands_are_restics() {
    let restore = RestoreSummary {
        total_files: 7,
        files_restored: 7,
        total_bytes: 14,
        bytes_restored: 14,
        ..Default::default()
    };
    let (text, _) = printed(Style::Text, Verbosity::Essential, |output| restore.print(&output));
    assert_eq!(text, "Summary: Restored 7 files/dirs (14 B) in 0:00\n");
    let (json, _) = printed(Style::Json, Verbosity::Essential, |output| restore.print(&output));
    assert_eq!(
        json,
        "{\"message_type\":\"summary\",\"total_files\":7,\"files_restored\":7,\"total_bytes\":14,\"bytes_restored\":14}\n"
    );
    let (json, _) =
        printed(Style::Json, Verbosity::Essential, |output| CheckSummary::default().print(&output));
    assert_eq!(
        json,
        "{\"message_type\":\"summary\",\"num_errors\":0,\"broken_packs\":null,\"suggest_repair_index\":false,\"suggest_prune\":false}\n"
    );
    let diff = DiffSummary {
        changed_files: 1,
        added: DiffSide { data_blobs: 1, tree_blobs: 2, bytes: 1860, ..DiffSide::default() },
        removed: DiffSide { data_blobs: 1, tree_blobs: 2, bytes: 1857, ..DiffSide::default() },
        ..DiffSummary::default()
    };
    let (text, _) = printed(Style::Text, Verbosity::Essential, |output| {
        diff_change(&output, b"/s/a", "M");
        diff.print(&output);
    });
    let expected = "\
M    /s/a

Files:           0 new,     0 removed,     1 changed
Dirs:            0 new,     0 removed
Others:          0 new,     0 removed
Data Blobs:      1 new,     1 removed
Tree Blobs:      2 new,     2 removed
  Added:   1.816 KiB
  Removed: 1.813 KiB
";
    assert_eq!(text, expected);
}

#[test]
fn stats_are_restics() {
    let stats = Stats {
        total_size: 2231,
        total_uncompressed_size: 5073,
        compression_ratio: 2.273868220528911,
        compression_progress: 100.0,
        compression_space_saving: 56.0220776660753,
        total_blob_count: 11,
        snapshots_count: 3,
        ..Stats::default()
    };
    let (text, _) = printed(Style::Text, Verbosity::Essential, |output| stats.print(&output, "raw-data"));
    let expected = "Stats in raw-data mode:
     Snapshots processed:  3
        Total Blob Count:  11
 Total Uncompressed Size:  4.954 KiB
              Total Size:  2.179 KiB
    Compression Progress:  100.00%
       Compression Ratio:  2.27x
Compression Space Saving:  56.02%
";
    assert_eq!(text, expected);
    let small = Stats { total_size: 32, total_file_count: 22, snapshots_count: 3, ..Stats::default() };
    let (json, _) = printed(Style::Json, Verbosity::Essential, |output| small.print(&output, "restore-size"));
    assert_eq!(json, "{\"total_size\":32,\"total_file_count\":22,\"snapshots_count\":3}\n");
}

fn node(kind: NodeKind, mode: u32) -> Node {
    let at = Timestamp { seconds: TIME.seconds + 1, nanoseconds: 272_763_650 };
    Node {
        name: b"a".to_vec(),
        kind,
        mode,
        mtime: at,
        atime: at,
        ctime: at,
        uid: 0,
        gid: 0,
        user: "root".into(),
        group: "root".into(),
        inode: 10_141_961,
        device_id: 0,
        size: 11,
        links: 1,
        link_target: Vec::new(),
        content: None,
        subtree: None,
        rare: Rare::default(),
    }
}

#[test]
fn entries_are_listed_as_restic_lists_them() {
    let file = node(NodeKind::File, 8_389_101);
    let line = node_line(b"/s/a", &file, LineStyle::Long, &DisplayZone::Utc);
    assert_eq!(line, "urwxr-xr-x     0     0     11 2026-11-21 09:09:06 /s/a");
    let link = Node { link_target: b"a\x1b".to_vec(), size: 0, ..node(NodeKind::Symlink, 134_218_239) };
    let line = node_line(b"/s/l", &link, LineStyle::Long, &DisplayZone::Utc);
    assert_eq!(line, r#"Lrwxrwxrwx     0     0      0 2026-11-21 09:09:06 /s/l -> "a\x1b""#);
    assert_eq!(
        ls_json(b"/s/a", &file),
        r#"{"name":"a","type":"file","path":"/s/a","uid":0,"gid":0,"size":11,"mode":8389101,"permissions":"urwxr-xr-x","mtime":"2026-11-21T09:09:06.27276365Z","atime":"2026-11-21T09:09:06.27276365Z","ctime":"2026-11-21T09:09:06.27276365Z","inode":10141961,"message_type":"node","struct_type":"node"}"#
    );
}

#[test]
fn what_is_found_is_grouped_by_snapshot() {
    let file = node(NodeKind::File, 8_389_101);
    let find = |output: Arc<Output>| {
        let mut printer = found::FindPrinter::new(&output, LineStyle::Path);
        printer.hit(id("ed6d927b"), TIME, b"/s/a", &file);
        printer.hit(id("ed6d927b"), TIME, b"/s/b", &file);
        printer.hit(id("1dc0e41a"), TIME, b"/s/a", &file);
        printer.finish();
    };
    let (text, _) = printed(Style::Text, Verbosity::Essential, find);
    assert_eq!(
        text,
        "Found matching entries in snapshot ed6d927b from 2026-11-21 09:09:05\n/s/a\n/s/b\n\n\
         Found matching entries in snapshot 1dc0e41a from 2026-11-21 09:09:05\n/s/a\n"
    );
    let (json, _) = printed(Style::Json, Verbosity::Essential, find);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&parsed[0]["hits"], &parsed[1]["hits"]), (&2.into(), &1.into()));
    assert_eq!(parsed[1]["snapshot"], id("1dc0e41a").to_string());
    assert!(json.starts_with(r#"[{"matches":[{"path":"/s/a","permissions":"urwxr-xr-x","type":"file","mode":8389101,"mtime":"2026-11-21T09:09:06.27276365Z","#));
    let (nothing, _) = printed(Style::Json, Verbosity::Essential, |output| {
        found::FindPrinter::new(&output, LineStyle::Path).finish();
    });
    assert_eq!(nothing, "[]\n");
}

#[test]
fn events_become_restics_lines_and_messages() {
    let events = |output: Arc<Output>| {
        let reporter = JobReporter::new(output, Kind::Backup);
        reporter.report(Event::Item { path: b"/s/n\nl", change: Change::Unchanged, size_bytes: 1 });
        reporter.report(Event::Item { path: b"/s/a", change: Change::New, size_bytes: 11 });
        reporter.report(Event::Skipped {
            path: b"/s/x",
            reason: SkipReason::Unreadable,
            detail: "open: denied".into(),
        });
        reporter.report(Event::Excluded { path: b"/s/y" });
        reporter.report(Event::Torn { path: b"/s/z" });
    };
    let (text, problems) = printed(Style::Text, Verbosity::Detailed, events);
    assert_eq!(text, "unchanged \"/s/n\\nl\"\nnew       /s/a, 11 B\nexcluded  /s/y\n");
    assert_eq!(problems, "error: /s/x: open: denied\nWarning: /s/z changed while it was read\n");
    let (json, problems) = printed(Style::Json, Verbosity::Detailed, events);
    let first = json.lines().next().unwrap();
    assert_eq!(
        first,
        r#"{"message_type":"verbose_status","action":"unchanged","item":"/s/n\nl","duration":0.0,"data_size":0,"data_size_in_repo":0,"metadata_size":0,"metadata_size_in_repo":0,"total_files":0}"#
    );
    assert!(json.ends_with("{\"message_type\":\"excluded_item\",\"item\":\"/s/y\"}\n"));
    assert!(problems.starts_with(
        r#"{"message_type":"error","error":{"message":"open: denied"},"during":"archival","item":"/s/x"}"#
    ));
    let (text, problems) = printed(Style::Text, Verbosity::Quiet, events);
    assert_eq!((text.as_str(), problems.lines().count()), ("", 2), "problems are told even with -q");
}

#[test]
fn the_time_left_follows_from_the_last_two_minutes() {
    let mut rate = Rate::default();
    for second in 0..=300u64 {
        let fast = second.min(100) * 1000 + second.saturating_sub(100) * 10;
        rate.add(Duration::from_secs(second), fast);
    }
    assert_eq!(rate.bytes_per_second(), 10, "the fast beginning is forgotten");
    let sample = Sample {
        files_done: 3,
        bytes_done: 102_000,
        files_total: 4,
        bytes_total: 103_000,
        errors: 1,
        ..Sample::default()
    };
    let text = status_text(Kind::Backup, &sample, &rate, Duration::from_secs(300));
    assert_eq!(
        text,
        "[5:00] 99.03%  3 files 99.609 KiB, total 4 files 100.586 KiB, 1 errors  10 B/s ETA 1:40"
    );
    let json = status_json(Kind::Restore, &sample, &rate, Duration::from_secs(300)).unwrap();
    assert!(
        json.starts_with(r#"{"message_type":"status","seconds_elapsed":300,"percent_done":0.99"#),
        "{json}"
    );
    assert!(
        json.ends_with(r#""total_files":4,"files_restored":3,"total_bytes":103000,"bytes_restored":102000}"#)
    );
    let other = Sample { files_skipped: 5, bytes_skipped: 6, files_deleted: 7, ..sample };
    let json = status_json(Kind::Restore, &other, &rate, Duration::from_secs(300)).unwrap();
    assert!(json.ends_with(
        r#""files_restored":3,"files_skipped":5,"files_deleted":7,"total_bytes":103000,"bytes_restored":102000,"bytes_skipped":6}"#
    ), "{json}");
    let unknown = Sample { files_done: 2, bytes_done: 5, ..Sample::default() };
    let text = status_text(Kind::Backup, &unknown, &Rate::default(), Duration::ZERO);
    assert_eq!(text, "[0:00] 2 files, 5 B, 0 errors");
    assert_eq!(
        status_json(Kind::Backup, &unknown, &Rate::default(), Duration::ZERO).unwrap(),
        r#"{"message_type":"status","percent_done":0.0,"files_done":2,"bytes_done":5}"#
    );
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let output =
        Output::new(Style::Text, Verbosity::Essential, DisplayZone::Utc, Box::new(Gone), Box::new(Gone));
    assert!(!output.is_closed());
    output.line("x");
    assert!(output.is_closed());
}
