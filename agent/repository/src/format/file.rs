//! The files outside of packs: config, locks, snapshots and indexes, from JSON to stored bytes and back.
//!
//! One envelope around the JSON. In version 2 a byte `2` and a zstd frame stand in for it, whatever the user wants
//! compressed; a first byte `{` or `[` says that it is not compressed. The config never is. Packs and key files
//! have other forms and never come here.

use std::io::{self, Write};

use pillion_backend::FileKind;

use super::Invalid;
use super::blob::Compression;
use super::config::Version;
use super::crypto::{IV_BYTES, MasterKey};
use super::frame::{Compressor, Decompressor};
use crate::limits;

/// The first byte of compressed JSON.
const COMPRESSED: u8 = 2;

/// Writes the JSON of a file, each time the same: an index is never in memory as a whole, so it is written once to be
/// counted and once to be stored.
pub type Json<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

/// The bytes to store for `json`; their hash is the name of the file.
pub fn encode(
    kind: FileKind,
    json: &[u8],
    key: &MasterKey,
    version: Version,
    compression: Compression,
) -> Vec<u8> {
    encode_written(kind, &|out| out.write_all(json), key, version, compression)
}

/// The same of JSON that is written.
pub fn encode_written(
    kind: FileKind,
    json: Json<'_>,
    key: &MasterKey,
    version: Version,
    compression: Compression,
) -> Vec<u8> {
    let mut out = vec![0; IV_BYTES];
    if kind == FileKind::Config || version == Version::One {
        json(&mut out).expect("a Vec takes every write");
    } else {
        let mut count = Count(0);
        json(&mut count).expect("counting succeeds");
        out.push(COMPRESSED);
        Compressor::new(compression.level()).append_written(count.0, &mut out, json);
    }
    key.seal_in_place(&mut out, 0);
    out
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes a file of this kind may have, stored or decoded. Of packs only parts are read.
pub fn max_bytes(kind: FileKind) -> usize {
    match kind {
        FileKind::Index => limits::MAX_INDEX_FILE_BYTES,
        _ => limits::MAX_SMALL_FILE_BYTES,
    }
}

/// The JSON in stored bytes, at most [`max_bytes`] of it.
pub fn decode(kind: FileKind, stored: &[u8], key: &MasterKey) -> Result<Vec<u8>, Invalid> {
    let max_bytes = max_bytes(kind);
    let what = kind.noun();
    if stored.len() > max_bytes {
        return Err(Invalid::TooLarge { what, size_bytes: stored.len() as u64, max_bytes: max_bytes as u64 });
    }
    let mut stored = stored.to_vec();
    let plain = key.open_in_place(&mut stored)?;
    match plain.first() {
        Some(b'{' | b'[') => {}
        Some(&COMPRESSED) if kind != FileKind::Config => {
            return Decompressor::default().at_most(what, &plain[1..], max_bytes);
        }
        Some(_) => return Err(Invalid::malformed("this is no JSON, and compressed in no known way")),
        None => return Err(Invalid::malformed("the file is empty")),
    }
    let length = plain.len();
    stored.copy_within(IV_BYTES..IV_BYTES + length, 0);
    stored.truncate(length);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::crypto::OVERHEAD_BYTES;

    const JSON: &[u8] =
        br#"{"time":"2024-01-01T00:00:00Z","tree":"x","x":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;

    fn key() -> MasterKey {
        MasterKey::new(&[1; 32], &[2; 16], &[3; 16]).unwrap()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut buffer = [&[0; IV_BYTES], plain].concat();
        key().seal_in_place(&mut buffer, 0);
        buffer
    }

    #[test]
    fn json_comes_back_and_is_compressed_where_the_format_says_so() {
        for kind in [FileKind::Config, FileKind::Lock, FileKind::Snapshot, FileKind::Index] {
            for version in [Version::One, Version::Two] {
                for compression in [Compression::Auto, Compression::Off, Compression::Max] {
                    let stored = encode(kind, JSON, &key(), version, compression);
                    assert_eq!(decode(kind, &stored, &key()).unwrap(), JSON);
                    let plain = kind == FileKind::Config || version == Version::One;
                    assert_eq!(stored.len() == JSON.len() + OVERHEAD_BYTES, plain);
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_claim_and_without_one_by_its_size() {
        let zeros = vec![b' '; limits::MAX_SMALL_FILE_BYTES + 1];
        let claimed = zstd::bulk::compress(&zeros, 19).unwrap();
        let silent = zstd::stream::encode_all(&zeros[..], 19).unwrap();
        for frame in [claimed, silent] {
            let stored = sealed(&[&[COMPRESSED], &frame[..]].concat());
            let result = decode(FileKind::Snapshot, &stored, &key());
            assert!(matches!(result, Err(Invalid::TooLarge { what: "snapshot", .. })), "{result:?}");
            assert_eq!(decode(FileKind::Index, &stored, &key()).unwrap(), zeros);
        }
    }

    #[test]
    fn a_frame_written_as_a_stream_is_read() {
        let text = JSON.repeat(20_000);
        let frame = zstd::stream::encode_all(&text[..], 3).unwrap();
        let stored = sealed(&[&[COMPRESSED], &frame[..]].concat());
        assert_eq!(decode(FileKind::Index, &stored, &key()).unwrap(), text);
    }

    #[test]
    fn what_is_written_in_pieces_is_stored_as_what_is_there_at_once() {
        let text = JSON.repeat(20_000);
        let in_pieces = |out: &mut dyn Write| text.chunks(1_000).try_for_each(|piece| out.write_all(piece));
        let sealed = encode_written(FileKind::Index, &in_pieces, &key(), Version::Two, Compression::Auto);
        assert_eq!(decode(FileKind::Index, &sealed, &key()).unwrap(), text);
        let mut opened = sealed.clone();
        let plain = key().open_in_place(&mut opened).unwrap();
        let stated = zstd::zstd_safe::get_frame_content_size(&plain[1..]).unwrap();
        assert_eq!(stated, Some(text.len() as u64), "other programs take their memory by it");
    }

    #[test]
    fn every_damage_to_the_stored_bytes_is_noticed() {
        let stored = encode(FileKind::Lock, JSON, &key(), Version::Two, Compression::Auto);
        for position in 0..stored.len() {
            let mut changed = stored.clone();
            changed[position] ^= 1;
            assert_eq!(decode(FileKind::Lock, &changed, &key()), Err(Invalid::Unauthentic));
            assert!(decode(FileKind::Lock, &stored[..position], &key()).is_err());
        }
    }

    #[test]
    fn a_compressed_config_and_other_forms_are_refused() {
        let frame = zstd::bulk::compress(JSON, 3).unwrap();
        let compressed = [&[COMPRESSED], &frame[..]].concat();
        assert!(decode(FileKind::Config, &sealed(&compressed), &key()).is_err());
        for plain in [&b""[..], b"\x02", b"\x03{}", b"null", b"\x02{}"] {
            assert!(decode(FileKind::Snapshot, &sealed(plain), &key()).is_err(), "{plain:?}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_of_whoever_holds_the_key_panics(mut frame in prop::collection::vec(any::<u8>(), 0..200), genuine: bool, change in any::<prop::sample::Index>()) {
            if genuine {
                frame = zstd::bulk::compress(&frame, 3).unwrap();
                let position = change.index(frame.len());
                frame[position] ^= 0x55;
            }
            let stored = sealed(&[&[COMPRESSED], &frame[..]].concat());
            let _ = decode(FileKind::Snapshot, &stored, &key());
        }
    }
}
