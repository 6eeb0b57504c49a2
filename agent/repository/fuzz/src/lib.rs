//! What the targets share: a key, so that the fuzzer's bytes arrive behind the seal that real ones lie behind.

use std::sync::LazyLock;

use pillion_repository::format::crypto::{IV_BYTES, MasterKey};

pub static KEY: LazyLock<MasterKey> =
    LazyLock::new(|| MasterKey::new(&[1; 32], &[2; 16], &[3; 16]).expect("the parts are not all zero"));

/// The bytes as a holder of the key would have sealed them.
pub fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; IV_BYTES];
    out.extend_from_slice(plain);
    KEY.seal_in_place(&mut out, 0);
    out
}
