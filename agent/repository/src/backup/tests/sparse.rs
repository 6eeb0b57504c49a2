//! Holes are not read, and become what reading them would give.

use super::*;
use crate::format::chunker::Chunker;

const BLOCK: usize = 4096;

/// The IDs that cutting all of the content gives.
fn chunk_ids(repository: &Repository, content: &[u8]) -> Vec<Id> {
    let tables = repository.tables();
    let mut chunker = Chunker::new(&tables);
    let (mut ids, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let cut = chunker.next_cut_at_end(rest);
        ids.push(Id::of(&rest[..cut]));
        rest = &rest[cut..];
    }
    ids
}

fn check(content: &[u8]) {
    let bench = Bench::new();
    bench.script.file("/data/file", content);
    let report = bench.run();
    bench.assert_holds_the_source(&report);
    let repository = fixture::open(bench.store.clone());
    let index = repository.load_index().unwrap().index;
    let mut reader = BlobReader::new(&repository, &index);
    let data = reader.load_tree(&report.snapshot.tree).unwrap().remove(0).subtree.unwrap();
    let node = reader.load_tree(&data).unwrap().remove(0);
    assert!(node.content == Some(chunk_ids(&repository, content)), "a sparse file is cut as any other");
}

/// A file of runs of data and of holes, each as long as said, in blocks.
fn file(runs: &[(bool, usize)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (position, &(is_data, blocks)) in runs.iter().enumerate() {
        let end = content.len() + blocks * BLOCK;
        if is_data { content.extend(noise(position as u64, blocks * BLOCK)) } else { content.resize(end, 0) }
    }
    content
}

#[test]
fn a_small_hole_at_the_begin_of_a_chunk_is_read_once() {
    check(&file(&[(false, 1), (true, 1)]));
    check(&file(&[(false, 100), (true, 10)]));
}

#[test]
fn a_file_that_is_one_hole_is_cut_as_zeros_are() {
    for blocks in [1, 127, 128, 129, 256, 1000] {
        check(&file(&[(false, blocks)]));
    }
    let mut odd = file(&[(true, 3), (false, 400)]);
    odd.truncate(400 * BLOCK - 1);
    check(&odd);
}

#[test]
fn holes_anywhere_are_cut_as_zeros_are() {
    check(&file(&[(true, 1), (false, 300), (true, 1)]));
    check(&file(&[(true, 600), (false, 700), (true, 3), (false, 20), (true, 300), (false, 130)]));
    check(&file(&[(true, 128), (false, 128), (true, 128), (false, 129), (true, 1)]));
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..40 {
        let count = random.usize(1..8);
        let runs: Vec<_> = (0..count)
            .map(|position| {
                let blocks_max = 1 << random.u32(0..10);
                (position % 2 == 0, random.usize(1..=blocks_max))
            })
            .collect();
        check(&file(&runs));
    }
}
