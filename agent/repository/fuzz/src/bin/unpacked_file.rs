//! A sealed file that is not a pack: plain JSON or a zstd frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_backend::FileKind;
use pillion_fuzz::{KEY, sealed};
use pillion_repository::format::file;

fuzz_target!(|bytes: &[u8]| {
    let _ = file::decode(FileKind::Index, &sealed(bytes), &KEY);
});
