//! The envelope around everything that is stored: IV, AES-256-CTR, Poly1305-AES.
//!
//! `IV (16) ‖ ciphertext ‖ tag (16)`. The tag covers the ciphertext alone; its one-time key is the stored `r`
//! followed by the IV encrypted with AES-128 under `k`. The IV is the first counter block, 128 bits big-endian.
//! Both directions work in place, since a chunk of 8 MiB must not be in memory twice. Key material is zeroed when
//! dropped, is never printed, and leaves this module only inside a sealed key file.

use std::cell::RefCell;
use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use zeroize::{Zeroize, Zeroizing};

use super::Invalid;
use crate::limits::KIB;

pub const IV_BYTES: usize = 16;
pub const TAG_BYTES: usize = 16;

/// How much longer sealed bytes are than plain ones.
pub const OVERHEAD_BYTES: usize = IV_BYTES + TAG_BYTES;

/// Bytes that are encrypted and then authenticated while they are still in the processor's first cache.
/// A multiple of the 16 bytes both ciphers work on.
const PIECE_BYTES: usize = 16 * KIB;

/// The three keys of a repository, or the three a password yields for its key file. Ready to use: the key
/// schedules are made once.
pub struct MasterKey {
    encrypt: Zeroizing<[u8; 32]>,
    mac_k: Zeroizing<[u8; 16]>,
    mac_r: Zeroizing<[u8; 16]>,
    stream: EncryptingKey,
    one_time: EncryptingKey,
}

impl MasterKey {
    /// [`Invalid::Malformed`] where a part is all zero, as restic refuses it: an emptied key encrypts nothing.
    pub fn new(encrypt: &[u8; 32], mac_k: &[u8; 16], mac_r: &[u8; 16]) -> Result<Self, Invalid> {
        if [&encrypt[..], mac_k, mac_r].iter().any(|part| part.iter().all(|byte| *byte == 0)) {
            return Err(Invalid::malformed("a part of the key is all zero"));
        }
        let schedule = "AES takes every key of its length";
        let stream = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, encrypt).expect(schedule));
        let one_time = EncryptingKey::ecb(UnboundCipherKey::new(&AES_128, mac_k).expect(schedule));
        Ok(Self {
            encrypt: Zeroizing::new(*encrypt),
            mac_k: Zeroizing::new(*mac_k),
            mac_r: Zeroizing::new(*mac_r),
            stream: stream.expect(schedule),
            one_time: one_time.expect(schedule),
        })
    }

    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        fill_random(&mut bytes[..]);
        Self::from_derived(&bytes).expect("64 random bytes have no zero part")
    }

    /// From `encrypt ‖ k ‖ r`, the order in which scrypt's output is used.
    pub(super) fn from_derived(bytes: &[u8; 64]) -> Result<Self, Invalid> {
        let part = "64 is 32 and twice 16";
        Self::new(
            bytes[..32].try_into().expect(part),
            bytes[32..48].try_into().expect(part),
            bytes[48..].try_into().expect(part),
        )
    }

    /// `encrypt`, `k` and `r`, for the key file.
    pub(super) fn parts(&self) -> (&[u8; 32], &[u8; 16], &[u8; 16]) {
        (&self.encrypt, &self.mac_k, &self.mac_r)
    }

    /// Seals `buffer[from + 16..]` where it lies: the 16 bytes before it receive the IV, the tag is appended.
    /// Afterwards `buffer[from..]` is the envelope.
    ///
    /// # Panics
    /// Where the 16 bytes are not there.
    pub fn seal_in_place(&self, buffer: &mut Vec<u8>, from: usize) {
        let mut iv = [0; IV_BYTES];
        fill_random(&mut iv);
        self.seal_with_iv(buffer, from, iv);
    }

    fn seal_with_iv(&self, buffer: &mut Vec<u8>, from: usize, iv: [u8; IV_BYTES]) {
        let (place, text) = buffer[from..].split_at_mut(IV_BYTES);
        place.copy_from_slice(&iv);
        let mut keystream = Keystream::new(self, iv);
        let mut authenticator = self.authenticator(iv);
        let (pieces, rest) = text.as_chunks_mut::<PIECE_BYTES>();
        for piece in pieces {
            keystream.apply(piece);
            authenticator.update_whole(piece);
        }
        keystream.apply(rest);
        let tag = authenticator.finish(rest);
        buffer.extend_from_slice(&tag);
    }

    /// Checks the tag, then decrypts where the bytes lie, and returns the plaintext within `sealed`.
    /// After an error `sealed` is as it was.
    pub fn open_in_place<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Invalid> {
        let Envelope { iv, text, tag } = split(sealed)?;
        let authenticator = self.authenticator(iv);
        verify_slices_are_equal(&authenticator.finish(text), &tag).map_err(|_| Invalid::Unauthentic)?;
        let end = sealed.len() - TAG_BYTES;
        let text = &mut sealed[IV_BYTES..end];
        Keystream::new(self, iv).apply(text);
        Ok(text)
    }

    /// Hands the plaintext of `sealed` to `each` piece by piece, through `scratch`, and leaves `sealed` alone.
    ///
    /// The pieces are **not authenticated** until this has returned `Ok`: it is for bytes of our own making
    /// that are read back before they are stored.
    pub fn open_pieces<E: From<Invalid>>(
        &self,
        sealed: &[u8],
        scratch: &mut Scratch,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Envelope { iv, text, tag } = split(sealed)?;
        let mut keystream = Keystream::new(self, iv);
        let mut authenticator = self.authenticator(iv);
        let (pieces, rest) = text.as_chunks::<PIECE_BYTES>();
        for piece in pieces {
            authenticator.update_whole(piece);
            scratch.0.copy_from_slice(piece);
            keystream.apply(&mut scratch.0[..]);
            each(&scratch.0[..])?;
        }
        if !rest.is_empty() {
            let scratch = &mut scratch.0[..rest.len()];
            scratch.copy_from_slice(rest);
            keystream.apply(scratch);
            each(scratch)?;
        }
        verify_slices_are_equal(&authenticator.finish(rest), &tag).map_err(|_| Invalid::Unauthentic.into())
    }

    fn authenticator(&self, iv: [u8; IV_BYTES]) -> Authenticator {
        let mut key = Zeroizing::new([0; 32]);
        key[..16].copy_from_slice(&self.mac_r[..]);
        key[16..].copy_from_slice(&iv);
        self.one_time
            .less_safe_encrypt(&mut key[16..], EncryptionContext::None)
            .expect("one block is a whole number of blocks");
        let key: &[u8; 32] = &key;
        Authenticator(Poly1305::new(key.into()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// The small buffer [`MasterKey::open_pieces`] decrypts into; kept by a worker for all its blobs.
pub struct Scratch(Box<[u8; PIECE_BYTES]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Box::new([0; PIECE_BYTES]))
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}

/// Bytes nobody can guess, from the system. Every blob takes 16, so each thread fetches some in advance; the
/// cryptographic library's own generator would first gather noise for tens of milliseconds.
pub fn fill_random(place: &mut [u8]) {
    const STOCK_BYTES: usize = 512;
    thread_local! {
        static STOCK: RefCell<([u8; STOCK_BYTES], usize)> = const { RefCell::new(([0; STOCK_BYTES], 0)) };
    }
    if place.len() > STOCK_BYTES {
        return fill_from_system(place);
    }
    STOCK.with_borrow_mut(|(stock, left)| {
        if *left < place.len() {
            fill_from_system(stock);
            *left = STOCK_BYTES;
        }
        let taken = &mut stock[*left - place.len()..*left];
        place.copy_from_slice(taken);
        // What was given away is a secret of the receiver's.
        taken.zeroize();
        *left -= place.len();
    });
}

fn fill_from_system(place: &mut [u8]) {
    let mut filled = 0;
    while filled < place.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut place[filled..], flags) {
            Ok(bytes) => filled += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("the system has a source of random numbers: {errno}"),
        }
    }
}

