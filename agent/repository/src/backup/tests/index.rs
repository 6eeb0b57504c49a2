//! When index files are written, and how much they name.

use pillion_backend::fault::Fault;
use pillion_backend::{FileKind, Operation};

use super::super::index::IndexWriter;
use super::*;
use crate::format::pack::PackEntry;
use crate::limits;

fn pack(number: u32, blobs: u32) -> (Id, Vec<PackEntry>) {
    let blob = |position: u32| PackEntry {
        kind: BlobKind::Data,
        id: Id::of(&[number.to_le_bytes(), position.to_le_bytes()].concat()),
        offset: position * 40,
        length: 40,
        uncompressed_length: None,
    };
    (Id::of(&number.to_le_bytes()), (0..blobs).map(blob).collect())
}

/// Adds so many packs of that size; after which of them an index file was written, and whether one was at the end.
fn written(packs: u32, blobs: u32, pack_bytes: u64) -> (Vec<u32>, bool) {
    let faulty = Arc::new(Fault::new(fixture::create(Version::Two)));
    let repository = fixture::open(Arc::clone(&faulty));
    let writer = IndexWriter::new(limits::PACK_SIZE_BYTES);
    let count = || faulty.calls().iter().filter(|call| call.operation == Operation::Save).count();
    let mut after = Vec::new();
    for number in 1..=packs {
        let before = count();
        fixture::runtime().block_on(writer.add(&repository, pack(number, blobs), pack_bytes)).unwrap();
        if count() > before {
            after.push(number);
        }
    }
    let before = count();
    fixture::runtime().block_on(writer.flush(&repository)).unwrap();
    assert!(
        faulty
            .calls()
            .iter()
            .all(|call| { call.operation != Operation::Save || call.kind == Some(FileKind::Index) })
    );
    let index = repository.load_index().unwrap().index;
    assert_eq!((index.packs().len(), index.len()), (packs as usize, (packs * blobs) as usize));
    (after, count() > before)
}

#[test]
fn an_index_comes_after_64_mebibytes_and_then_at_twice_the_distance() {
    assert_eq!(written(30, 2, 16 << 20), (vec![4, 12, 28], true));
    assert_eq!(written(12, 2, 16 << 20), (vec![4, 12], false), "nothing is left for the end");
    assert_eq!(written(3, 2, 16 << 20), (vec![], true));
}

#[test]
fn an_index_names_no_more_blobs_than_restic_s_do() {
    assert_eq!(written(5, 20_000, 1), (vec![3], true));
}
