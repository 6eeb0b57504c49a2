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
pub mod timetable;
pub mod totals;
pub mod trigger;
pub mod view;
pub mod vitals;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::telemetry;
use command::{Command, Handle, Refused, Reply};
use config::plan::PlanName;
use config::secret::{self, Credentials};
use config::{Config, DEFAULT_TERMINATION_LOG, Loaded, Mode, Source};
use farewell::LastDeed;
use history::{History, Pause};
use queue::{Queue, Queued};
use record::{Kind, Outcome, RunEnd, RunRecord};
use run::{End, Ended, Engine, Job, Newest, Patience, RunRequest};
use state::{Settings, State};
use timetable::{Gate, Timetable, newest_snapshot_at};
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

/// When to look again into a repository that could not be looked into.
#[derive(Clone, Copy, Debug)]
struct Look {
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
    timetable: Timetable,
    queue: Queue,
    job: Option<Job>,
    /// Whether an earlier process may have left something open around the workload.
    may_be_open: bool,
    /// `Some` while it is not known whether a run was missed.
    look: Option<Look>,
    /// The store does not answer: until it does, a look asks it now and then, and nothing else begins by itself.
    away_since: Option<DateTime<Utc>>,
    /// What was told last of the credentials, so that it is told once.
    told: Option<Told>,
    started_at: DateTime<Utc>,
    settings: Settings,
    history: History,
    totals: Arc<Totals>,
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
            timetable: Timetable::default(),
            queue: Queue::default(),
            job: None,
            may_be_open: false,
            look: None,
            away_since: None,
            told: None,
            started_at,
            settings: Settings::default(),
            history: History::default(),
            totals: Arc::default(),
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
        let newest = newest_snapshot_at(&self.timetable.planned(self.gate()));
        farewell::write(file, &farewell::words(deed, newest, self.clock.now()));
    }

    /// Takes over changed settings. Bad ones are told, and the last good ones go on.
    fn reload(&mut self) {
        match self.source.load() {
            Loaded::Unchanged => {}
            Loaded::Good(config) => {
                telemetry::change(config.log.level, config.log.format);
                tracing::info!(host = config.host, repository = %config.repository, "settings taken over");
                for plan in &config.plans {
                    let schedule = &plan.schedule;
                    tracing::info!(
                        plan = plan.name.as_ref().map(PlanName::as_str),
                        schedule = schedule.expression(),
                        zone = %schedule.zone(),
                        sources = ?plan.sources,
                        "backups are planned"
                    );
                }
                self.settings.problems.clear();
                self.settings.accepted += 1;
                self.history.open(&config.cache_directory);
                self.queue.number_after(self.history.last_number());
                self.timetable = Timetable::of(&config, self.history.runs().map(|run| &**run));
                self.config = Some(Arc::from(config));
                self.may_be_open = true;
                self.told = None;
                self.away_since = None;
                self.look = Some(Look { at: self.clock.now(), failures: 0 });
                self.drop_what_is_planned_no_more();
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

    /// Runs of plans that the settings no longer have do not begin.
    fn drop_what_is_planned_no_more(&mut self) {
        while let Some(queued) = self.queue.take_if(|queued| !self.timetable.has(&queued.work)) {
            let end = RunEnd {
                message: "the settings no longer have it".to_owned(),
                ..RunEnd::empty(Outcome::Cancelled)
            };
            let now = self.clock.now();
            self.record(queued, now, end);
        }
    }

    fn queue_what_is_due(&mut self) {
        let now = self.clock.now();
        self.end_pause(now);
        for (work, trigger) in self.timetable.come_due(now, self.gate()) {
            self.queue.push(work, trigger, now);
        }
    }

    /// Whether somebody wants no run to begin by itself.
    fn is_paused(&self) -> bool {
        self.history.pause().is_some() || self.mode() != Mode::Active
    }

    fn mode(&self) -> Mode {
        self.config.as_ref().map_or_else(Mode::default, |config| config.mode)
    }

    fn gate(&self) -> Gate {
        match self.is_paused() || self.away_since.is_some() {
            true => Gate::Closed,
            false => Gate::Open,
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
        let looks = !self.is_paused() && self.look.is_some_and(|look| look.at <= now);
        let is_away = self.away_since.is_some();
        let queued = if looks { None } else { self.queue.take_if(|queued| may_begin(queued, is_away)) };
        if !looks && queued.is_none() {
            return;
        }
        let credentials = self.credentials(&config);
        let engine = Arc::clone(&self.engine);
        let cancel = stop.child_token();
        match (queued, credentials) {
            (None, Ok(credentials)) => {
                let patience = if self.away_since.is_some() { Patience::Short } else { Patience::Long };
                self.job = Some(Job::look(engine, config, credentials, patience, cancel));
            }
            (None, Err(problem)) => {
                let end = End::Look(Err(RunEnd::failed(problem, None)));
                self.job_ended(Ended { config, end });
            }
            (Some(queued), Ok(credentials)) => {
                self.timetable.begun(&queued.work);
                tracing::info!(run = queued.number, work = %queued.work, reason = %queued.trigger, "run begins");
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
                let record = self.record(queued, started_at, end);
                if counts {
                    self.learn_from(&record);
                }
            }
        }
    }

    /// What a run that is over means for those to come.
    fn learn_from(&mut self, run: &RunRecord) {
        let Some(config) = self.config.clone() else { return };
        self.timetable.ended(run, config.backoff);
        if run.end.outcome.is_conclusive() {
            self.repository_problem = None;
            // Its snapshot answers whether one was missed, but for one plan alone.
            let is_answered = run.work.kind == Kind::Backup && config.plans.len() == 1;
            let look = Look { at: run.ended_at, failures: 0 };
            self.look = self.look.map(|_| look).filter(|_| !is_answered);
            self.is_back();
        }
        if run.end.store_is_away {
            self.look = Some(Look { at: run.ended_at + config.backoff.wait(1), failures: 1 });
            self.is_away(run.ended_at);
        }
    }

    fn is_away(&mut self, now: DateTime<Utc>) {
        if self.away_since.is_none() {
            tracing::warn!(
                "the store is away: it is asked now and then, and nothing begins by itself until it answers"
            );
            self.away_since = Some(now);
        }
    }

    fn is_back(&mut self) {
        if let Some(since) = self.away_since.take() {
            tracing::info!(since = %since.format("%FT%TZ"), "the store is back");
        }
    }

    fn record(&mut self, queued: Queued, started_at: DateTime<Utc>, end: RunEnd) -> Arc<RunRecord> {
        let record = Arc::new(RunRecord {
            number: queued.number,
            work: queued.work,
            trigger: queued.trigger,
            requested_at: queued.requested_at,
            started_at,
            ended_at: self.clock.now(),
            end,
        });
        record.log();
        Arc::make_mut(&mut self.totals).add(&record);
        self.history.add(Arc::clone(&record));
        record
    }

    /// Answers at once, when what was done can be seen. Whoever asked may be gone; it is done all the same.
    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Run(work, reply) => {
                let accepted = match (&self.config, self.timetable.has(&work)) {
                    (None, _) => Err(Refused::NoSettings),
                    (Some(config), _) if !config.mode.takes_requests() => Err(Refused::NotHere(config.mode)),
                    (Some(_), false) => Err(Refused::NoSuchWork),
                    (Some(_), true) => Ok(self.queue.push(work, Trigger::Request, now)),
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
        if let Some(queued) = self.queue.take_if(|queued| queued.number == number) {
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
            self.look = Some(Look { at: now, failures: 0 });
        }
    }

    fn publish(&self) {
        self.state.send_replace(Arc::new(State {
            started_at: self.started_at,
            published_at: Instant::now(),
            at: self.clock.now(),
            config: self.config.clone(),
            settings: self.settings.clone(),
            pause: self.history.pause(),
            away_since: self.away_since,
            planned: self.timetable.planned(self.gate()),
            queued: self.queue.waiting().cloned().collect(),
            running: self.job.as_ref().and_then(Job::running),
            runs: self.history.runs().cloned().collect(),
            totals: Arc::clone(&self.totals),
            repository_problem: self.repository_problem.clone(),
            vitals: self.engine.vitals(),
        }));
    }

    /// The newest own snapshots are known, or could not be asked for.
    fn looked(&mut self, found: Result<Newest, RunEnd>) {
        let (Some(config), Some(look)) = (self.config.clone(), self.look) else { return };
        let now = self.clock.now();
        match found {
            Ok(newest) => {
                self.look = None;
                self.repository_problem = None;
                self.is_back();
                for (work, trigger) in self.timetable.seen(&newest, now) {
                    self.queue.push(work, trigger, now);
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
                self.is_back();
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
                self.look = Some(Look { at: now + wait, failures });
                self.repository_problem = Some(end.message);
                match end.store_is_away {
                    true => self.is_away(now),
                    false => self.is_back(),
                }
            }
        }
    }

    /// How long nothing can happen by itself.
    fn wait(&self) -> Duration {
        let (now, is_away) = (self.clock.now(), self.away_since.is_some());
        let moments = [
            self.timetable.next(self.gate()),
            self.look.filter(|_| !self.is_paused() && self.job.is_none()).map(|look| look.at),
            (self.job.is_none() && self.queue.waiting().any(|queued| may_begin(queued, is_away)))
                .then_some(now),
            self.history.pause().and_then(|pause| pause.until),
        ];
        let next = moments.into_iter().flatten().min();
        next.map_or(MAX_PAUSE, |next| (next - now).to_std().unwrap_or(Duration::ZERO)).min(MAX_PAUSE)
    }
}

/// Whether a run that waits is of any use now: while the store is away, one that somebody may wait for.
fn may_begin(queued: &Queued, is_away: bool) -> bool {
    !is_away || queued.trigger == Trigger::Request || queued.joined > 0
}

fn request(queued: Queued, config: Arc<Config>, credentials: Credentials) -> RunRequest {
    RunRequest { queued, config, credentials, progress: Arc::default() }
}

/// The end of the job under way; never, if there is none.
async fn ended(job: &mut Option<Job>) -> Ended {
    match job {
        Some(job) => job.ended().await,
        None => std::future::pending().await,
    }
}