struct Envelope<'a> {
    iv: [u8; IV_BYTES],
    text: &'a [u8],
    tag: [u8; TAG_BYTES],
}

fn split(sealed: &[u8]) -> Result<Envelope<'_>, Invalid> {
    let short = || Invalid::malformed(format_args!("{} bytes are too short to be encrypted", sealed.len()));
    let (iv, rest) = sealed.split_first_chunk::<IV_BYTES>().ok_or_else(short)?;
    let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(short)?;
    Ok(Envelope { iv: *iv, text, tag: *tag })
}

/// The key stream of one envelope, applied piece after piece.
struct Keystream<'a> {
    cipher: &'a EncryptingKey,
    counter: u128,
}

impl<'a> Keystream<'a> {
    fn new(key: &'a MasterKey, iv: [u8; IV_BYTES]) -> Self {
        Self { cipher: &key.stream, counter: u128::from_be_bytes(iv) }
    }

    /// Only the last piece may be other than a multiple of 16 bytes.
    fn apply(&mut self, piece: &mut [u8]) {
        let iv = FixedLength::from(self.counter.to_be_bytes());
        self.cipher
            .less_safe_encrypt(piece, EncryptionContext::Iv128(iv))
            .expect("counter mode takes every length");
        self.counter = self.counter.wrapping_add((piece.len() / 16) as u128);
    }
}

struct Authenticator(Poly1305);

impl Authenticator {
    /// Takes a multiple of 16 bytes.
    fn update_whole(&mut self, piece: &[u8]) {
        let (blocks, rest) = poly1305::Block::slice_as_chunks(piece);
        debug_assert!(rest.is_empty(), "only the last piece may end within a block");
        self.0.update(blocks);
    }

    fn finish(mut self, rest: &[u8]) -> [u8; TAG_BYTES] {
        let whole = rest.len() / 16 * 16;
        self.update_whole(&rest[..whole]);
        self.0.compute_unpadded(&rest[whole..]).into()
    }
}

#[cfg(test)]
mod tests;
