use proptest::prelude::*;

use super::*;
use crate::format::id::Id;

const POLYNOMIAL: Polynomial = Polynomial(0x3d_a335_8b4d_c173);

/// The numbers that `tests/golden/chunks/make.py` makes the file of.
fn split_mix(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn cuts(tables: &Tables, mut rest: &[u8]) -> Vec<usize> {
    let mut chunker = Chunker::new(tables);
    let mut lengths = Vec::new();
    while !rest.is_empty() {
        let length = chunker.next_cut_at_end(rest);
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

/// The rule as the format states it, a byte at a time, with a division for each and the byte 1 in the window at first.
fn model_cuts(polynomial: Polynomial, content: &[u8]) -> Vec<usize> {
    let append = |hash: u64, byte: u8| Polynomial(hash << 8 | u64::from(byte)).modulo(polynomial).0;
    let leaving: Vec<u64> =
        (0..=255).map(|byte| (1..WINDOW_BYTES).fold(append(0, byte), |hash, _| append(hash, 0))).collect();
    let mut lengths = Vec::new();
    let mut start = 0;
    while start < content.len() {
        let chunk = &content[start..];
        let (mut window, mut position, mut hash) = ([0u8; WINDOW_BYTES], 1, 1);
        window[0] = 1;
        let length = (MIN_CHUNK_BYTES - WINDOW_BYTES..chunk.len()).find_map(|at| {
            let oldest = std::mem::replace(&mut window[position % WINDOW_BYTES], chunk[at]);
            hash = append(hash ^ leaving[usize::from(oldest)], chunk[at]);
            position += 1;
            let length = at + 1;
            let asked = length >= MIN_CHUNK_BYTES && hash & CUT_MASK == 0;
            (asked || length == MAX_CHUNK_BYTES).then_some(length)
        });
        lengths.push(length.unwrap_or(chunk.len()));
        start += lengths[lengths.len() - 1];
    }
    lengths
}

#[test]
fn a_file_is_cut_where_restic_cuts_it() {
    let fixture = include_str!("../../../tests/golden/chunks/chunks.txt");
    let mut lines = fixture.lines();
    let polynomial: Polynomial = lines.next().unwrap().parse().unwrap();
    assert!(polynomial.suits_chunker());
    let random = split_mix(1, 72 * MIB + 12345);
    let mut content = random[..64 * MIB].to_vec();
    content.resize(84 * MIB, 0);
    content.resize(93 * MIB, 0x55);
    content.extend_from_slice(&random[64 * MIB..]);
    let tables = Tables::new(polynomial).unwrap();
    let mut rest = &content[..];
    let chunks: Vec<String> = cuts(&tables, rest)
        .into_iter()
        .map(|length| {
            let (chunk, after) = rest.split_at(length);
            rest = after;
            format!("{length} {}", Id::of(chunk))
        })
        .collect();
    assert_eq!(chunks, lines.collect::<Vec<_>>());
}

#[test]
fn cuts_do_not_depend_on_how_the_bytes_arrive() {
    let content = split_mix(2, 12 * MIB);
    let tables = Tables::new(POLYNOMIAL).unwrap();
    let expected = cuts(&tables, &content);
    assert!(expected.len() > 5);
    let mut random = fastrand::Rng::with_seed(2);
    for most in [1000, 65_536, 3 * MIB] {
        let mut chunker = Chunker::new(&tables);
        let (mut start, mut end, mut lengths) = (0, 0, Vec::new());
        while end < content.len() {
            end = (end + random.usize(1..=most)).min(content.len());
            while let Some(length) = chunker.next_cut(&content[start..end]) {
                lengths.push(length);
                start += length;
            }
        }
        lengths.push(chunker.next_cut_at_end(&content[start..]));
        assert_eq!(lengths, expected, "up to {most} bytes at a time");
    }
}

#[test]
fn zeros_are_cut_at_the_minimum_whatever_the_polynomial() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..5 {
        let polynomial = Polynomial::random(&mut || random.u64(..)).unwrap();
        let tables = Tables::new(polynomial).unwrap();
        let zeros = vec![0; 3 * zero_chunk_length() + 5];
        assert_eq!(cuts(&tables, &zeros), [[zero_chunk_length(); 3].as_slice(), &[5]].concat());
        // A chunk in progress needs no more zeros than that to come to its cut.
        for begun in [1, 4711, zero_chunk_length() - 1, zero_chunk_length() + 7, 3 * MIB] {
            let mut chunk = vec![0x55; begun];
            let mut chunker = Chunker::new(&tables);
            if chunker.next_cut(&chunk).is_none() {
                chunk.resize(begun + zero_chunk_length(), 0);
                let cut = chunker.next_cut(&chunk).unwrap();
                assert!(cut > begun && cut <= (begun + 64).max(zero_chunk_length()), "{begun}: {cut}");
            }
        }
    }
}

#[test]
fn chunks_without_a_cut_end_at_the_maximum() {
    let tables = Tables::new(POLYNOMIAL).unwrap();
    let content = vec![0x55; 2 * MAX_CHUNK_BYTES + 1];
    assert_eq!(cuts(&tables, &content), [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 1]);
    let mut chunker = Chunker::new(&tables);
    assert_eq!(chunker.next_cut(&content[..MAX_CHUNK_BYTES - 1]), None);
    assert_eq!(chunker.next_cut(&content[..MAX_CHUNK_BYTES]), Some(MAX_CHUNK_BYTES));
}

#[test]
fn small_files_are_one_chunk() {
    let tables = Tables::new(POLYNOMIAL).unwrap();
    for length in [1, 63, 64, 65, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES] {
        assert_eq!(cuts(&tables, &vec![0; length]), [length]);
    }
    assert_eq!(Chunker::new(&tables).next_cut_at_end(&[]), 0);
}

#[test]
fn polynomials_of_another_degree_are_refused() {
    assert!(Tables::new(Polynomial(POLYNOMIAL.0 << 1)).is_err());
    assert!(Tables::new(Polynomial(0)).is_err());
}

/// Random bytes with runs in which cuts come at once, in a burst, or never.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = (any::<u64>(), 1usize..1_500_000, 0..4).prop_map(|(seed, length, kind)| match kind {
        0 => vec![0; length],
        1 => vec![0x55; length],
        2 => split_mix(seed, 64).repeat(length / 64 + 1),
        _ => split_mix(seed, length),
    });
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_are_those_of_the_model(content in content(), seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let polynomial = Polynomial::random(&mut || random.u64(..)).unwrap();
        let tables = Tables::new(polynomial).unwrap();
        prop_assert_eq!(cuts(&tables, &content), model_cuts(polynomial, &content));
    }
}
