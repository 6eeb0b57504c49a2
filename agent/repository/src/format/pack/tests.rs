use proptest::prelude::*;

use super::*;

fn key() -> MasterKey {
    MasterKey::new(&[1; 32], &[2; 16], &[3; 16]).unwrap()
}

/// Entries as one pack has them: without gaps.
pub(in crate::format) fn entries() -> impl Strategy<Value = Vec<PackEntry>> {
    let entry = (any::<bool>(), any::<[u8; 32]>(), 32_u32..100_000, any::<u32>());
    prop::collection::vec(entry, 1..40).prop_map(|drawn| {
        let mut offset = 0;
        let mut entries = Vec::new();
        for (tree, id, length, uncompressed_length) in drawn {
            let kind = if tree { BlobKind::Tree } else { BlobKind::Data };
            // Half of them uncompressed.
            let uncompressed_length = NonZeroU32::new(uncompressed_length / 2 * (uncompressed_length % 2));
            entries.push(PackEntry { kind, id: Id::from_bytes(id), offset, length, uncompressed_length });
            offset += length;
        }
        entries
    })
}

fn one(length: u32) -> PackEntry {
    let uncompressed_length = NonZeroU32::new(70);
    PackEntry { kind: BlobKind::Tree, id: Id::of(b"x"), offset: 0, length, uncompressed_length }
}

/// The sealed header alone.
fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut buffer = [&[0; IV_BYTES], plain].concat();
    key().seal_in_place(&mut buffer, 0);
    buffer
}

fn entry_bytes(form: u8, length: u32, rest: &[u8]) -> Vec<u8> {
    [&[form][..], &length.to_le_bytes(), rest].concat()
}

#[test]
fn an_entry_is_written_byte_for_byte_as_documented() {
    let mut out = Vec::new();
    encode_header(&[one(100)], &key(), &mut out);
    assert_eq!(out[out.len() - 4..], 73_u32.to_le_bytes());
    let end = out.len() - 4;
    let plain = key().open_in_place(&mut out[..end]).unwrap().to_vec();
    assert_eq!(plain[..9], [3, 100, 0, 0, 0, 70, 0, 0, 0]);
    assert_eq!(plain[9..], *Id::of(b"x").as_bytes());
}

#[test]
fn headers_that_lie_are_refused() {
    let id = [7; 32];
    let compressed = [&[9, 0, 0, 0][..], &id].concat();
    let cases: [(Vec<u8>, u64, &str); 7] = [
        (entry_bytes(0, 100, &id), 99, "less room than lengths"),
        (entry_bytes(0, 100, &id), 101, "a gap before the header"),
        (entry_bytes(4, 100, &id), 100, "unknown type"),
        (entry_bytes(0, 31, &id), 31, "shorter than an envelope"),
        (entry_bytes(2, 100, &[&[0; 4][..], &id].concat()), 100, "compressed nothing"),
        (entry_bytes(0, 100, &id[..31]), 100, "cut entry"),
        (
            [entry_bytes(2, u32::MAX, &compressed), entry_bytes(0, 32, &id)].concat(),
            (1 << 32) + 31,
            "beyond 4 GiB",
        ),
    ];
    for (plain, size, why) in cases {
        let result = decode_header(&mut sealed(&plain), size, &key());
        assert!(matches!(result, Err(Invalid::Malformed(_))), "{why}: {result:?}");
    }
    assert_eq!(decode_header(&mut sealed(&entry_bytes(0, 100, &id)), 100, &key()).unwrap().len(), 1);
}

#[test]
fn a_trailer_that_points_outside_is_refused() {
    let limit = limits::MAX_PACK_HEADER_BYTES as u32;
    assert_eq!(header_range(173, 69_u32.to_le_bytes()), Ok(100..169));
    assert_eq!(header_range(73, 69_u32.to_le_bytes()), Ok(0..69));
    for (size, length) in
        [(72, 69), (3, 69), (0, 69), (1000, 0), (1000, 68), (u64::MAX, limit + 1), (9, u32::MAX)]
    {
        assert!(header_range(size, u32::to_le_bytes(length)).is_err(), "{size} {length}");
    }
}

#[test]
fn every_damage_to_a_header_is_noticed() {
    let mut whole = Vec::new();
    encode_header(&[one(100)], &key(), &mut whole);
    whole.truncate(whole.len() - 4);
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        assert_eq!(decode_header(&mut changed, 100, &key()), Err(Invalid::Unauthentic));
        assert!(decode_header(&mut whole[..position].to_vec(), 100, &key()).is_err());
    }
}

#[test]
fn a_full_header_is_still_read() {
    let last = limits::MAX_PACK_HEADER_BYTES / COMPRESSED_ENTRY_BYTES;
    assert!(has_room(&vec![one(32); last - 2]));
    assert!(!has_room(&vec![one(32); last]));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(entries in entries()) {
        let mut out = b"blobs".to_vec();
        encode_header(&entries, &key(), &mut out);
        let header = out.split_off(5);
        prop_assert_eq!(header.len(), header_size_bytes(&entries));
        let blobs: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
        let size = blobs + header.len() as u64;
        let (mut sealed, trailer) = (header[..header.len() - 4].to_vec(), header[header.len() - 4..].try_into().unwrap());
        let range = header_range(size, trailer).unwrap();
        prop_assert_eq!(range.end - range.start, sealed.len() as u64);
        prop_assert_eq!(decode_header(&mut sealed, range.start, &key()).unwrap(), entries);
    }

    #[test]
    fn no_header_of_whoever_holds_the_key_panics(plain in prop::collection::vec(0_u8..5, 0..200), size: u64) {
        let _ = decode_header(&mut sealed(&plain), size, &key());
    }
}
