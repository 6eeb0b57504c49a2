//! Where a file is cut into chunks: at positions that its content decides, so that an insertion moves cuts, not blobs.
//!
//! A Rabin fingerprint of the last 64 bytes is taken modulo the repository's polynomial; a chunk ends where its low 20
//! bits are zero, from 512 KiB on and at 8 MiB at the latest. No cut before that looks at bytes older than the window,
//! so the search starts shortly before 512 KiB, may stop and go on anywhere, and runs at several places at once.
//! It must never cut elsewhere than restic does: every file would be stored twice.

use super::Invalid;
use super::polynomial::Polynomial;
use crate::limits::{KIB, MIB};

/// No chunk is shorter, except the last one of a file.
pub const MIN_CHUNK_BYTES: usize = 512 * KIB;

/// No chunk is longer.
pub const MAX_CHUNK_BYTES: usize = 8 * MIB;

const WINDOW_BYTES: usize = 64;
const CUT_MASK: u64 = (1 << 20) - 1;

/// Above this many bits a fingerprint is reduced again.
const SHIFT: u32 = Polynomial::CHUNKER_DEGREE - 8;

/// Places searched at once. One step waits for the table look-up of the step before, so a single search leaves
/// most of the processor idle.
const LANES: usize = 4;

/// Bytes each place is searched for at a time. Shorter, and filling the windows anew costs more; longer, and more
/// is searched in vain behind a cut.
const LANE_BYTES: usize = 4 * KIB;

/// What the fingerprint needs of a polynomial; made once per repository.
#[derive(Clone, Debug)]
pub struct Tables {
    /// For the eight bits that leave the fingerprint at the top: what takes them away and adds their remainder.
    reduce: [u64; 256],
    /// What a byte adds to the fingerprint once it is 64 bytes back and must be gone.
    leave: [u64; 256],
}

impl Tables {
    /// # Errors
    /// If the degree is not 53. Whether it is irreducible is the config's affair.
    pub fn new(polynomial: Polynomial) -> Result<Self, Invalid> {
        if polynomial.degree() != Some(Polynomial::CHUNKER_DEGREE) {
            return Err(Invalid::malformed(format_args!("the polynomial {polynomial} has not degree 53")));
        }
        let mut tables = Self { reduce: [0; 256], leave: [0; 256] };
        for byte in 0..=255u8 {
            let above = u64::from(byte) << Polynomial::CHUNKER_DEGREE;
            tables.reduce[usize::from(byte)] = above | Polynomial(above).modulo(polynomial).0;
        }
        for byte in 0..=255u8 {
            // The byte enters, and 64 others come after it.
            let fingerprint = (0..WINDOW_BYTES).fold(u64::from(byte), |old, _| tables.enter(old, 0));
            tables.leave[usize::from(byte)] = fingerprint;
        }
        Ok(tables)
    }

    fn enter(&self, fingerprint: u64, entering: u8) -> u64 {
        // A fingerprint has 53 bits, so its top eight are what is left of it.
        (fingerprint << 8) ^ u64::from(entering) ^ self.reduce[usize::from((fingerprint >> SHIFT) as u8)]
    }

    #[inline(always)]
    fn slide(&self, fingerprint: u64, entering: u8, leaving: u8) -> u64 {
        self.enter(fingerprint, entering) ^ self.leave[usize::from(leaving)]
    }

    /// The fingerprint of the 64 bytes that end at `end`.
    fn fingerprint(&self, chunk: &[u8], end: usize) -> u64 {
        chunk[end - WINDOW_BYTES..end].iter().fold(0, |old, &byte| self.enter(old, byte))
    }

    /// The first length above `searched` and up to `end` at which the content asks for a cut.
    fn search(&self, chunk: &[u8], searched: usize, end: usize) -> Option<usize> {
        let mut position = searched;
        while end - position >= LANES * LANE_BYTES {
            if let Some(cut) = self.search_lanes(chunk, position) {
                return Some(cut);
            }
            position += LANES * LANE_BYTES;
        }
        self.search_one(chunk, position, end)
    }

