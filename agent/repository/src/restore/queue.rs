//! What the workers take their work from. The queue itself is not bounded: every job holds a part of the plan's
//! budget, and that is.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

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
