//! A repository that somebody damaged, or made to harm: a sentence, or a warning and everything is read again.

use pillion_backend::{FileKind, FileName};

use super::*;
use crate::format::blob::{Compression, Sealer};
use crate::format::index as index_file;
use crate::format::pack::{self, PackEntry};
use crate::store::file_name;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.script.file("/data/a", b"some bytes").file("/data/dir/b", b"others");
    bench
}

fn files_of(store: &Mem, kind: FileKind) -> Vec<FileName> {
    store.files().into_keys().filter(|file| file.kind() == kind).collect()
}

/// What a disk or a person may do to a file.
const DAMAGES: [fn(&mut Vec<u8>); 5] = [
    Vec::clear,
    |bytes| bytes.truncate(bytes.len() / 2),
    |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    },
    |bytes| bytes.extend_from_slice(b"more"),
    |bytes| bytes.fill(0),
];

#[test]
fn a_damaged_snapshot_is_told_and_passed_over() {
    for damage in DAMAGES {
        let bench = bench();
        let first = bench.run();
        let newer = bench.run();
        bench.store.damage(&file_name(FileKind::Snapshot, &newer.snapshot_id.unwrap()), damage);
        let (report, events) = bench.run_reporting(|_| {});
        assert_eq!(report.parent, first.snapshot_id);
        assert!(events.len() == 1 && events[0].starts_with("Warning snapshot"), "{events:?}");
        bench.assert_holds_the_source(&report);
    }
}

#[test]
fn a_damaged_index_is_one_sentence() {
    for damage in DAMAGES {
        let bench = bench();
        bench.run();
        for file in files_of(&bench.store, FileKind::Index) {
            bench.store.damage(&file, damage);
        }
        let before = bench.store.files();
        let failed = backup_to(bench.store.clone(), &bench.options(), &Silent).unwrap_err();
        assert!(matches!(failed, Error::Damaged { .. }), "{failed:?}");
        assert!(!failed.to_string().contains('\n'));
        assert_eq!(bench.store.files(), before, "nothing was written, and the lock is gone");
    }
}

type Harm = Box<dyn Fn(&Bench, &FileName)>;

#[test]
fn a_damaged_or_lost_parent_tree_is_told_and_stored_again() {
    let lose = |bench: &Bench, file: &FileName| {
        bench.store.remove_raw(file);
    };
    let damage =
        |damage: fn(&mut Vec<u8>)| move |bench: &Bench, file: &FileName| bench.store.damage(file, damage);
    let mut harms: Vec<Harm> = vec![Box::new(lose)];
    harms.extend([DAMAGES[0], DAMAGES[4]].map(|harm| Box::new(damage(harm)) as Box<_>));
    for harm in harms {
        let bench = bench();
        let first = bench.run();
        let repository = fixture::open(bench.store.clone());
        let index = repository.load_index().unwrap().index;
        let pack = index.lookup(BlobKind::Tree, &first.snapshot.tree).next().unwrap().pack;
        harm(&bench, &file_name(FileKind::Pack, &pack));
        let (report, events) = bench.run_reporting(|_| {});
        assert!(events[0].starts_with("Warning cannot compare with the parent snapshot"), "{events:?}");
        assert!(report.summary.tree_blobs > 0, "what is known to be lost is stored again");
        assert_eq!(report.summary.data_blobs, 0);
        // The trees below the one that was lost were never asked for; what the next run meets, it mends.
        while !bench.run_reporting(|_| {}).1.is_empty() {}
        bench.assert_holds_the_source(&bench.run());
    }
}

