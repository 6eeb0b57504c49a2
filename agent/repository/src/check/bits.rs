//! A set of positions in the index that many threads add to: one bit a blob.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Bits(Box<[AtomicU64]>);

impl Bits {
    /// For positions below `len`.
    pub(super) fn new(len: usize) -> Self {
        Self((0..len.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds a position; whether it is new.
    pub(super) fn insert(&self, position: usize) -> bool {
        let bit = 1 << (position % 64);
        // Looked at first: most positions are met again and again, and writing would take the line from others.
        self.0[position / 64].load(Ordering::Relaxed) & bit == 0
            && self.0[position / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.0[position / 64].load(Ordering::Relaxed) & (1 << (position % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_new_once_whoever_adds_it() {
        let bits = Bits::new(130);
        let add_all = || (0..130).filter(|position| bits.insert(*position)).count();
        let added: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(add_all)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(added, 130);
        let few = Bits::new(130);
        assert!(few.insert(64) && !few.insert(64));
        assert_eq!((0..130).filter(|position| few.contains(*position)).collect::<Vec<_>>(), [64]);
    }
}
