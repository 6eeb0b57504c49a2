//! The resident door: `trigger -> queue -> run -> record`, for as long as the process lives.
//!
//! One run at a time. Nothing here ends the process but the stop token: bad settings, a missing password, a store
//! that is away and a run that panicked are states, logged when they begin and tried again. Who comes in from outside
//! has a [`Handle`]: commands in, the published [`State`] out. The clock is passed in, waiting is tokio's, so a test runs
//! years of schedule without sleeping.

pub mod command;
pub mod config;
pub mod engine;
mod farewell;
pub mod history;
pub mod hook;
pub mod http;
mod orphans;
pub mod preflight;
pub mod queue;
pub mod record;
pub mod run;
pub mod sample;
pub mod schedule;
pub mod state;
#[cfg(test)]
mod tests;
pub mod totals;
pub mod trigger;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::telemetry;
use command::{Accepted, Command, Handle, Refused, Reply};
use config::secret::{self, Credentials};
use config::{Config, DEFAULT_TERMINATION_LOG, Jitter, Loaded, Source};
use farewell::LastDeed;
use history::{History, Pause};
use queue::{Queue, Queued};
use record::{Kind, Outcome, RunEnd, RunRecord};
use run::{End, Ended, Engine, Job, RunRequest};
use state::{Settings, State};
use totals::Totals;
use trigger::Trigger;

/// The longest pause between two looks at the clock and the settings: a suspended machine and a changed file are
/// noticed within it.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The time of day.
pub trait Clock: Send {
    fn now(&self) -> DateTime<Utc>;
}

#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A moment to come: the time the schedule names, and with jitter the time to act on it.
#[derive(Clone, Copy, Debug)]
struct Due {
    named: DateTime<Utc>,
    start: DateTime<Utc>,
    /// When this was worked out. A clock that shows an earlier time was set back.
    computed_at: DateTime<Utc>,
}

/// When to ask again what could not be answered.
#[derive(Clone, Copy, Debug)]
struct Again {
    at: DateTime<Utc>,
    failures: u32,
}

/// What is said of credentials: never one of them.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    place: String,
    sort: &'static str,
    warning: Option<String>,
}

#[derive(Debug)]
pub struct Agent<E, C> {
    engine: Arc<E>,
    clock: C,
    source: Source,
    environment: Environment,
    /// The last good settings; `None` before the first.
    config: Option<Arc<Config>>,
    due: Option<Due>,
    queue: Queue,
    job: Option<Job>,
    /// Whether an earlier process may have left something open around the workload.
    may_be_open: bool,
    /// `Some` while it is not known whether a run was missed.
    look: Option<Again>,
    retry: Option<Again>,
    /// What was told last of the credentials, so that it is told once.
    told: Option<Told>,
    started_at: DateTime<Utc>,
    settings: Settings,
    history: History,
    totals: Arc<Totals>,
    newest_snapshot_at: Option<DateTime<Utc>>,
    repository_problem: Option<String>,
    handle: Handle,
    commands: mpsc::Receiver<Command>,
    state: watch::Sender<Arc<State>>,
    /// Tells that somebody wants the settings looked at.
    hangup: Arc<Notify>,
}

impl<E: Engine, C: Clock> Agent<E, C> {
    pub fn new(engine: Arc<E>, clock: C, source: Source, environment: Environment) -> Self {
        for name in config::raw::Raw::unknown_variables(&environment) {
            tracing::warn!(name, "this variable means nothing to me");
        }
        let started_at = clock.now();
        let state = watch::Sender::new(Arc::new(State::new(started_at)));
        let (handle, commands) = Handle::new(state.subscribe());
        Self {
            engine,
            clock,
            source,
            environment,
            config: None,
            due: None,
            queue: Queue::default(),
            job: None,
            may_be_open: false,
            look: None,
            retry: None,
            told: None,
            started_at,
            settings: Settings::default(),
            history: History::default(),
            totals: Arc::default(),
            newest_snapshot_at: None,
            repository_problem: None,
            handle,
            commands,
            state,
            hangup: Arc::default(),
        }
    }

    /// An agent that looks at its settings at once when it is told so.
    #[must_use]
    pub fn woken_by(self, hangup: Arc<Notify>) -> Self {
        Self { hangup, ..self }
    }

