//! How much may be in memory at once, over all threads of a job.
//!
//! Whoever holds a part of a budget never asks the same one for a second part, so nobody waits for somebody who waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// So many bytes, to be taken before memory is. A clone is the same budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<BudgetState>,
    freed: Condvar,
    total_bytes: usize,
}

#[derive(Debug)]
struct BudgetState {
    free_bytes: usize,
    stopped: bool,
}

impl Budget {
    pub(crate) fn new(total_bytes: usize) -> Self {
        let state = Mutex::new(BudgetState { free_bytes: total_bytes, stopped: false });
        Self(Arc::new(Shared { state, freed: Condvar::new(), total_bytes }))
    }

    /// Waits until so much is free, and takes it. More than there is altogether waits for all of it, so that
    /// one large thing goes alone. Once stopped nobody waits.
    pub(crate) fn take(&self, size_bytes: usize) -> Charge {
        let charged_bytes = size_bytes.min(self.0.total_bytes);
        let mut state = self.lock();
        while state.free_bytes < charged_bytes && !state.stopped {
            state = self.0.freed.wait(state).expect("no thread panics with it");
        }
        state.free_bytes = state.free_bytes.saturating_sub(charged_bytes);
        Charge { budget: self.clone(), charged_bytes }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.0.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.0.state.lock().expect("no thread panics with it")
    }
}

/// What was taken of a budget; given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge {
    budget: Budget,
    charged_bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.lock().free_bytes += self.charged_bytes;
        self.budget.0.freed.notify_all();
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
                let _charge = budget.take(bytes);
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
