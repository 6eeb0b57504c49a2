use proptest::prelude::*;

use super::*;

fn key() -> MasterKey {
    MasterKey::new(&[1; 32], &[2; 16], &[3; 16]).unwrap()
}

struct Sealed {
    id: Id,
    kind: BlobKind,
    bytes: Vec<u8>,
    uncompressed_length: Option<NonZeroU32>,
}

impl Sealed {
    fn of(version: Version, compression: Compression, kind: BlobKind, plain: &[u8]) -> Self {
        let mut bytes = b"before".to_vec();
        let uncompressed_length = Sealer::new(version, compression).seal(&key(), kind, plain, &mut bytes);
        assert_eq!(&bytes[..6], b"before");
        Self { id: Id::of(plain), kind, bytes: bytes.split_off(6), uncompressed_length }
    }

    /// An envelope around bytes no sealer would make.
    fn around(text: &[u8], claimed: u32) -> Self {
        let mut bytes = [&[0; IV_BYTES], text].concat();
        key().seal_in_place(&mut bytes, 0);
        let uncompressed_length = NonZeroU32::new(claimed);
        Self { id: Id::default(), kind: BlobKind::Data, bytes, uncompressed_length }
    }

    fn open(&self, opener: &mut Opener) -> Result<Vec<u8>, Invalid> {
        let mut out = b"left over".to_vec();
        let Self { id, kind, bytes, uncompressed_length } = self;
        opener.open(&key(), *kind, id, &mut bytes.clone(), *uncompressed_length, &mut out)?;
        Ok(out)
    }

    fn verify(&self, opener: &mut Opener) -> Result<(), Invalid> {
        opener.verify(&key(), self.kind, &self.id, &self.bytes, self.uncompressed_length)
    }
}

/// Text that compresses, followed by bytes that do not.
fn half(text_bytes: usize, random_bytes: usize) -> Vec<u8> {
    let mut plain: Vec<u8> = b"all work and no play ".iter().copied().cycle().take(text_bytes).collect();
    let from = plain.len();
    plain.resize(from + random_bytes, 0);
    crypto::fill_random(&mut plain[from..]);
    plain
}

#[test]
fn what_is_compressed_follows_from_version_kind_and_wish() {
    use BlobKind::{Data, Tree};
    use Compression::{Auto, Max, Off};
    use Version::{One, Two};
    let (text, random, empty) = (half(9000, 0), half(0, 9000), Vec::new());
    let cases = [
        (One, Auto, Data, &text, false),
        (One, Max, Tree, &text, false),
        (Two, Auto, Data, &text, true),
        (Two, Max, Data, &text, true),
        (Two, Off, Data, &text, false),
        (Two, Off, Tree, &text, true),
        (Two, Auto, Data, &random, false),
        (Two, Auto, Tree, &random, true),
        (Two, Auto, Data, &empty, false),
        (Two, Auto, Tree, &empty, false),
    ];
    for (version, compression, kind, plain, compressed) in cases {
        let sealed = Sealed::of(version, compression, kind, plain);
        let length = NonZeroU32::new(plain.len() as u32).filter(|_| compressed);
        assert_eq!(
            sealed.uncompressed_length,
            length,
            "{version:?} {compression:?} {kind:?} {}",
            plain.len()
        );
        if !compressed {
            assert_eq!(sealed.bytes.len(), plain.len() + OVERHEAD_BYTES);
        }
        assert_eq!(&sealed.open(&mut Opener::default()).unwrap(), plain);
        assert_eq!(sealed.verify(&mut Opener::default()), Ok(()));
    }
}

#[test]
fn a_frame_states_its_size_and_window_and_has_no_checksum() {
    // (content, first byte after the magic number): bits 7-6 width of the size, 5 single segment, 2 checksum.
    for (size, single_segment) in
        [(1000, true), (512 * 1024, true), (512 * 1024 + 1, false), (3 << 20, false)]
    {
        let plain = half(size, 0);
        let sealed = Sealed::of(Version::Two, Compression::Auto, BlobKind::Data, &plain);
        let mut bytes = sealed.bytes.clone();
        let frame = key().open_in_place(&mut bytes).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(frame).unwrap(), Some(size as u64));
        let descriptor = frame[4];
        assert_eq!(descriptor & 0x20 != 0, single_segment, "{size}");
        assert_eq!(descriptor & 0x07, 0, "no checksum, no dictionary");
        if !single_segment {
            assert_eq!(frame[5], (19 - 10) << 3, "a window of 512 KiB");
        }
    }
}

#[test]
fn a_bomb_is_refused_before_its_memory_is_taken() {
    let mut opener = Opener::default();
    let zeros = zstd::bulk::compress(&vec![0; 1 << 20], 19).unwrap();
    let silent = zstd::stream::encode_all(&vec![0; 1 << 20][..], 19).unwrap();
    for (text, claimed) in [(&zeros, 1000), (&silent, 1000), (&zeros, u32::MAX), (&silent, u32::MAX)] {
        let sealed = Sealed::around(text, claimed);
        let mut out = Vec::new();
        let result = opener.open(
            &key(),
            sealed.kind,
            &sealed.id,
            &mut sealed.bytes.clone(),
            sealed.uncompressed_length,
            &mut out,
        );
        assert!(matches!(result, Err(Invalid::TooLarge { .. })), "{result:?}");
        assert!(out.capacity() <= 1000);
        assert!(matches!(sealed.verify(&mut opener), Err(Invalid::TooLarge { .. })));
    }
    // The context works on after each of them.
    let good = Sealed::of(Version::Two, Compression::Auto, BlobKind::Data, &half(5000, 0));
    assert_eq!(good.verify(&mut opener), Ok(()));
    assert!(good.open(&mut opener).is_ok());
}

