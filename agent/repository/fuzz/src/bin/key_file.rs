//! A key file, as anybody who can write to the store can write one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::key::KeyFile;

fuzz_target!(|bytes: &[u8]| {
    let _ = KeyFile::decode(bytes);
});
