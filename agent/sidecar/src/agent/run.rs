//! One attempt: what the engine is asked, and the task it is done in.
//!
//! A run is a task of its own so that a panic ends the run and not the process. It is always joined: the loop waits
//! for it before anything else begins, and before the process ends.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pillion_repository::event::Progress;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::config::plan::PlanName;
use super::config::secret::Credentials;
use super::hook::exec::ExecRequests;
use super::queue::Queued;
use super::record::{Outcome, RunEnd};
use super::state::Running;
use super::vitals::Vitals;
use crate::duration;

/// What a run is given. The credentials were read for this run alone.
#[derive(Clone, Debug)]
pub struct RunRequest {
    pub queued: Queued,
    pub config: Arc<Config>,
    pub credentials: Credentials,
    /// What is done so far, for whoever looks on.
    pub progress: Arc<Progress>,
}

/// What the agent does not do itself. Both calls end soon after `cancel`, with nothing half done that a later run
/// would trip over.
pub trait Engine: Send + Sync + 'static {
    /// When the newest snapshot of each plan (by its tag, else by host and sources) was begun. `None` if there is none, or
    /// no repository yet. What keeps it from being known is told as the end of a run would be.
    fn newest_snapshots(
        &self,
        config: Arc<Config>,
        credentials: Credentials,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Newest, RunEnd>> + Send;

    /// Ends what a process before this one began around the workload and did not end. Asked whenever settings are taken
    /// over, before anything else is.
    fn recover(&self, config: Arc<Config>, cancel: CancellationToken) -> impl Future<Output = ()> + Send {
        let _nothing_was_begun = (config, cancel);
        std::future::ready(())
    }

    /// What hooks ask others to run.
    fn exec_requests(&self) -> Arc<ExecRequests> {
        Arc::default()
    }

    /// What is known beside the ends of runs, at once.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    /// Does what is asked for. Every failure is an end, never a panic or a hang.
    fn run(&self, request: RunRequest, cancel: CancellationToken) -> impl Future<Output = RunEnd> + Send;
}

/// By the plan's name.
pub type Newest = Vec<(Option<PlanName>, Option<DateTime<Utc>>)>;

/// What is under way; never more than one.
#[derive(Debug)]
pub(super) struct Job {
    /// The settings it was begun with: there may be others when it ends.
    config: Arc<Config>,
    task: Task,
}

#[derive(Debug)]
enum Task {
    /// Asking for the newest snapshot, to see whether a run was missed.
    Look(JoinHandle<Result<Newest, RunEnd>>),
    Recover(JoinHandle<()>),
    Run {
        running: Running,
        cancel: CancellationToken,
        /// Whether somebody asked for its end.
        is_cancelled: bool,
        handle: JoinHandle<RunEnd>,
    },
}

/// A job that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// The settings it was begun with.
    pub(super) config: Arc<Config>,
    pub(super) end: End,
}

#[derive(Debug)]
pub(super) enum End {
    Look(Result<Newest, RunEnd>),
    Recovered,
    Run { queued: Queued, started_at: DateTime<Utc>, is_cancelled: bool, end: RunEnd },
}

/// How long a store that does not answer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as by a run.
    Long,
    /// It did not answer the last time, and who asks asks again.
    Short,
}

/// Enough for a store that is slow.
const PROBE: Duration = Duration::from_secs(60);

/// The look's end, or that there was none in time.
async fn soon(
    look: impl Future<Output = Result<Newest, RunEnd>>,
    cancel: &CancellationToken,
) -> Result<Newest, RunEnd> {
    tokio::pin!(look);
    tokio::select! {
        found = &mut look => return found,
        () = tokio::time::sleep(PROBE) => cancel.cancel(),
    }
    match look.await {
        Err(end) if end.outcome == Outcome::Stopped => {
            let message = format!("the store did not answer within {}", duration::format(PROBE));
            Err(RunEnd { store_is_away: true, ..RunEnd::failed(message, None) })
        }
        found => found,
    }
}

impl Job {
    pub(super) fn look<E: Engine>(
        engine: Arc<E>,
        config: Arc<Config>,
        credentials: Credentials,
        patience: Patience,
        cancel: CancellationToken,
    ) -> Self {
        let its = Arc::clone(&config);
        let task = tokio::spawn(async move {
            let look = engine.newest_snapshots(its, credentials, cancel.clone());
            match patience {
                Patience::Long => look.await,
                Patience::Short => soon(look, &cancel).await,
            }
        });
        Self { config, task: Task::Look(task) }
    }

    pub(super) fn recover<E: Engine>(engine: Arc<E>, config: Arc<Config>, cancel: CancellationToken) -> Self {
        let its = Arc::clone(&config);
        let task = tokio::spawn(async move { engine.recover(its, cancel).await });
        Self { config, task: Task::Recover(task) }
    }

    pub(super) fn run<E: Engine>(
        engine: Arc<E>,
        request: RunRequest,
        started_at: DateTime<Utc>,
        cancel: CancellationToken,
    ) -> Self {
        let (queued, config) = (request.queued.clone(), Arc::clone(&request.config));
        let running = Running { queued, started_at, progress: Arc::clone(&request.progress) };
        let its = cancel.clone();
        let handle = tokio::spawn(async move { engine.run(request, its).await });
        Self { config, task: Task::Run { running, cancel, is_cancelled: false, handle } }
    }

    pub(super) fn running(&self) -> Option<Running> {
        match &self.task {
            Task::Look(_) | Task::Recover(_) => None,
            Task::Run { running, .. } => Some(running.clone()),
        }
    }

    /// Asks the run of that number to end, if it is this one.
    pub(super) fn cancel(&mut self, number: u64) -> bool {
        match &mut self.task {
            Task::Run { running, cancel, is_cancelled, .. } if running.queued.number == number => {
                *is_cancelled = true;
                cancel.cancel();
                true
            }
            _ => false,
        }
    }

    /// Waits for the end. Dropping the future loses nothing: it can be asked again.
    pub(super) async fn ended(&mut self) -> Ended {
        let end = match &mut self.task {
            Task::Look(task) => {
                let bug = |e| Err(RunEnd::failed(format!("a bug: {e}"), None));
                End::Look(task.await.unwrap_or_else(bug))
            }
            Task::Recover(task) => {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a bug");
                }
                End::Recovered
            }
            Task::Run { running: Running { queued, started_at, .. }, is_cancelled, handle, .. } => {
                let bug = |e| RunEnd::failed(format!("a bug ended the run: {e}"), None);
                let end = handle.await.unwrap_or_else(bug);
                End::Run { queued: queued.clone(), started_at: *started_at, is_cancelled: *is_cancelled, end }
            }
        };
        Ended { config: Arc::clone(&self.config), end }
    }
}
