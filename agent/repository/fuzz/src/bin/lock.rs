//! The JSON of a lock.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::lock::Lock;

fuzz_target!(|bytes: &[u8]| {
    let _ = Lock::decode(bytes);
});
