//! How many bytes of packs may be in memory at once, over all threads.
//!
//! Whoever holds a share never asks for a second one, so nobody waits for somebody who waits. A single piece above
//! the whole budget is let through alone.

use std::sync::{Condvar, Mutex};

#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: usize,
    used_bytes: Mutex<usize>,
    freed: Condvar,
}

/// A share; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, used_bytes: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until there is room.
    pub(super) fn take(&self, bytes: usize) -> Share<'_> {
        let used_bytes = self.used_bytes.lock().expect("no thread panics with it");
        let mut used_bytes = self
            .freed
            .wait_while(used_bytes, |used| *used > 0 && *used + bytes > self.max_bytes)
            .expect("no thread panics with it");
        *used_bytes += bytes;
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.used_bytes.lock().expect("no thread panics with it") -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_sum_of_all_shares_stays_below_the_budget() {
        let (budget, now, most) = (Budget::new(100), AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            for bytes in (1..90).cycle().take(2_000) {
                let _share = budget.take(bytes);
                most.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                now.fetch_sub(bytes, Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert!(most.into_inner() <= 100);
    }

    #[test]
    fn a_piece_above_the_budget_is_let_through_alone() {
        let budget = Budget::new(10);
        drop(budget.take(1_000));
        drop(budget.take(10));
    }
}