    /// The way in from outside.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `stop`; then the run under way is cancelled and waited for.
    pub async fn serve(mut self, stop: CancellationToken) {
        let orphans = orphans::adopt();
        tokio::pin!(orphans);
        while !stop.is_cancelled() {
            self.reload();
            self.queue_what_is_due();
            self.begin_next(&stop);
            self.publish();
            let wait = self.wait();
            tokio::select! {
                () = stop.cancelled() => {}
                ended = ended(&mut self.job) => self.job_ended(ended),
                Some(command) = self.commands.recv() => self.obey(command),
                () = tokio::time::sleep(wait) => {}
                () = self.hangup.notified() => tracing::info!("told to look at the settings"),
                () = &mut orphans => {}
            }
        }
        self.commands.close();
        let running = self.job.as_ref().and_then(Job::running);
        if self.job.is_some() {
            tracing::info!("stopping: waiting for the run under way");
            self.take_leave(running.as_ref().map_or(LastDeed::Look, LastDeed::Stopping));
            let ended = ended(&mut self.job).await;
            self.job_ended(ended);
        }
        let record = self.history.runs().next_back().cloned();
        match record.filter(|record| running.is_some_and(|run| run.queued.number == record.number)) {
            Some(record) => self.take_leave(LastDeed::Ended(&record)),
            None => self.take_leave(LastDeed::Idle),
        }
        self.publish();
        tracing::info!("stopped");
    }

    fn take_leave(&self, deed: LastDeed<'_>) {
        let file =
            self.config.as_ref().map_or(DEFAULT_TERMINATION_LOG.as_ref(), |config| &*config.termination_log);
        farewell::write(file, &farewell::words(deed, self.newest_snapshot_at, self.clock.now()));
    }

    /// Takes over changed settings. Bad ones are told, and the last good ones go on.
    fn reload(&mut self) {
        match self.source.load() {
            Loaded::Unchanged => {}
            Loaded::Good(config) => {
                telemetry::change(config.log.level, config.log.format);
                tracing::info!(
                    schedule = config.schedule.expression(),
                    zone = %config.schedule.zone(),
                    host = config.host,
                    sources = ?config.sources,
                    repository = %config.repository,
                    "settings taken over"
                );
                self.settings.problems.clear();
                self.settings.accepted += 1;
                self.history.open(&config.cache_directory);
                self.queue.number_after(self.history.last_number());
                self.config = Some(Arc::from(config));
                self.may_be_open = true;
                self.due = None;
                self.retry = None;
                self.told = None;
                self.look = Some(Again { at: self.clock.now(), failures: 0 });
            }
            Loaded::Bad(problems) => {
                let goes_on = self.config.is_some();
                for problem in &problems {
                    tracing::error!(problem, last_good_settings_go_on = goes_on, "the settings are refused");
                }
                self.settings.problems = problems;
                self.settings.refused += 1;
            }
        }
    }

    fn queue_what_is_due(&mut self) {
        let Some(config) = self.config.clone() else { return };
        let now = self.clock.now();
        if self.due.is_none_or(|due| now < due.computed_at) {
            self.due = next_due(&config, now);
        }
        self.end_pause(now);
        let is_paused = self.history.pause().is_some();
        if let Some(due) = self.due
            && due.start <= now
        {
            self.due = next_due(&config, now);
            if !is_paused {
                self.queue.push(Trigger::Schedule { due: due.named }, now);
            }
        }
        if let Some(retry) = self.retry
            && retry.at <= now
            && !is_paused
        {
            self.queue.push(Trigger::Retry { failures: retry.failures }, now);
            self.retry = None;
        }
    }

    /// Begins what waits, if nothing is under way. A look goes first: it may add the reason for a run.
    fn begin_next(&mut self, stop: &CancellationToken) {
        let Some(config) = self.config.clone() else { return };
        if self.job.is_some() {
            return;
        }
        if std::mem::take(&mut self.may_be_open) {
            self.job = Some(Job::recover(Arc::clone(&self.engine), config, stop.child_token()));
            return;
        }
        let now = self.clock.now();
        // What a look finds missed would begin by itself.
        let looks = self.history.pause().is_none() && self.look.is_some_and(|look| look.at <= now);
        let queued = if looks { None } else { self.queue.take() };
        if !looks && queued.is_none() {
            return;
        }
        let credentials = self.credentials(&config);
        let engine = Arc::clone(&self.engine);
        let cancel = stop.child_token();
        match (queued, credentials) {
            (None, Ok(credentials)) => self.job = Some(Job::look(engine, config, credentials, cancel)),
            (None, Err(problem)) => {
                let end = End::Look(Err(RunEnd::failed(problem, None)));
                self.job_ended(Ended { config, end });
            }
            (Some(queued), Ok(credentials)) => {
                // Any run will show what a retry would have shown.
                self.retry = self.retry.map(|retry| Again { at: DateTime::<Utc>::MAX_UTC, ..retry });
                tracing::info!(run = queued.number, reason = %queued.trigger, "run begins");
                self.job = Some(Job::run(engine, request(queued, config, credentials), now, cancel));
            }
            (Some(queued), Err(problem)) => {
                let end = End::Run {
                    queued,
                    started_at: now,
                    is_cancelled: false,
                    end: RunEnd::failed(problem, None),
                };
                self.job_ended(Ended { config, end });
            }
        }
    }

