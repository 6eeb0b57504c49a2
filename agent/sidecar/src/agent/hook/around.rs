//! The hooks around one run: when each of them runs, and that what was begun around the workload is ended.
//!
//! ```text
//! marker -> preBackup -> the source is read -> postBackup -> marker gone      the run goes on: upload, index, snapshot
//!                        at most quiesceTimeout
//! ```
//! **Invariant:** where there is a `preBackup` and an `Always` `postBackup`, the second one runs as soon as nothing is read any
//! more, when the run is cancelled, fails or panics, and at the latest `quiesceTimeout` after the first one ended, whatever
//! the run does (`a_quiesce_ends_in_time_whatever_the_run_does`). It does so on a task of its own, which waits for
//! nothing that the run waits for. A process that is killed finds the marker when it starts again ([`recover`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use pillion_repository::Error;
use pillion_repository::backup::Quiesce;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::marker::{self, Marker, Note};
use super::{Facts, Moment, Runner, Unfulfilled, Whose};
use crate::agent::config::Config;
use crate::agent::config::hooks::{ExecutionPolicy, Hook, Hooks};
use crate::agent::config::plan::Plan;
use crate::agent::record::{Outcome, RunEnd};
use crate::duration;

/// A workload that waits is worth more than one try; but it must not be waited for longer than one hook may take.
const PAUSES_BETWEEN_TRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// While it is not known how the run ends.
const RUNNING: &str = "Running";
/// Of a run whose process ended before it.
const INTERRUPTED: &str = "Interrupted";

/// The hooks of one run. Clones are of the same run.
#[derive(Clone, Debug)]
pub struct Around(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runner: Runner,
    hooks: Hooks,
    marker: PathBuf,
    whose: Whose,
    run: u64,
    runtime: Handle,
    /// Nothing is read any more.
    reading_over: CancellationToken,
    /// How the run ended, once it did.
    outcome: Mutex<Option<Outcome>>,
    /// What ends the quiesce, once one was begun.
    closing: Mutex<Option<JoinHandle<Closed>>>,
}

/// How a quiesce was ended.
#[derive(Debug)]
struct Closed {
    /// Whether reading was over by then.
    in_time: bool,
    problem: Option<String>,
}

/// Whether a failure of this run is the last one for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Follows,
    No,
}

impl Around {
    /// The hooks of a run that begins now, within a runtime.
    pub fn new(runner: Runner, config: &Config, plan: &Plan, run: u64) -> Self {
        Self(Arc::new(Inner {
            runner,
            hooks: plan.hooks.clone(),
            marker: marker::path(config, plan),
            whose: Whose::of(config, plan),
            run,
            runtime: Handle::current(),
            reading_over: CancellationToken::new(),
            outcome: Mutex::default(),
            closing: Mutex::default(),
        }))
    }

    /// The run is over: runs what is still to run, and adds what went wrong with it to the end. A snapshot that was taken
    /// stays taken.
    pub async fn conclude(&self, mut end: RunEnd, retry: Retry) -> RunEnd {
        let inner = &self.0;
        *lock(&inner.outcome) = Some(end.outcome);
        inner.reading_over.cancel();
        let closing = lock(&inner.closing).take();
        if let Some(closing) = closing {
            let closed = closing.await;
            let bug =
                |e| Closed { in_time: true, problem: Some(format!("a bug ended the postBackup hook: {e}")) };
            let closed = closed.unwrap_or_else(bug);
            if !closed.in_time {
                let limit = duration::format(inner.hooks.quiesce_timeout);
                add(
                    &mut end,
                    &format!("the workload went on after {limit} (quiesceTimeout), before all was read"),
                );
            }
            closed.problem.iter().for_each(|problem| add(&mut end, problem));
            return end;
        }
        if let Some((hook, policy)) = &inner.hooks.post_backup
            && applies(*policy, end.outcome, retry)
        {
            let facts = inner.facts(Moment::PostBackup, Some(end.outcome.to_string()));
            let done = inner.runner.carry_out(hook, &facts, &CancellationToken::new()).await;
            if let Err(Unfulfilled::Failed(problem)) = done {
                tracing::warn!(problem, "a hook failed");
                add(&mut end, &problem);
            }
        }
        end
    }
}

/// Only a snapshot with everything in it is success: whoever deletes something upon it must not delete what is in no
/// snapshot. A run that was told to end is no failure that somebody has to look at for good.
fn applies(policy: ExecutionPolicy, outcome: Outcome, retry: Retry) -> bool {
    let is_complete = match outcome {
        Outcome::Complete => true,
        Outcome::Incomplete
        | Outcome::Damaged
        | Outcome::Failed
        | Outcome::RepositoryReplaced
        | Outcome::Stopped
        | Outcome::Cancelled => false,
    };
    let was_told = matches!(outcome, Outcome::Stopped | Outcome::Cancelled);
    match policy {
        ExecutionPolicy::Always => true,
        ExecutionPolicy::OnSuccess => is_complete,
        ExecutionPolicy::OnFailure => !is_complete,
        ExecutionPolicy::OnFinalRetryFailure => !is_complete && !was_told && retry == Retry::No,
    }
}

fn add(end: &mut RunEnd, problem: &str) {
    if !end.message.is_empty() {
        end.message += "; ";
    }
    end.message += problem;
}

