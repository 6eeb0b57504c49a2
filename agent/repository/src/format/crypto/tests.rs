use proptest::prelude::*;

use super::*;

fn key() -> MasterKey {
    MasterKey::new(&[1; 32], &[2; 16], &[3; 16]).unwrap()
}

fn sealed(plain: &[u8], iv: [u8; IV_BYTES]) -> Vec<u8> {
    let mut buffer = b"before".to_vec();
    buffer.extend_from_slice(&[0; IV_BYTES]);
    buffer.extend_from_slice(plain);
    key().seal_with_iv(&mut buffer, 6, iv);
    assert_eq!(&buffer[..6], b"before");
    buffer.split_off(6)
}

/// The definition, block by block: what the fast path must equal.
fn sealed_slowly(plain: &[u8], iv: [u8; IV_BYTES]) -> Vec<u8> {
    let encrypt_block = |algorithm, key: &[u8], block: &mut [u8]| {
        let cipher = EncryptingKey::ecb(UnboundCipherKey::new(algorithm, key).unwrap()).unwrap();
        cipher.less_safe_encrypt(block, EncryptionContext::None).unwrap();
    };
    let mut out = iv.to_vec();
    let mut counter = u128::from_be_bytes(iv);
    for chunk in plain.chunks(16) {
        let mut block = counter.to_be_bytes();
        encrypt_block(&AES_256, &[1; 32], &mut block);
        out.extend(chunk.iter().zip(block).map(|(text, stream)| text ^ stream));
        counter = counter.wrapping_add(1);
    }
    let mut one_time = [3; 32];
    one_time[16..].copy_from_slice(&iv);
    encrypt_block(&AES_128, &[2; 16], &mut one_time[16..]);
    let tag = Poly1305::new((&one_time).into()).compute_unpadded(&out[IV_BYTES..]);
    out.extend_from_slice(&tag);
    out
}

#[test]
fn the_pieces_make_the_same_bytes_as_the_definition() {
    let plain: Vec<u8> = (0..3 * PIECE_BYTES + 77).map(|i| (i * 7 / 3) as u8).collect();
    let mut counter_wraps = [0xff; 16];
    counter_wraps[15] = 0xf0;
    let mut low_half_wraps = [0xff; 16];
    low_half_wraps[0] = 0;
    for length in [0, 1, 15, 16, 17, 64, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 16, plain.len()] {
        for iv in [[9; 16], counter_wraps, low_half_wraps] {
            assert_eq!(sealed(&plain[..length], iv), sealed_slowly(&plain[..length], iv), "{length}");
        }
    }
}

#[test]
fn a_change_of_any_bit_is_noticed_and_leaves_the_bytes_alone() {
    let whole = sealed(b"attack at dawn, or a little later", [7; 16]);
    for position in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[position] ^= 1 << bit;
            let before = changed.clone();
            assert_eq!(key().open_in_place(&mut changed), Err(Invalid::Unauthentic));
            assert_eq!(changed, before);
            let mut scratch = Scratch::default();
            let pieces = key().open_pieces::<Invalid>(&changed, &mut scratch, |_| Ok(()));
            assert_eq!(pieces, Err(Invalid::Unauthentic));
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let whole = sealed(b"some text of more than one block", [7; 16]);
    for length in 0..whole.len() {
        assert!(key().open_in_place(&mut whole[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn an_emptied_key_is_refused() {
    assert!(MasterKey::new(&[0; 32], &[2; 16], &[3; 16]).is_err());
    assert!(MasterKey::new(&[1; 32], &[0; 16], &[3; 16]).is_err());
    assert!(MasterKey::new(&[1; 32], &[2; 16], &[0; 16]).is_err());
}

#[test]
fn a_key_prints_nothing_of_itself() {
    assert_eq!(format!("{:?}", key()), "MasterKey");
}

proptest! {
    #[test]
    fn what_is_sealed_opens(plain in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1_usize..12) {
        let plain = plain.repeat(repeat);
        let key = MasterKey::random();
        let mut buffer = vec![0; IV_BYTES];
        buffer.extend_from_slice(&plain);
        key.seal_in_place(&mut buffer, 0);
        prop_assert_eq!(buffer.len(), plain.len() + OVERHEAD_BYTES);

        let mut pieces = Vec::new();
        let mut scratch = Scratch::default();
        key.open_pieces::<Invalid>(&buffer, &mut scratch, |piece| {
            pieces.extend_from_slice(piece);
            Ok(())
        }).unwrap();
        prop_assert_eq!(&pieces, &plain);
        prop_assert_eq!(key.open_in_place(&mut buffer).unwrap(), &plain);
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(key().open_in_place(&mut bytes).is_err());
    }
}
