//! The JSON of an index file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::index;

fuzz_target!(|bytes: &[u8]| {
    let _ = index::decode(bytes, &mut |_, _| {});
});
