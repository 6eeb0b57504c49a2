//! The JSON of a tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::tree;

fuzz_target!(|bytes: &[u8]| {
    let _ = tree::decode(bytes);
});