    /// Read for one job alone, so that a rotated Secret is used at once.
    fn credentials(&mut self, config: &Config) -> Result<Credentials, String> {
        let loaded = secret::load(&config.credentials_directory, &self.environment, &config.repository);
        let credentials = loaded.map_err(|unusable| unusable.to_string())?;
        let told = Told {
            place: credentials.place.clone(),
            sort: credentials.access.sort(),
            warning: credentials.warning.clone(),
        };
        if self.told.as_ref() != Some(&told) {
            tracing::info!(place = told.place, store = told.sort, "credentials read");
            if let Some(warning) = &told.warning {
                tracing::warn!("{warning}");
            }
            self.told = Some(told);
        }
        Ok(credentials)
    }

    fn job_ended(&mut self, ended: Ended) {
        self.job = None;
        // What was done under settings that were replaced meanwhile says nothing of those that count now: the look that
        // they brought with them is still to be made.
        let counts = self.config.as_ref().is_some_and(|config| Arc::ptr_eq(config, &ended.config));
        match ended.end {
            End::Recovered => {}
            End::Look(found) if counts => self.looked(found),
            End::Look(_) => tracing::debug!("the settings changed while the repository was looked into"),
            End::Run { queued, started_at, is_cancelled, mut end } => {
                if is_cancelled && end.outcome == Outcome::Stopped {
                    end.outcome = Outcome::Cancelled;
                }
                if counts {
                    self.plan_retry(&queued.trigger, end.outcome, self.clock.now());
                }
                if end.outcome.has_snapshot() {
                    self.newest_snapshot_at = Some(started_at);
                    self.repository_problem = None;
                }
                self.record(queued, started_at, end);
            }
        }
    }

    fn record(&mut self, queued: Queued, started_at: DateTime<Utc>, end: RunEnd) {
        let record = RunRecord {
            number: queued.number,
            kind: Kind::Backup,
            trigger: queued.trigger,
            requested_at: queued.requested_at,
            started_at,
            ended_at: self.clock.now(),
            end,
        };
        record.log();
        Arc::make_mut(&mut self.totals).add(&record);
        self.history.add(Arc::new(record));
    }

