//! The JSON of a snapshot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::snapshot::Snapshot;

fuzz_target!(|bytes: &[u8]| {
    let _ = Snapshot::decode(bytes);
});
