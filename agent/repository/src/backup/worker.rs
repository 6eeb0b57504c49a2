//! One of the threads that do the work: takes jobs from the queue until there are none.

use super::Run;
use super::chunk::BUFFER_BYTES;
use super::queue::Job;
use super::seal::Sealing;
use crate::error::Result;
use crate::repository::BlobReader;
use crate::source::Names;

pub(super) struct Worker<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) sealing: Sealing<'a>,
    /// For the parent snapshot's trees.
    pub(super) trees: BlobReader,
    pub(super) names: Names,
    /// For the chunk that is being read.
    pub(super) buffer: Vec<u8>,
}

impl<'a, 'r> Worker<'a, 'r> {
    pub(super) fn new(run: &'a Run<'r>) -> Self {
        Self {
            run,
            sealing: Sealing::new(run.repository),
            trees: BlobReader::new(run.repository, &run.index),
            names: Names::default(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Works until all is done. The first error of any worker ends them all.
    pub(super) fn work(mut self) {
        // Also when this thread panics the others must not wait for it.
        let _stop_others = StopOnPanic(self.run);
        let mut was_working = false;
        while let Some(job) = self.run.queue.take(was_working) {
            was_working = true;
            if let Err(e) = self.perform(job) {
                self.run.fail(e);
            }
        }
    }

    fn perform(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Chunk(chunk) => self.sealing.chunk(self.run, chunk),
            Job::Read(read) => self.read(read),
            Job::Scan(scan) => self.scan(scan),
        }
    }
}

struct StopOnPanic<'a, 'r>(&'a Run<'r>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.stop();
        }
    }
}