impl Quiesce for Around {
    fn before_reading(&self, cancel: &CancellationToken) -> pillion_repository::Result<()> {
        let inner = &self.0;
        let Some(hook) = &inner.hooks.pre_backup else { return Ok(()) };
        let closing = match inner.hooks.closing() {
            Some(closing) => Some((closing.clone(), inner.mark(hook)?)),
            None => None,
        };
        let facts = inner.facts(Moment::PreBackup, None);
        let done = inner.runtime.block_on(inner.runner.carry_out(hook, &facts, cancel));
        if let Err(unfulfilled) = &done {
            // It may have done half of what it does.
            *lock(&inner.outcome) = Some(match unfulfilled {
                Unfulfilled::Failed(_) => Outcome::Failed,
                Unfulfilled::Cancelled => Outcome::Stopped,
            });
            inner.reading_over.cancel();
        }
        if let Some((closing, marker)) = closing {
            let task = Arc::clone(inner).close_in_time(closing, marker, cancel.clone());
            *lock(&inner.closing) = Some(inner.runtime.spawn(task));
        }
        done.map_err(|unfulfilled| match unfulfilled {
            Unfulfilled::Failed(problem) => Error::Refused(format!("{problem}; nothing was read")),
            Unfulfilled::Cancelled => Error::Cancelled,
        })
    }

    fn after_reading(&self) {
        self.0.reading_over.cancel();
    }
}

impl Inner {
    fn facts(&self, moment: Moment, outcome: Option<String>) -> Facts {
        Facts { moment, whose: self.whose.clone(), run: Some(self.run), outcome }
    }

    fn mark(&self, hook: &Hook) -> Result<Marker, Error> {
        let note = Note { opened_at: Utc::now(), hook: hook.handler.to_string(), run: self.run };
        Marker::write(&self.marker, &note).map_err(|e| {
            Error::Refused(format!(
                "the preBackup hook was not run: {} cannot be written ({e}), and without it nobody would run the \
                 postBackup hook after a crash",
                self.marker.display()
            ))
        })
    }

    /// Waits for the end of the reading, no longer than it may take, and ends the quiesce.
    async fn close_in_time(self: Arc<Self>, hook: Hook, marker: Marker, cancel: CancellationToken) -> Closed {
        let in_time = tokio::select! {
            biased;
            () = self.reading_over.cancelled() => true,
            () = cancel.cancelled() => true,
            () = tokio::time::sleep(self.hooks.quiesce_timeout) => false,
        };
        if !in_time {
            let limit_seconds = self.hooks.quiesce_timeout.as_secs();
            tracing::warn!(run = self.run, limit_seconds, "the workload goes on before all was read");
        }
        let outcome = match *lock(&self.outcome) {
            Some(outcome) => outcome.to_string(),
            None if cancel.is_cancelled() => Outcome::Stopped.to_string(),
            None => RUNNING.to_owned(),
        };
        let facts = self.facts(Moment::PostBackup, Some(outcome));
        let problem = close(&self.runner, &hook, &facts).await;
        remove(marker).await;
        Closed { in_time, problem }
    }
}

/// Runs the hook that ends a quiesce, more than once if need be. What it says last, if it never succeeds.
async fn close(runner: &Runner, hook: &Hook, facts: &Facts) -> Option<String> {
    let begun = Instant::now();
    let mut pauses = PAUSES_BETWEEN_TRIES.iter();
    loop {
        // Whatever ends us, this is still to be done.
        let done = runner.carry_out(hook, facts, &CancellationToken::new()).await;
        let Err(Unfulfilled::Failed(problem)) = done else { return None };
        match pauses.next() {
            Some(pause) if begun.elapsed() + *pause < hook.timeout => {
                tracing::warn!(problem, "the workload may still be held: once more");
                tokio::time::sleep(*pause).await;
            }
            _ => {
                tracing::error!(problem, "the workload may still be held, and is given up");
                return Some(format!("{problem}; the workload may still be held"));
            }
        }
    }
}

async fn remove(marker: Marker) {
    let removed = tokio::task::spawn_blocking(|| marker.remove()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, "the marker of the quiesce stays: the next start runs the postBackup hook once more");
    }
}

/// Ends the quiesces that a process before this one left open. Where the agent is told to end meanwhile, they stay open for
/// the next one.
pub async fn recover(runner: &Runner, config: &Config, cancel: &CancellationToken) {
    for plan in &config.plans {
        recover_plan(runner, config, plan, cancel).await;
    }
}

async fn recover_plan(runner: &Runner, config: &Config, plan: &Plan, cancel: &CancellationToken) {
    let path = marker::path(config, plan);
    let found = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || Marker::find(&path)).await
    };
    let (marker, note) = match found {
        Ok(Ok(Some(found))) => found,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            // A cache directory that cannot be used is told by the next run.
            tracing::debug!(%error, path = %path.display(), "no marker can be read");
            return;
        }
        Err(error) => {
            tracing::error!(%error, "a bug ended the look for an open quiesce");
            return;
        }
    };
    let since = note.as_ref().map(|note| note.opened_at.format("%FT%TZ").to_string());
    let by = note.as_ref().map(|note| note.hook.as_str());
    tracing::warn!(since, by, "the agent ended while the workload was held");
    let facts = Facts {
        moment: Moment::PostBackup,
        whose: Whose::of(config, plan),
        run: None,
        outcome: Some(INTERRUPTED.to_owned()),
    };
    match &plan.hooks.post_backup {
        Some((hook, ExecutionPolicy::Always)) => tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            // What went wrong was told.
            _problem = close(runner, hook, &facts) => {}
        },
        _ => tracing::error!(
            "the workload may still be held: the settings have no postBackup hook that always runs"
        ),
    }
    remove(marker).await;
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