#[test]
fn verifying_a_large_blob_takes_little_memory() {
    let sealed = Sealed::of(Version::Two, Compression::Max, BlobKind::Data, &half(5 << 20, 3 << 20));
    let mut opener = Opener::default();
    assert_eq!(sealed.verify(&mut opener), Ok(()));
    assert!(opener.decompressor.memory_bytes() < 2 << 20);
}

#[test]
fn a_blob_above_the_limit_is_refused_uncompressed_too() {
    let max_bytes = BlobKind::Data.max_plain_bytes();
    let mut opener = Opener::default();
    let result = opener.verify(&key(), BlobKind::Data, &Id::default(), &vec![0; max_bytes + 33], None);
    assert!(matches!(result, Err(Invalid::TooLarge { .. })));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let plain = half(5000, 0);
    let frame = zstd::bulk::compress(&plain, 3).unwrap();
    let mut opener = Opener::default();
    for (text, claimed) in [
        (frame.clone(), 5001),
        (frame[..frame.len() - 1].to_vec(), 5000),
        ([&frame[..], b"x"].concat(), 5000),
        (plain.clone(), 5000),
        (Vec::new(), 5000),
    ] {
        let sealed = Sealed { id: Id::of(&plain), ..Sealed::around(&text, claimed) };
        assert!(matches!(sealed.open(&mut opener), Err(Invalid::Malformed(_))), "{}", text.len());
        assert!(matches!(sealed.verify(&mut opener), Err(Invalid::Malformed(_))), "{}", text.len());
    }
}

#[test]
fn content_of_another_id_is_noticed() {
    for compression in [Compression::Auto, Compression::Off] {
        let mut sealed = Sealed::of(Version::Two, compression, BlobKind::Data, &half(500, 0));
        sealed.id = Id::of(b"other");
        let mut opener = Opener::default();
        assert_eq!(sealed.open(&mut opener), Err(Invalid::WrongId));
        assert_eq!(sealed.verify(&mut opener), Err(Invalid::WrongId));
    }
}

#[test]
fn every_damage_to_a_sealed_blob_is_noticed() {
    let mut opener = Opener::default();
    for compression in [Compression::Auto, Compression::Off] {
        let sealed = Sealed::of(Version::Two, compression, BlobKind::Data, &half(200, 60));
        for position in 0..sealed.bytes.len() {
            let mut bytes = sealed.bytes.clone();
            bytes[position] ^= 0x10;
            let changed = Sealed { bytes, ..sealed };
            assert_eq!(changed.open(&mut opener), Err(Invalid::Unauthentic));
            // The pieces are used before the tag is compared, so that another check may fail first.
            assert!(changed.verify(&mut opener).is_err());
            let cut = Sealed { bytes: sealed.bytes[..position].to_vec(), ..sealed };
            assert!(cut.open(&mut opener).is_err() && cut.verify(&mut opener).is_err());
        }
    }
}

#[test]
fn frames_of_other_programs_are_read() {
    let plain = half(3 << 20, 5000);
    let with_checksum = {
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        compressor.include_checksum(true).unwrap();
        compressor.compress(&plain).unwrap()
    };
    let two_frames = [
        zstd::bulk::compress(&plain[..1000], 1).unwrap(),
        zstd::stream::encode_all(&plain[1000..], 5).unwrap(),
    ]
    .concat();
    let silent = zstd::stream::encode_all(&plain[..], 3).unwrap();
    let mut opener = Opener::default();
    for text in [with_checksum, silent] {
        let sealed = Sealed { id: Id::of(&plain), ..Sealed::around(&text, plain.len() as u32) };
        assert_eq!(sealed.open(&mut opener).unwrap(), plain);
        assert_eq!(sealed.verify(&mut opener), Ok(()));
    }
    // The first of several frames states less than the whole.
    let sealed = Sealed { id: Id::of(&plain), ..Sealed::around(&two_frames, plain.len() as u32) };
    assert!(matches!(sealed.open(&mut opener), Err(Invalid::Malformed(_))));
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_verifies(text in 0_usize..700_000, random in 0_usize..40_000, tree: bool, max: bool) {
        let plain = half(text, random);
        let kind = if tree { BlobKind::Tree } else { BlobKind::Data };
        let compression = if max { Compression::Max } else { Compression::Auto };
        let sealed = Sealed::of(Version::Two, compression, kind, &plain);
        let mut opener = Opener::default();
        prop_assert_eq!(sealed.verify(&mut opener), Ok(()));
        prop_assert_eq!(sealed.open(&mut opener).unwrap(), plain);
        prop_assert_eq!(sealed.verify(&mut opener), Ok(()));
    }

    #[test]
    fn no_frame_of_whoever_holds_the_key_panics(plain in prop::collection::vec(0_u8..4, 1..3000), changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4), claimed in 0_u32..5000) {
        let mut frame = zstd::bulk::compress(&plain, 3).unwrap();
        for (position, byte) in &changes {
            let position = position.index(frame.len());
            frame[position] = *byte;
        }
        let sealed = Sealed { id: Id::of(&plain), ..Sealed::around(&frame, claimed) };
        let mut opener = Opener::default();
        let (opened, verified) = (sealed.open(&mut opener), sealed.verify(&mut opener));
        if let Ok(opened) = &opened {
            prop_assert_eq!(opened, &plain);
        }
        // Both judge alike (a frame may ask for a window that only whole frames can have).
        prop_assert!(opened.is_ok() || verified.is_err());
    }
}
