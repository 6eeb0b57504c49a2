//! What the workers take their work from, and the budgets that bound what is in memory.
//!
//! The queue itself is not bounded: every job holds a part of the plan's budget, and that is.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::plan::Job;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a job, or there will be none.
    changed: Condvar,
    /// No job is waiting or under way.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    under_way: usize,
    closed: bool,
    stopped: bool,
}

impl Queue {
    pub(super) fn push(&self, jobs: Vec<Job>) {
        let mut state = self.lock();
        if !state.stopped {
            state.jobs.extend(jobs);
            self.changed.notify_all();
        }
    }

    /// The next job; waits for one. `None` when there will be no more. The caller must say [`Queue::done`].
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.under_way += 1;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).expect("no thread panics with it");
        }
    }

    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.under_way -= 1;
        if state.under_way == 0 && state.jobs.is_empty() {
            self.idle.notify_all();
        }
    }

    /// Returns when all that was pushed is done, or the run was stopped.
    pub(super) fn wait_until_idle(&self) {
        let mut state = self.lock();
        while !state.stopped && (state.under_way > 0 || !state.jobs.is_empty()) {
            state = self.idle.wait(state).expect("no thread panics with it");
        }
    }

    /// No job comes any more; those that wait are done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// No further job is begun.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        // Outside the lock: jobs give back their budget, which wakes others.
        let dropped = std::mem::take(&mut state.jobs);
        drop(state);
        drop(dropped);
        self.changed.notify_all();
        self.idle.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }
}

/// So many bytes, to be taken before memory is. A clone is the same budget.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Shared>);

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
    pub(super) fn new(total_bytes: usize) -> Self {
        let state = Mutex::new(BudgetState { free_bytes: total_bytes, stopped: false });
        Self(Arc::new(Shared { state, freed: Condvar::new(), total_bytes }))
    }

    /// Waits until so much is free, and takes it. More than there is altogether waits for all of it, so that
    /// one large thing goes alone. Once stopped nobody waits.
    pub(super) fn take(&self, size_bytes: usize) -> Charge {
        let charged_bytes = size_bytes.min(self.0.total_bytes);
        let mut state = self.lock();
        while state.free_bytes < charged_bytes && !state.stopped {
            state = self.0.freed.wait(state).expect("no thread panics with it");
        }
        state.free_bytes = state.free_bytes.saturating_sub(charged_bytes);
        Charge { budget: self.clone(), charged_bytes }
    }

    pub(super) fn stop(&self) {
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
pub(super) struct Charge {
    budget: Budget,
    charged_bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.lock().free_bytes += self.charged_bytes;
        self.budget.0.freed.notify_all();
    }
}