    /// Searches `LANES` stretches behind `start` in step with each other.
    fn search_lanes(&self, chunk: &[u8], start: usize) -> Option<usize> {
        let starts: [usize; LANES] = std::array::from_fn(|lane| start + lane * LANE_BYTES);
        let mut fingerprints = starts.map(|start| self.fingerprint(chunk, start));
        let entering = starts.map(|start| lane_at(chunk, start));
        let leaving = starts.map(|start| lane_at(chunk, start - WINDOW_BYTES));
        for step in 0..LANE_BYTES {
            for lane in 0..LANES {
                fingerprints[lane] =
                    self.slide(fingerprints[lane], entering[lane][step], leaving[lane][step]);
            }
            if let Some(lane) = fingerprints.iter().position(|fingerprint| fingerprint & CUT_MASK == 0) {
                // A lane before this one may still hold an earlier cut.
                let earlier = (0..lane).find_map(|earlier| {
                    self.search_one(chunk, starts[earlier] + step + 1, starts[earlier] + LANE_BYTES)
                });
                return earlier.or(Some(starts[lane] + step + 1));
            }
        }
        None
    }

    fn search_one(&self, chunk: &[u8], searched: usize, end: usize) -> Option<usize> {
        let mut fingerprint = self.fingerprint(chunk, searched);
        let entering = &chunk[searched..end];
        let leaving = &chunk[searched - WINDOW_BYTES..end - WINDOW_BYTES];
        let steps = entering.iter().zip(leaving).position(|(&entering, &leaving)| {
            fingerprint = self.slide(fingerprint, entering, leaving);
            fingerprint & CUT_MASK == 0
        });
        steps.map(|step| searched + step + 1)
    }
}

fn lane_at(chunk: &[u8], start: usize) -> &[u8; LANE_BYTES] {
    chunk[start..].first_chunk().expect("lanes are searched only in front of the end")
}

/// Finds the cuts of one file. It remembers how far it has searched, never what it has seen: the caller keeps the
/// bytes of the chunk in progress and shows all of them again each time more have arrived.
#[derive(Clone, Debug)]
pub struct Chunker<'a> {
    tables: &'a Tables,
    /// No cut is at this length of the chunk in progress or at a smaller one.
    searched_bytes: usize,
}

impl<'a> Chunker<'a> {
    pub fn new(tables: &'a Tables) -> Self {
        Self { tables, searched_bytes: MIN_CHUNK_BYTES - 1 }
    }

    /// The length of the chunk that begins where `chunk` begins, or `None` if it takes more bytes to tell; then call
    /// again with the same bytes and more. After a cut the next call shows what follows it. Bytes after the end of
    /// the chunk do no harm.
    pub fn next_cut(&mut self, chunk: &[u8]) -> Option<usize> {
        let end = chunk.len().min(MAX_CHUNK_BYTES);
        if end <= self.searched_bytes {
            return None;
        }
        let found = self.tables.search(chunk, self.searched_bytes, end);
        let cut = found.or((end == MAX_CHUNK_BYTES).then_some(end));
        self.searched_bytes = if cut.is_some() { MIN_CHUNK_BYTES - 1 } else { end };
        cut
    }

    /// The same at the end of the file, where no more bytes follow `rest`: without a cut it is one chunk. Zero only if
    /// `rest` is empty.
    pub fn next_cut_at_end(&mut self, rest: &[u8]) -> usize {
        self.next_cut(rest).unwrap_or_else(|| {
            self.searched_bytes = MIN_CHUNK_BYTES - 1;
            rest.len()
        })
    }
}

/// The length of a chunk that begins with zeros only, whatever the polynomial.
///
/// The fingerprint of 64 zeros is zero, so a run of zeros is cut as soon as that is allowed. A hole is therefore read
/// like this: at most this many zeros bring the chunk in progress to its cut; then each whole `zero_chunk_length()` of
/// the hole is one and the same chunk; the zeros that are left begin the chunk that goes on behind the hole.
pub const fn zero_chunk_length() -> usize {
    MIN_CHUNK_BYTES
}

#[cfg(test)]
mod tests;
