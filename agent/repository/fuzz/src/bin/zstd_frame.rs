//! A zstd frame that says any size it likes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::frame::Decompressor;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(content) = Decompressor::default().at_most("frame", bytes, 1 << 20) {
        assert!(content.len() <= 1 << 20);
    }
});
