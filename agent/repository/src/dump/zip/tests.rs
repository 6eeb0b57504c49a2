//! Archives read back by another library, which stock restic's are compared with in the sidecar's tests.

use std::fs::File;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::*;
use crate::cache::{Cache, Spool};
use crate::format::id::Id;
use crate::format::time::Timestamp;

fn node(kind: NodeKind, mode: u32, seconds: i64) -> Node {
    let mtime = Timestamp { seconds, nanoseconds: 5 };
    Node { mode, mtime, ..Node::new("x", kind) }
}

fn archive(out: &mut dyn Write, fill: impl FnOnce(&mut Archive<'_>)) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(&Cache::absent(directory.path().to_owned())).unwrap();
    let mut archive = Archive::new(out, spool.create_growing_file().unwrap());
    fill(&mut archive);
    archive.finish().unwrap();
}

fn add_file(archive: &mut Archive<'_>, path: &[u8], node: &Node, pieces: &[&[u8]]) {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    let node = Node { size, ..node.clone() };
    let write =
        |out: &mut dyn Write| pieces.iter().try_for_each(|piece| out.write_all(piece)).map_err(failed);
    archive.add_file(path, &node, write).unwrap();
}

#[test]
fn entries_are_read_back_with_names_modes_times_and_content() {
    let mut bytes = Vec::new();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
    let link = Node { link_target: b"../a".to_vec(), ..node(NodeKind::Symlink, mode::SYMLINK | 0o777, 0) };
    archive(&mut bytes, |archive| {
        archive.add(b"d", &node(NodeKind::Dir, mode::DIR | mode::STICKY | 0o755, 1_700_000_001)).unwrap();
        let file = node(NodeKind::File, mode::SETUID | 0o640, 1_700_000_001);
        add_file(archive, "d/\u{fc}".as_bytes(), &file, &[b"one ", b"two"]);
        archive.add(b"d/empty", &node(NodeKind::File, 0o600, -1)).unwrap();
        add_file(archive, b"d/\xff", &file, &[&noise, &noise]);
        archive.add(b"d/link", &link).unwrap();
    });
    let mut read = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let mut seen = Vec::new();
    for position in 0..read.len() {
        let mut entry = read.by_index(position).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        seen.push((entry.name_raw().to_vec(), entry.unix_mode().unwrap(), content));
    }
    let expected: [(&[u8], u32, Vec<u8>); 5] = [
        (b"d/", 0o040_755, Vec::new()),
        ("d/\u{fc}".as_bytes(), 0o100_640, b"one two".to_vec()),
        (b"d/empty", 0o100_600, Vec::new()),
        (b"d/\xff", 0o100_640, noise.repeat(2)),
        (b"d/link", 0o120_777, b"../a".to_vec()),
    ];
    let shown = |entries: &[(Vec<u8>, u32, Vec<u8>)]| -> Vec<String> {
        let line = |(name, mode, content): &(Vec<u8>, u32, Vec<u8>)| {
            format!("{} {mode:o} {} bytes, {}", name.escape_ascii(), content.len(), Id::of(content))
        };
        entries.iter().map(line).collect()
    };
    let expected = expected.map(|(name, mode, content)| (name.to_vec(), mode, content));
    assert_eq!(shown(&seen), shown(&expected));
    // The reader hides the bits that are dangerous to restore.
    let set_uid = node(NodeKind::File, mode::SETUID | mode::STICKY | 0o640, 0);
    let header = Entry::of(b"x", &set_uid, STORED, 0).central_header();
    assert_eq!(header[38..42], (0o105_640u32 << 16).to_le_bytes());
    let entry = read.by_index(0).unwrap();
    let time = entry.last_modified().unwrap();
    assert_eq!((time.year(), time.hour(), time.minute(), time.second()), (2023, 22, 13, 20));
    let seconds = entry.extra_data_fields().find_map(|field| match field {
        zip::ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    assert_eq!(seconds, Some(1_700_000_001));
}

#[test]
fn more_entries_than_16_bits_count_are_read_back() {
    let mut bytes = Vec::new();
    let empty = node(NodeKind::File, 0o600, 0);
    archive(&mut bytes, |archive| {
        (0..70_000).for_each(|number| archive.add(format!("{number}").as_bytes(), &empty).unwrap());
    });
    let mut read = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(read.len(), 70_000);
    assert_eq!(read.by_index(69_999).unwrap().name_raw(), b"69999");
}

#[test]
fn an_archive_goes_on_behind_4_gib() {
    const START: u64 = 5 << 30;
    let mut file = tempfile::tempfile().unwrap();
    file.seek(SeekFrom::Start(START)).unwrap();
    archive(&mut file, |archive| {
        // As if that much had been written.
        archive.written_bytes = START;
        add_file(archive, b"behind", &node(NodeKind::File, 0o600, 0), &[b"content"]);
    });
    let mut read = ZipArchive::new(File::try_clone(&file).unwrap()).unwrap();
    let mut content = String::new();
    let mut entry = read.by_name("behind").unwrap();
    assert_eq!(entry.header_start(), START);
    entry.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
}

#[test]
fn sizes_beyond_32_bits_are_told_in_64() {
    let large = Node { size: 5 << 30, ..node(NodeKind::File, 0o600, 0) };
    let entry = Entry { stored_bytes: 6 << 30, ..Entry::of(b"x", &large, DEFLATED, 7 << 30) };
    let entry = Entry { size_bytes: large.size, ..entry };
    let header = entry.local_header();
    assert_eq!(&header[4..6], VERSION_64.to_le_bytes());
    assert_eq!(&header[18..26], [0xff; 8]);
    assert_eq!(&header[31 + 9..31 + 13], [1, 0, 16, 0]);
    assert_eq!(entry.data_descriptor().len(), 24);
    assert_eq!(
        entry.data_descriptor()[8..],
        [(6u64 << 30).to_le_bytes(), (5u64 << 30).to_le_bytes()].concat()
    );
    let central = entry.central_header();
    let sizes = [5u64 << 30, 6 << 30, 7 << 30].map(u64::to_le_bytes).concat();
    assert_eq!(central[47 + 9..], [&[1, 0, 24, 0][..], &sizes].concat());
    let small = Entry { size_bytes: 7, ..Entry::of(b"x", &large, DEFLATED, 0) };
    assert_eq!((small.data_descriptor().len(), small.local_header().len()), (16, 31 + 9));
}

#[test]
fn times_that_dos_does_not_know_become_the_nearest() {
    assert_eq!(dos_time(0), (33, 0));
    assert_eq!(dos_time(i64::MIN), dos_time(0));
    assert_eq!(dos_time(315_532_800), dos_time(0), "the first of 1980");
    assert_eq!(dos_time(i64::MAX), dos_time(4_354_819_198));
    assert!(Entry::of(b"x", &node(NodeKind::File, 0, 1 << 40), STORED, 0).unix_time.is_none());
}
