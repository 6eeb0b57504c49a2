//! Go's quoting of names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_repository::format::go_json;

fuzz_target!(|bytes: &[u8]| {
    let _ = go_json::unquote(bytes);
});
