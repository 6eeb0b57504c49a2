//! Keeps a lock alive: a new file every few minutes, then the old one goes.
//!
//! It measures by the wall clock, so that a suspended machine counts the time it slept. It stops, and cancels
//! the job, when somebody removed the lock or when no refresh has succeeded for too long.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_backend::{Backend, ErrorKind, FileKind};

use super::{Options, Shared, sealed_lock};
use crate::repository::Repository;
use crate::store::file_name;

/// Looks at the clock this often, so that waking from a suspend is noticed.
const TICK: Duration = Duration::from_secs(5);

pub(super) async fn keep(
    repository: Repository,
    backend: Arc<dyn Backend>,
    options: Options,
    shared: Arc<Shared>,
) {
    let timing = &options.timing;
    let mut tried = SystemTime::now();
    loop {
        tokio::select! {
            () = shared.released.cancelled() => return,
            () = options.given_up.asked.cancelled() => return give_up(&*backend, &shared).await,
            () = tokio::time::sleep(TICK.min(timing.refresh)) => {}
        }
        let since = |then: SystemTime| SystemTime::now().duration_since(then).unwrap_or_default();
        let refreshed = *shared.refreshed.lock().expect("no thread panics with it");
        if since(tried) < timing.refresh && since(refreshed) < timing.lost_after {
            continue;
        }
        tried = SystemTime::now();
        let left = timing.lost_after.saturating_sub(since(refreshed));
        let late = left.is_zero();
        let limit = if late { timing.refresh } else { left };
        match tokio::time::timeout(limit, refresh(&repository, &*backend, &options, &shared)).await {
            // Also when it is late: the old file was there before and after, nobody took it for stale.
            Ok(Ok(())) => {
                *shared.refreshed.lock().expect("no thread panics with it") = tried;
            }
            Ok(Err(Lost::Removed)) => return lose(&shared, "somebody removed it"),
            Ok(Err(Lost::Failed(_))) | Err(_) if since(refreshed) < timing.lost_after => {}
            Ok(Err(Lost::Failed(e))) => return lose(&shared, &format!("it could not be refreshed: {e}")),
            Err(_) => return lose(&shared, "the store did not answer in time"),
        }
    }
}

/// The job is cut off from the store before others may take the lock; whoever returns later has nothing to remove.
async fn give_up(backend: &dyn Backend, shared: &Shared) {
    lose(shared, "the job was given up");
    shared.released.cancel();
    let current = *shared.current.lock().expect("no thread panics with it");
    let _best_effort = backend.remove(&file_name(FileKind::Lock, &current)).await;
}

fn lose(shared: &Shared, why: &str) {
    let _first = shared.lost.set(why.to_owned());
    shared.valid.cancel();
    shared.token.cancel();
}

enum Lost {
    Removed,
    Failed(pillion_backend::Error),
}

impl From<pillion_backend::Error> for Lost {
    fn from(e: pillion_backend::Error) -> Self {
        if e.kind == ErrorKind::NotFound { Self::Removed } else { Self::Failed(e) }
    }
}

/// The old file must exist before and after the new one is written: else a prune may have begun between.
async fn refresh(
    repository: &Repository,
    backend: &dyn Backend,
    options: &Options,
    shared: &Shared,
) -> Result<(), Lost> {
    let old = *shared.current.lock().expect("no thread panics with it");
    let old_file = file_name(FileKind::Lock, &old);
    backend.stat(&old_file).await?;
    let (id, body) = sealed_lock(repository, options);
    backend.save(&file_name(FileKind::Lock, &id), body).await.map_err(Lost::Failed)?;
    if let Err(e) = backend.stat(&old_file).await {
        let _best_effort = backend.remove(&file_name(FileKind::Lock, &id)).await;
        return Err(e.into());
    }
    *shared.current.lock().expect("no thread panics with it") = id;
    // On an append-only store this fails for ever: the old file grows stale by itself.
    let _best_effort = backend.remove(&old_file).await;
    Ok(())
}
