//! What is left to do, and who does it next: one pool of workers for all stages.
//!
//! Sealing goes before reading, reading before scanning, the newest directory first: what is begun is finished
//! before more is begun, so that little is open at once. Nobody ever waits for a full queue: who finds one
//! does the work itself ([`Queue::reserve_chunk`], [`Queue::read_queue_is_full`]). The queue ends when it is
//! empty and nobody works, or when it is stopped.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::chunk::{ChunkJob, ReadJob};
use super::scan::ScanJob;
use crate::limits;

pub(super) enum Job {
    Chunk(ChunkJob),
    Read(ReadJob),
    Scan(ScanJob),
}

#[derive(Default)]
struct State {
    chunks: VecDeque<ChunkJob>,
    chunk_bytes: usize,
    /// The buffer of a chunk that is done, for the next one.
    spare: Vec<u8>,
    reads: VecDeque<ReadJob>,
    scans: Vec<ScanJob>,
    working: usize,
    waiting: usize,
    stopped: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    workers: usize,
}

impl Queue {
    pub(super) fn new(workers: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), workers }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    pub(super) fn push_scans(&self, scans: Vec<ScanJob>) {
        if scans.is_empty() {
            return;
        }
        let mut state = self.state();
        state.scans.extend(scans);
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    pub(super) fn push_read(&self, read: ReadJob) {
        let mut state = self.state();
        state.reads.push_back(read);
        if state.waiting > 0 {
            self.changed.notify_one();
        }
    }

    pub(super) fn read_queue_is_full(&self) -> bool {
        self.state().reads.len() >= limits::MAX_QUEUED_READS
    }

    pub(super) fn pop_read(&self) -> Option<ReadJob> {
        self.state().reads.pop_front()
    }

    /// Whether a chunk of that size may be queued for another worker; otherwise the reader seals it itself.
    /// The bytes are counted from now on.
    pub(super) fn reserve_chunk(&self, size_bytes: usize) -> bool {
        let mut state = self.state();
        let is_wanted = self.workers > 1 && state.chunks.len() < self.workers;
        if !is_wanted || state.chunk_bytes + size_bytes > limits::QUEUED_CHUNK_BYTES {
            return false;
        }
        state.chunk_bytes += size_bytes;
        true
    }

    pub(super) fn push_chunk(&self, chunk: ChunkJob) {
        let mut state = self.state();
        state.chunks.push_back(chunk);
        if state.waiting > 0 {
            self.changed.notify_one();
        }
    }

    /// A copy of a chunk that was reserved.
    pub(super) fn copy(&self, chunk: &[u8]) -> Vec<u8> {
        let mut content = std::mem::take(&mut self.state().spare);
        content.clear();
        // A buffer that grows by doubling would hold twice what is counted.
        content.reserve_exact(chunk.len());
        content.extend_from_slice(chunk);
        content
    }

    /// The bytes of a queued chunk are free again. One buffer is kept, the largest: more would be held beside what
    /// is counted.
    pub(super) fn release_chunk(&self, content: Vec<u8>) {
        let mut state = self.state();
        state.chunk_bytes -= content.len();
        if content.capacity() > state.spare.capacity() {
            state.spare = content;
        }
    }

    /// The next job, when there is one; `None` when all is done or the queue was stopped. Who took a job
    /// counts as working until the next call.
    pub(super) fn take(&self, was_working: bool) -> Option<Job> {
        let mut state = self.state();
        if was_working {
            state.working -= 1;
        }
        loop {
            if state.stopped {
                return None;
            }
            let job = state
                .chunks
                .pop_front()
                .map(Job::Chunk)
                .or_else(|| state.reads.pop_front().map(Job::Read))
                .or_else(|| state.scans.pop().map(Job::Scan));
            if let Some(job) = job {
                state.working += 1;
                return Some(job);
            }
            if state.working == 0 {
                self.changed.notify_all();
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).expect("no thread panics with it");
            state.waiting -= 1;
        }
    }

    /// Ends the queue for all workers, whatever is left in it.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}
