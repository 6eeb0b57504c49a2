//! Bytes made from a seed, in blocks that can be made in any order.
//!
//! The same [`Place`] gives the same bytes in every run, so a part of a file can be written anew, and put back,
//! without the rest. Two grades: noise that no compressor makes smaller, and text that zstd halves.

use fastrand::Rng;

/// The unit in which large files are made and rewritten.
pub const BLOCK_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Noise,
    Text,
}

/// Where bytes belong: a file's number, a block's number in it, and how often it was rewritten.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub file: u64,
    pub block: u64,
    pub generation: u64,
}

/// How rich the text is: so that zstd halves it both in pieces of a megabyte and in files of a few kilobytes,
/// where it has less to refer back to.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    words: usize,
    /// A word is the commonest of this many drawn: a real language has few common words and many rare ones.
    draws: usize,
    hex_digits: usize,
}

/// Measured with zstd's level 3: 1.97 to 1 in pieces of 1 MiB.
pub const LARGE_DIALECT: Dialect = Dialect { words: 16_384, draws: 1, hex_digits: 24 };

/// Measured with zstd's level 3: 1.9 to 2.3 to 1 in files of 4 to 16 KiB.
pub const SMALL_DIALECT: Dialect = Dialect { words: 512, draws: 3, hex_digits: 12 };

/// Makes the bytes of all places of one seed.
#[derive(Debug)]
pub struct Generator {
    seed: u64,
    dialect: Dialect,
    words: Vec<Box<[u8]>>,
}

impl Generator {
    pub fn new(seed: u64, dialect: Dialect) -> Self {
        let mut rng = Rng::with_seed(mix(&[seed, 0x0077_6f72_6473]));
        let mut word = |_| (0..rng.usize(2..11)).map(|_| rng.lowercase() as u8).collect();
        let words = (0..dialect.words).map(&mut word).collect();
        Self { seed, dialect, words }
    }

    /// A number that belongs to a place for good: picks what is rewritten, sizes, grades.
    pub fn number(&self, file: u64, block: u64, purpose: u64) -> u64 {
        mix(&[self.seed, file, block, purpose])
    }

    /// Fills `out` with the bytes of `place`.
    pub fn fill(&self, place: Place, grade: Grade, out: &mut [u8]) {
        let mut rng = Rng::with_seed(mix(&[self.seed, place.file, place.block, place.generation, 1 << 32]));
        match grade {
            Grade::Noise => rng.fill(out),
            Grade::Text => self.fill_text(&mut rng, out),
        }
    }

    /// Lines as a log has them: a few words, a number in hex, a number in digits.
    fn fill_text(&self, rng: &mut Rng, out: &mut [u8]) {
        let mut filled = 0;
        let mut put = |bytes: &[u8]| {
            let taken = bytes.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            filled += taken;
            filled < out.len()
        };
        loop {
            for _ in 0..rng.usize(4..9) {
                let draws = (0..self.dialect.draws).map(|_| rng.usize(0..self.words.len()));
                let rank = draws.min().expect("a dialect draws at least once");
                if !put(&self.words[rank]) || !put(b" ") {
                    return;
                }
            }
            let id = rng.u128(..) >> (128 - 4 * self.dialect.hex_digits);
            let digits = self.dialect.hex_digits;
            let line = format!("id={id:0digits$x} took {} us\n", rng.u32(0..1_000_000));
            if !put(line.as_bytes()) {
                return;
            }
        }
    }
}

/// One well-mixed number of several (the finalizer of SplitMix64 after each).
fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seed: u64, file: u64, block: u64, generation: u64, grade: Grade) -> Vec<u8> {
        let mut out = vec![0; BLOCK_BYTES];
        Generator::new(seed, SMALL_DIALECT).fill(Place { file, block, generation }, grade, &mut out);
        out
    }

    #[test]
    fn a_place_has_the_same_bytes_every_time() {
        for grade in [Grade::Noise, Grade::Text] {
            assert_eq!(bytes(7, 1, 2, 0, grade), bytes(7, 1, 2, 0, grade));
        }
    }

    #[test]
    fn every_part_of_a_place_changes_its_bytes() {
        for grade in [Grade::Noise, Grade::Text] {
            let first = bytes(7, 1, 2, 0, grade);
            for other in [
                bytes(8, 1, 2, 0, grade),
                bytes(7, 2, 2, 0, grade),
                bytes(7, 1, 3, 0, grade),
                bytes(7, 1, 2, 1, grade),
            ] {
                assert_ne!(first, other);
            }
        }
    }

    #[test]
    fn text_fills_the_whole_block_with_printable_bytes() {
        assert!(bytes(7, 1, 2, 0, Grade::Text).iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    }
}
