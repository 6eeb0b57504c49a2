//! Times as Go writes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::time::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let _ = std::str::from_utf8(bytes).map(|text| text.parse::<Timestamp>());
});
