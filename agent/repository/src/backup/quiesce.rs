//! Around the reading: who is told before the source is looked at, and as soon as nothing of it is read any more.
//!
//! A workload may be held still in between. What that means is the caller's business; here is only that the second word
//! follows the first at once, whatever ends the reading: it is said by a guard that is dropped.

use std::fmt::Debug;

use tokio_util::sync::CancellationToken;

use crate::error::Result;

/// Is told of the reading, from a thread that may block.
pub trait Quiesce: Debug + Send + Sync {
    /// The repository is locked and read, and the source is about to be. An error ends the run with nothing read. Returns
    /// soon after `cancel`, which is the end of the run: somebody's wish, or a lost lock.
    fn before_reading(&self, cancel: &CancellationToken) -> Result<()>;

    /// Nothing of the source is read any more: it was read, or the run ends. Follows each call of
    /// [`Self::before_reading`], and must not block.
    fn after_reading(&self);
}

/// The time in which the source is read.
pub(super) struct Reading<'a>(Option<&'a dyn Quiesce>);

impl<'a> Reading<'a> {
    pub(super) fn begin(quiesce: Option<&'a dyn Quiesce>, cancel: &CancellationToken) -> Result<Self> {
        // First of all: what was begun and failed has to be ended too.
        let reading = Self(quiesce);
        if let Some(quiesce) = quiesce {
            quiesce.before_reading(cancel)?;
        }
        Ok(reading)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(quiesce) = self.0 {
            quiesce.after_reading();
        }
    }
}
