//! Blocking work inside a future, done where it stands.
//!
//! Most of these futures are polled by plain worker threads through `Handle::block_on`, which may block as long
//! as they like: handing the work to another thread would cost two context switches for each small read. The
//! price is that a task of a current-thread runtime stands still for the length of one call, which only tests do.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Runs `work` on this thread. On a worker of a multi-thread runtime the other tasks move to another thread
/// first. Inside a `LocalSet` of a multi-thread runtime tokio has no way to do that and panics.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        // A current-thread runtime has no other thread, and without a runtime there is nobody to make way for.
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::blocking;

    #[test]
    fn blocking_work_runs_under_every_kind_of_runtime_and_under_none() {
        assert_eq!(blocking(|| 1), 1);
        let current = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(current.block_on(async { blocking(|| 2) }), 2);
        let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        assert_eq!(multi.block_on(async { blocking(|| 3) }), 3);
        let task = multi.spawn(async { blocking(|| 4) });
        assert_eq!(multi.block_on(task).expect("the task ends"), 4);
        let handle = multi.handle().clone();
        let worker = std::thread::spawn(move || handle.block_on(async { blocking(|| 5) }));
        assert_eq!(worker.join().expect("the thread ends"), 5);
    }
}
