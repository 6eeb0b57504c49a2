//! The plan stays within its bounds, whatever is planned.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use super::super::metadata::Wanted;
use super::super::plan::{Job, Plan};
use super::super::*;
use super::fixture::{Fixture, assert_same, noise};
use crate::budget::Budget;
use crate::format::blob::BlobKind;
use crate::format::pack::PackEntry;
use crate::index::IndexBuilder;

#[test]
fn jobs_cover_every_place_once_in_ranges_of_bounded_size() {
    const BLOBS: u32 = 3_000;
    let mut builder = IndexBuilder::default();
    for pack in 0..30u32 {
        let blobs: Vec<_> = (0..BLOBS / 30)
            .map(|number| PackEntry {
                kind: BlobKind::Data,
                id: Id::of(&(pack * 100 + number).to_le_bytes()),
                offset: number * 150_000,
                length: 100_000,
                uncompressed_length: None,
            })
            .collect();
        builder.add_pack(Id::of(&pack.to_be_bytes()), &blobs);
    }
    let index = builder.build();
    let mut plan = Plan::default();
    let budget = Budget::new(limits::RESTORE_PLAN_BYTES);
    let mut random = fastrand::Rng::with_seed(1);
    let wanted: Vec<(usize, u64)> = (0..10_000).map(|n| (random.usize(..BLOBS as usize), n * 8)).collect();
    plan.add_file(&Arc::new(file()));
    for (blob, offset) in &wanted {
        plan.add_place(*blob, *offset);
    }
    let mut found = Vec::new();
    for job in plan.cut(&index, &budget) {
        let Job::Fetch(job) = job else { panic!("every place has a blob") };
        assert!(job.bytes.len() as u32 <= limits::RESTORE_RANGE_BYTES);
        for places in job.blobs() {
            let location = index.location(places[0].blob as usize);
            assert_eq!(location.pack, job.pack);
            assert!(job.bytes.start <= location.offset && location.offset + location.length <= job.bytes.end);
            found.extend(places.iter().map(|place| (place.blob as usize, place.offset)));
        }
    }
    found.sort_by_key(|(_, offset)| *offset);
    assert_eq!(found, wanted);
}

fn file() -> File {
    File {
        directory: Arc::new(Directory::missing_root()),
        name: Box::from(&b"file"[..]),
        wanted: Wanted::nothing(),
        size_bytes: 0,
        number: 0,
        is_update: false,
        is_single: false,
        linked: None,
        state: Mutex::default(),
        pending: AtomicUsize::new(1),
    }
}

/// 100,000 blobs are several batches, so the file is written by several, and is one file all the same.
#[test]
fn a_file_may_span_batches() {
    let fixture = Fixture::new();
    let path = fixture.source().join("huge");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(100 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &noise(1, 1 << 20), 70 << 30).unwrap();
    let options = fixture.options(&fixture.backup());
    let began = Instant::now();
    let report = fixture.restore_whole(&options);
    assert_eq!(report.bytes_restored, 100 << 30);
    let restored = std::fs::File::open(fixture.target().join("huge")).unwrap();
    let found = restored.metadata().unwrap();
    assert_eq!(found.len(), 100 << 30);
    assert!(found.blocks() * 512 < 4 << 20, "{} blocks", found.blocks());
    let mut content = vec![0; 1 << 20];
    std::os::unix::fs::FileExt::read_exact_at(&restored, &mut content, 70 << 30).unwrap();
    assert!(content == noise(1, 1 << 20));
    assert!(began.elapsed().as_secs() < 60, "holes are not written byte by byte");
}

#[test]
fn more_directories_than_may_be_open_are_no_hindrance() {
    let fixture = Fixture::new();
    let mut deep = String::new();
    for number in 0..300 {
        fixture.write(&format!("wide-{number}/file"), &noise(number, 100));
        deep.push_str("d/");
        fixture.write(&format!("{deep}file"), &noise(number + 1000, 100));
    }
    let options = fixture.options(&fixture.backup());
    fixture.restore_whole(&options);
    assert_same(&fixture.target(), &fixture.source());
}
