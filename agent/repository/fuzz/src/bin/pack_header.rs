//! The header of a pack, opened.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_fuzz::{KEY, sealed};
use pillion_repository::format::pack;

fuzz_target!(|bytes: &[u8]| {
    let _ = pack::decode_header(&mut sealed(bytes), bytes.len() as u64, &KEY);
});
