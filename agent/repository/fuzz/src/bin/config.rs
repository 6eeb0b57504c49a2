//! The config of a repository.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::config::Config;

fuzz_target!(|bytes: &[u8]| {
    let _ = Config::decode(bytes);
});