/// Puts a snapshot of the source into the repository whose tree is what `json` seals to.
fn plant(bench: &Bench, plain: &[u8], seal: impl FnOnce(&Repository, &[u8]) -> (Vec<u8>, u32)) {
    let repository = fixture::open(bench.store.clone());
    let (sealed, claimed_bytes) = seal(&repository, plain);
    let id = Id::of(plain);
    let entry = PackEntry {
        kind: BlobKind::Tree,
        id,
        offset: 0,
        length: u32::try_from(sealed.len()).unwrap(),
        uncompressed_length: std::num::NonZeroU32::new(claimed_bytes),
    };
    let mut pack = sealed;
    pack::encode_header(&[entry], repository.key(), &mut pack);
    let pack_id = Id::of(&pack);
    bench.store.put_raw(&file_name(FileKind::Pack, &pack_id), pack);
    let mut index = Vec::new();
    index_file::encode([(pack_id, &[entry][..])], &mut index).unwrap();
    repository.save_file(FileKind::Index, &index).unwrap();
    let snapshot = Snapshot { tree: id, ..bench.run().snapshot };
    repository
        .save_file(FileKind::Snapshot, &Snapshot { time: later(&snapshot), ..snapshot }.encode())
        .unwrap();
}

/// So that it is the parent of the next run.
fn later(snapshot: &Snapshot) -> Timestamp {
    Timestamp { nanoseconds: (snapshot.time.nanoseconds + 1).min(999_999_999), ..snapshot.time }
}

fn honestly(repository: &Repository, plain: &[u8]) -> (Vec<u8>, u32) {
    let mut sealed = Vec::new();
    let length = Sealer::new(Version::Two, Compression::Auto).seal(
        repository.key(),
        BlobKind::Tree,
        plain,
        &mut sealed,
    );
    (sealed, length.map_or(0, std::num::NonZeroU32::get))
}

fn assert_ignored(bench: &Bench) {
    let (report, events) = bench.run_reporting(|_| {});
    assert!(events[0].starts_with("Warning cannot compare with the parent snapshot"), "{events:?}");
    assert!(events.iter().all(|event| !event.contains('\n')), "{events:?}");
    bench.assert_holds_the_source(&report);
}

#[test]
fn names_that_lead_elsewhere_and_text_that_is_no_tree_are_not_believed() {
    let node = |name: &str| {
        format!(
            r#"{{"name":"{name}","type":"dir","mode":2147484141,"mtime":"2001-09-09T01:46:40Z","atime":"2001-09-09T01:46:40Z","ctime":"2001-09-09T01:46:40Z","uid":0,"gid":0,"content":null,"subtree":"{}"}}"#,
            Id::of(b"nowhere")
        )
    };
    let trees = [
        format!("{{\"nodes\":[{}]}}\n", node("..")),
        format!("{{\"nodes\":[{}]}}\n", node("a/b")),
        format!("{{\"nodes\":[{}]}}\n", node("")),
        format!("{{\"nodes\":[{}", node("data")),
        "[".repeat(100_000),
        "null".to_owned(),
        "\0\u{1}".to_owned(),
    ];
    for tree in trees {
        let bench = bench();
        plant(&bench, tree.as_bytes(), honestly);
        assert_ignored(&bench);
    }
}

#[test]
fn a_parent_that_names_what_is_nowhere_is_read_again() {
    let bench = bench();
    let nowhere = Id::of(b"nowhere");
    let tree = format!(
        r#"{{"nodes":[{{"name":"data","type":"dir","mode":2147484141,"mtime":"2001-09-09T01:46:40Z","atime":"2001-09-09T01:46:40Z","ctime":"2001-09-09T01:46:40Z","uid":0,"gid":0,"inode":3,"content":null,"subtree":"{nowhere}"}}]}}
"#
    );
    plant(&bench, tree.as_bytes(), honestly);
    assert_ignored(&bench);
}

#[test]
fn a_bomb_in_a_parent_tree_is_not_unpacked() {
    for claimed_bytes in [100, 600 << 20] {
        let bench = bench();
        plant(&bench, b"whatever", |repository, _| {
            let mut sealed = vec![0; 16];
            sealed.extend(zstd::bulk::compress(&vec![b' '; 64 << 20], 1).unwrap());
            repository.key().seal_in_place(&mut sealed, 0);
            (sealed, claimed_bytes)
        });
        assert_ignored(&bench);
    }
}