    /// Answers at once, when what was done can be seen. Whoever asked may be gone; it is done all the same.
    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Run(reply) => {
                let accepted = match self.config {
                    Some(_) => Ok(Accepted { number: self.queue.push(Trigger::Request, now) }),
                    None => Err(Refused::NoSettings),
                };
                self.answer(reply, accepted);
            }
            Command::Cancel(number, reply) => {
                let cancelled = self.cancel(number, now);
                self.answer(reply, cancelled);
            }
            Command::Pause(until, reply) => {
                let pause = Pause { since: now, until };
                tracing::info!(until = until.map(|at| at.to_rfc3339()), "paused: no run begins by itself");
                self.history.set_pause(Some(pause));
                self.answer(reply, Ok(pause));
            }
            Command::Resume(reply) => {
                self.resume(now);
                self.answer(reply, Ok(()));
            }
        }
    }

    fn answer<T>(&self, reply: Reply<T>, answer: Result<T, Refused>) {
        self.publish();
        let _ = reply.send(answer);
    }

    fn cancel(&mut self, number: u64, now: DateTime<Utc>) -> Result<(), Refused> {
        if let Some(queued) = self.queue.take_if(number) {
            self.record(queued, now, RunEnd::empty(Outcome::Cancelled));
            return Ok(());
        }
        match self.job.as_mut().is_some_and(|job| job.cancel(number)) {
            true => Ok(()),
            false => Err(Refused::NoSuchRun),
        }
    }

    fn end_pause(&mut self, now: DateTime<Utc>) {
        if self.history.pause().and_then(|pause| pause.until).is_some_and(|until| until <= now) {
            self.resume(now);
        }
    }

    /// What was due meanwhile is made up for, once.
    fn resume(&mut self, now: DateTime<Utc>) {
        if self.history.pause().is_some() {
            tracing::info!("resumed");
            self.history.set_pause(None);
            self.look = Some(Again { at: now, failures: 0 });
        }
    }

    fn publish(&self) {
        let job = self.job.as_ref();
        let is_paused = self.history.pause().is_some();
        let moments = [self.due.map(|due| due.start), self.retry.map(|retry| retry.at)];
        let next_run_at = moments.into_iter().flatten().min().filter(|at| *at < DateTime::<Utc>::MAX_UTC);
        self.state.send_replace(Arc::new(State {
            started_at: self.started_at,
            published_at: Instant::now(),
            config: self.config.clone(),
            settings: self.settings.clone(),
            pause: self.history.pause(),
            next_run_at: next_run_at.filter(|_| !is_paused),
            failures: self.retry.map_or(0, |retry| retry.failures),
            queued: self.queue.waiting().cloned(),
            running: job.and_then(Job::running),
            runs: self.history.runs().cloned().collect(),
            totals: Arc::clone(&self.totals),
            newest_snapshot_at: self.newest_snapshot_at,
            repository_problem: self.repository_problem.clone(),
        }));
    }

    /// The newest own snapshot is known, or could not be asked for.
    fn looked(&mut self, found: Result<Option<DateTime<Utc>>, RunEnd>) {
        let (Some(config), Some(look)) = (&self.config, self.look) else { return };
        let now = self.clock.now();
        match found {
            Ok(newest) => {
                self.look = None;
                self.newest_snapshot_at = newest;
                self.repository_problem = None;
                let missed =
                    newest.is_some_and(|at| config.schedule.next_after(at).is_some_and(|due| due <= now));
                match newest {
                    None => _ = self.queue.push(Trigger::First, now),
                    Some(newest) if missed => _ = self.queue.push(Trigger::CatchUp { newest }, now),
                    Some(_) => {}
                }
            }
            // Only a person ends that: the schedule's next run shows whether one did.
            Err(end) if end.outcome == Outcome::RepositoryReplaced => {
                tracing::error!(
                    outcome = %end.outcome,
                    problem = end.message,
                    hint = end.hint.as_deref(),
                    "nothing is backed up"
                );
                self.look = None;
                self.repository_problem = Some(end.message);
            }
            Err(end) => {
                let failures = look.failures.saturating_add(1);
                let wait = config.backoff.wait(failures);
                tracing::error!(
                    problem = end.message,
                    hint = end.hint.as_deref(),
                    retry_in_seconds = wait.as_secs(),
                    "cannot see what is in the repository"
                );
                self.look = Some(Again { at: now + wait, failures });
                self.repository_problem = Some(end.message);
            }
        }
    }

    fn plan_retry(&mut self, trigger: &Trigger, outcome: Outcome, now: DateTime<Utc>) {
        let before = match (self.retry, trigger) {
            // Where tries are counted, they are those since the schedule asked.
            (Some(retry), _) if self.config.as_ref().is_some_and(|config| config.retries.is_none()) => {
                retry.failures
            }
            (_, trigger) => trigger.failures_before(),
        };
        self.retry = match (&self.config, outcome) {
            (Some(config), Outcome::Failed) => {
                let failures = before.saturating_add(1);
                let again = Again { at: now + config.backoff.wait(failures), failures };
                config.retry_follows(failures).then_some(again)
            }
            _ => None,
        };
        // A snapshot answers the question whether one was missed.
        if matches!(outcome, Outcome::Complete | Outcome::Incomplete) {
            self.look = None;
        }
    }

    /// How long nothing can happen by itself.
    fn wait(&self) -> Duration {
        let now = self.clock.now();
        let is_paused = self.history.pause().is_some();
        let moments = [
            self.due.map(|due| due.start),
            self.retry.filter(|_| !is_paused).map(|retry| retry.at),
            self.look.filter(|_| !is_paused && self.job.is_none()).map(|look| look.at),
            (self.job.is_none() && self.queue.waiting().is_some()).then_some(now),
            self.history.pause().and_then(|pause| pause.until),
        ];
        let next = moments.into_iter().flatten().min();
        next.map_or(MAX_PAUSE, |next| (next - now).to_std().unwrap_or(Duration::ZERO)).min(MAX_PAUSE)
    }
}

fn request(queued: Queued, config: Arc<Config>, credentials: Credentials) -> RunRequest {
    RunRequest { queued, config, credentials, progress: Arc::default() }
}

fn next_due(config: &Config, now: DateTime<Utc>) -> Option<Due> {
    let named = config.schedule.next_after(now)?;
    let jitter = match config.jitter {
        Jitter::Off => chrono::TimeDelta::zero(),
        Jitter::Auto => config.schedule.jitter(named, config.identity.as_deref().unwrap_or(&config.host)),
    };
    Some(Due { named, start: named + jitter, computed_at: now })
}

/// The end of the job under way; never, if there is none.
async fn ended(job: &mut Option<Job>) -> Ended {
    match job {
        Some(job) => job.ended().await,
        None => std::future::pending().await,
    }
}
