//! The resident engine: a run of the agent as a job on the repository.
//!
//! Relies on `pillion_repository` for all that is read and written; here is which repository may be used ([`pin`]), what
//! stays from job to job ([`kept`]), what the job is told (what it leaves out: [`exclusion`]), and what is remembered of
//! how it went ([`faults`]). The work is done on a thread that may block. A panic there ends the run and nothing else.

pub mod check;
pub mod exclusion;
mod faults;
mod kept;
mod pin;
mod predecessor;
pub mod reading;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod tests;
mod watch;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pillion_backend::retry::Hook;
use pillion_repository::backup::{self, Mounts, Parent, Quiesce, Report, Source, SourcePaths};
use pillion_repository::event::Progress;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::lock::{self, Holder};
use pillion_repository::repository::{self, Creator, Repository, Settings};
use pillion_repository::restore::marker;
use pillion_repository::source::{self, AccessTime};
use pillion_repository::store::Store;
use pillion_repository::{Error, Result};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::config::plan::Plan;
use super::config::secret::Credentials;
use super::config::{Bound, Config, PLAN_TAG};
use super::hook::Runner;
use super::hook::around::{self, Around, Retry};
use super::hook::exec::ExecRequests;
use super::record::{Changes, Kind, Outcome, RunEnd};
use super::run::{Engine, Newest, RunRequest};
use super::trigger::Trigger;
use super::vitals::Vitals;
use super::worker::{self, Job};
use crate::VERSION;
use crate::environment::Environment;
use crate::open::{open_backend, open_repository, retry_sentence, without_line_end};
use crate::process::Process;
use faults::Faults;
use kept::{Kept, Way};
use pin::{Pin, Refusal};
use reading::Readings;
use watch::{Limits, Stuck, Watch};

/// Longer than making a repository takes anybody.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Resident {
    environment: Environment,
    kept: Arc<Kept>,
    stuck: Stuck,
    source_paths: SourcePaths,
    hooks: Runner,
}

impl Resident {
    pub fn new(environment: Environment) -> Self {
        let kept = Arc::new(Kept::new(environment.clone()));
        let hooks = Runner { exec: Arc::default() };
        Self { environment, kept, stuck: Stuck::default(), source_paths: SourcePaths::WithoutLinks, hooks }
    }

    /// What reads beside the jobs.
    pub fn readings(&self) -> Arc<Readings> {
        Arc::new(Readings::new(Arc::clone(&self.kept), self.environment.clone()))
    }

    /// Does a job of these settings, which is watched: it ends, whatever the sources of these plans do.
    async fn watched<T: Send + 'static>(
        &self,
        config: &Arc<Config>,
        (plans, whole): (&[Plan], Bound),
        progress: Arc<Progress>,
        cancel: CancellationToken,
        work: impl FnOnce(&Kept, &Config, &Watch, CancellationToken, Handle) -> Result<T, RunEnd> + Send + 'static,
    ) -> Result<T, RunEnd> {
        let sources: Vec<PathBuf> = plans.iter().flat_map(|plan| plan.sources.iter().cloned()).collect();
        if let Some(refusal) = self.stuck.refusal(&sources) {
            return Err(refusal);
        }
        let watch = Watch::new(config, self.kept.counts(), progress);
        // The watch ends this job alone.
        let cancel = cancel.child_token();
        let (kept, its, token) = (Arc::clone(&self.kept), Arc::clone(config), cancel.clone());
        let (seen, runtime) = (Arc::clone(&watch), Handle::current());
        let work = move || work(&kept, &its, &seen, token, runtime);
        let limits = Limits::of(config, whole);
        watch::over(work, (&watch, limits), cancel, &sources, &self.stuck).await
    }
}

impl Engine for Resident {
    async fn newest_snapshots(
        &self,
        config: Arc<Config>,
        credentials: Credentials,
        cancel: CancellationToken,
    ) -> Result<Newest, RunEnd> {
        let look = move |kept: &Kept, config: &Config, watch: &Watch, cancel, runtime| {
            let access = Access { config, credentials: &credentials, cancel, runtime, kept, watch };
            Ok(access.newest_snapshots()?)
        };
        self.watched(&config, (&config.plans, Bound(None)), Arc::default(), cancel, look).await
    }

    async fn run(&self, request: RunRequest, cancel: CancellationToken) -> RunEnd {
        let config = Arc::clone(&request.config);
        match (request.queued.work.kind, config.plan(request.queued.work.plan.as_ref())) {
            (Kind::Backup, Some(plan)) => self.back_up(request, plan, cancel).await,
            (Kind::Backup, None) => RunEnd::failed("the settings have no such plan", None),
            (Kind::Check, _) => self.check(&request, &cancel).await,
        }
    }

    fn exec_requests(&self) -> Arc<ExecRequests> {
        Arc::clone(&self.hooks.exec)
    }

    fn vitals(&self) -> Vitals {
        Vitals { stuck_sources: self.stuck.sources(), ..self.kept.vitals() }
    }

    async fn recover(&self, config: Arc<Config>, cancel: CancellationToken) {
        around::recover(&self.hooks, &config, &cancel).await;
    }
}

impl Resident {
    async fn check(&self, request: &RunRequest, cancel: &CancellationToken) -> RunEnd {
        let RunRequest { queued, config, progress, .. } = request;
        let Some(check) = &config.check else { return RunEnd::failed("the settings have no checks", None) };
        // A try after a failure is of the same group.
        let at = match queued.trigger {
            Trigger::Schedule { due } => due,
            _ => Utc::now(),
        };
        let job = Job::Check { group: check.schedule.turn(at) % check.groups + 1, groups: check.groups };
        let cancel = cancel.child_token();
        let process = self.kept.processes().begin_worker();
        let end = in_time(
            check.run_timeout,
            &cancel,
            worker::carry_out((job, &process), config, &self.environment, progress, &cancel),
        )
        .await;
        self.kept.processes().worker_ended(&process);
        end
    }

    async fn back_up(&self, request: RunRequest, plan: &Plan, cancel: CancellationToken) -> RunEnd {
        let process = Process::current(&self.environment);
        let (environment, source_paths) = (self.environment.clone(), self.source_paths.clone());
        let RunRequest { queued, config, credentials, progress } = request;
        let hooks = Around::new(self.hooks.clone(), &config, plan, queued.number);
        let retry = match plan.retry_follows(queued.trigger.failures_before() + 1) {
            true => Retry::Follows,
            false => Retry::No,
        };
        let (its, quiesce) = (Arc::clone(&progress), Some(Arc::new(hooks.clone()) as Arc<dyn Quiesce>));
        let of_plan = plan.clone();
        let run = move |kept: &Kept, config: &Config, watch: &Watch, cancel, runtime| {
            let access = Access { config, credentials: &credentials, cancel, runtime, kept, watch };
            let options = access.options(&of_plan, &process, &environment)?;
            let options = backup::Options { source_paths, quiesce, ..options };
            Ok(access.back_up(&of_plan, options, &process, &its)?)
        };
        let bounds = (std::slice::from_ref(plan), plan.run_timeout);
        let end = self.watched(&config, bounds, progress, cancel, run).await.unwrap_or_else(|end| end);
        let retry = match end.outcome {
            Outcome::Failed => retry,
            _ => Retry::No,
        };
        hooks.conclude(end, retry).await
    }
}

/// The end of what is done, which is cancelled when it takes too long.
async fn in_time(bound: Bound, cancel: &CancellationToken, done: impl Future<Output = RunEnd>) -> RunEnd {
    let Some(limit) = bound.0 else { return done.await };
    tokio::pin!(done);
    tokio::select! {
        end = &mut done => return end,
        () = tokio::time::sleep(limit) => cancel.cancel(),
    }
    let end = done.await;
    match end.outcome {
        Outcome::Stopped => watch::too_long(limit),
        _ => end,
    }
}

/// The way to the repository, for one job.
struct Access<'a> {
    config: &'a Config,
    credentials: &'a Credentials,
    cancel: CancellationToken,
    runtime: Handle,
    kept: &'a Kept,
    watch: &'a Watch,
}

impl Access<'_> {
    /// When the newest snapshot of each plan was begun.
    fn newest_snapshots(&self) -> Result<Newest, Refusal> {
        let looked = self.look();
        self.tell_asked();
        looked
    }

    fn look(&self) -> Result<Newest, Refusal> {
        let mut pin = self.pin()?;
        let way = self.way()?;
        let snapshots = match self.open(&way) {
            Err(Error::NoRepository { .. }) if pin.id().is_none() => Vec::new(),
            opened => {
                let repository = pin.accept(opened)?;
                self.kept.keep(way, &repository);
                let (snapshots, damaged) = repository.load_snapshots()?;
                for error in damaged {
                    tracing::warn!(%error, "a snapshot cannot be read");
                }
                snapshots
            }
        };
        let newest = |plan: &Plan| {
            let (_, newest) = snapshots.iter().rev().find(|(_, snapshot)| self.is_own(plan, snapshot))?;
            DateTime::from_timestamp(newest.time.seconds, newest.time.nanoseconds)
        };
        Ok(self.config.plans.iter().map(|plan| (plan.name.clone(), newest(plan))).collect())
    }

    fn is_own(&self, plan: &Plan, snapshot: &Snapshot) -> bool {
        let is_of_named_plan = || snapshot.tags.iter().any(|tag| tag.starts_with(PLAN_TAG));
        match self.config.own_tag(plan) {
            Some(tag) => snapshot.tags.contains(&tag) && (plan.name.is_some() || !is_of_named_plan()),
            None => snapshot.hostname == self.config.host && holds_the_sources(plan, snapshot),
        }
    }

    fn back_up(
        &self,
        plan: &Plan,
        options: backup::Options,
        process: &Process,
        progress: &Progress,
    ) -> Result<RunEnd, Refusal> {
        let ended = self.back_up_uncounted(plan, options, process, progress);
        self.tell_asked();
        ended
    }

    fn back_up_uncounted(
        &self,
        plan: &Plan,
        options: backup::Options,
        process: &Process,
        progress: &Progress,
    ) -> Result<RunEnd, Refusal> {
        let mut pin = self.pin()?;
        plan.sources.iter().try_for_each(|source| refuse_unfinished_restore(source))?;
        let repository = self.open_or_init(&mut pin, process)?;
        // What the lock is told may make the cache directory anew, which the pin has to see as it is.
        let options = backup::Options { lock: Some(self.lock(process)), ..options };
        let faults = Faults::default();
        let reporter = self.watch.listen(&faults);
        let report = backup::backup(&repository, &options, &reporter, progress);
        Ok(end(&report?, &faults))
    }

    /// At the end of each job, also of one that came to nothing and of one whose log is not to tell it: what it asked is
    /// not to be counted with the next one.
    fn tell_asked(&self) {
        let asked = self.kept.asked_since_told();
        tracing::debug!(%asked, "asked the store");
    }

    /// The way to the store: that of the last job, if it led to the same place with the same credentials.
    fn way(&self) -> Result<Way> {
        if let Some(way) = self.kept.take_way(self.config, self.credentials) {
            return Ok(way);
        }
        self.kept.speak_to(&self.config.repository);
        let hook: Hook = Box::new(|error, wait| tracing::warn!("{}", retry_sentence(error, wait)));
        let Config { repository, connection, .. } = self.config;
        let ears = self.kept.ears();
        let backend = open_backend(repository, &self.credentials.access, connection, ears, hook)?;
        Ok(Way::new(self.config, self.credentials, backend))
    }

    fn store(&self, way: &Way) -> Store {
        Store::new(way.backend(), self.runtime.clone(), self.cancel.clone())
    }

    fn settings(&self) -> Settings {
        let (config, pack_size_bytes) = (self.config, self.config.pack_size.bytes());
        let cache = self.kept.cache(&config.cache_directory, config.cache_bytes, pack_size_bytes);
        Settings {
            compression: config.compression.into(),
            pack_size_bytes,
            cache,
            costly_keys: Some(Arc::new(self.kept.costly_keys(config))),
            index: self.kept.index().clone(),
            ..Settings::default()
        }
    }

    fn pin(&self) -> Result<Pin> {
        let Config { cache_directory, repository, repository_id, .. } = self.config;
        Pin::read(cache_directory, repository, *repository_id, self.kept.accepted())
    }

    /// Opens what is there: with one call, if the last job has opened it already.
    fn open(&self, way: &Way) -> Result<Repository> {
        let settings = self.settings();
        if let Some(opened) = way.opened()
            && let Some(again) = opened.open_again(self.store(way), settings.clone())?
        {
            return Ok(again);
        }
        open_repository(&self.credentials.password, |password| {
            Repository::open(self.store(way), password, settings.clone())
        })
    }

    /// Opens the repository; makes one only where none was ever used here.
    fn open_or_init(&self, pin: &mut Pin, process: &Process) -> Result<Repository, Refusal> {
        let way = self.way()?;
        let store = self.store(&way);
        let opened = match self.open(&way) {
            Err(Error::NoRepository { .. }) if pin.id().is_none() => {
                pin.refuse_unknown()?;
                let creator =
                    Creator { hostname: self.config.host.clone(), username: process.username.clone() };
                let password = &self.credentials.password;
                match repository::init(&store, password.expose(), &creator, self.settings()) {
                    // Somebody else was faster, and theirs is as good.
                    Err(Error::AlreadyInitialized { .. }) => self.open(&way),
                    // Or is about to be: there is a key, and the config follows.
                    Err(half @ (Error::UnfinishedInit { .. } | Error::HalfRepository { .. })) => {
                        store.sleep(SETTLE)?;
                        self.open(&way).map_err(|error| match error {
                            Error::NoRepository { .. } => half,
                            error => error,
                        })
                    }
                    made => made.inspect(|made| self.tell_new(made)),
                }
            }
            opened => opened,
        };
        let repository = pin.accept(opened)?;
        self.kept.keep(way, &repository);
        Ok(repository)
    }

    fn tell_new(&self, made: &Repository) {
        tracing::info!(repository = %made.config.id, "made a new repository");
        if without_line_end(&self.credentials.password).is_some() {
            tracing::warn!(
                "the password of the new repository ends in a line break, as it was given: a program that reads it \
                 from a file may take that off and not open the repository"
            );
        }
    }

    fn options(&self, plan: &Plan, process: &Process, environment: &Environment) -> Result<backup::Options> {
        let config = self.config;
        let exclusion = exclusion::of(config, plan, environment).map_err(Error::Refused)?;
        Ok(backup::Options {
            source: Source::Paths(plan.sources.iter().map(|source| bytes(source)).collect()),
            source_paths: SourcePaths::WithoutLinks,
            working_directory: b"/".to_vec(),
            mounts: Mounts::Refuse,
            excludes: exclusion.recorded().to_vec(),
            exclusion,
            parent: Parent::Latest,
            group_by: backup::GroupBy::default(),
            compare: backup::Compare::default(),
            access_time: AccessTime::Modified,
            host: config.host.clone(),
            username: process.username.clone(),
            uid: process.uid,
            gid: process.gid,
            tags: config.snapshot_tags(plan),
            identity: config.own_tag(plan),
            time: None,
            program_version: format!("pillion {VERSION}"),
            skip_if_unchanged: false,
            quiesce: None,
            lock: None,
        })
    }

    fn lock(&self, process: &Process) -> lock::Options {
        // Never a pod's own name: the rule that a dead process on the same host leaves a stale lock must not be
        // applied from another container, where the same process ID means another process.
        let processes = self.kept.processes();
        let holder = Holder {
            hostname: self.config.name().to_owned(),
            username: processes.username(self.config),
            ..process.clone().holder()
        };
        lock::Options {
            holder,
            mode: lock::Mode::Shared,
            retry_for: self.config.retry_lock,
            timing: lock::Timing::default(),
            given_up: self.watch.given_up.clone(),
            ended: processes.ended(self.config, self.settings().cache.standing()),
        }
    }
}

/// Whether a run of now would find no source that the snapshot lacks. A snapshot lists what was there: to ask for a
/// source that is missing for good would make every start a first run, while one that was missing then and is there
/// now does ask for a run.
fn holds_the_sources(plan: &Plan, snapshot: &Snapshot) -> bool {
    let is_listed = |source: &Path| snapshot.has_paths(&[source.to_string_lossy().into_owned()]);
    let (listed, others): (Vec<&PathBuf>, Vec<&PathBuf>) =
        plan.sources.iter().partition(|source| is_listed(source));
    !listed.is_empty() && others.iter().all(|source| source::open_without_links(&bytes(source)).is_err())
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// Half a volume must not become the newest snapshot.
fn refuse_unfinished_restore(source: &Path) -> Result<()> {
    if !source::open_without_links(&bytes(source)).is_ok_and(|source| marker::is_in(&source)) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{0} holds what an unfinished restore left: finish the restore, or delete {0}/{1} if it is as it should be",
        source.display(),
        String::from_utf8_lossy(marker::NAME),
    )))
}

fn end(report: &Report, faults: &Faults) -> RunEnd {
    let summary = &report.summary;
    RunEnd {
        snapshot: report.snapshot_id.map(|id| id.to_string()),
        skipped: report.faults.skipped,
        skipped_by_reason: faults.skipped_by_reason(),
        torn: report.faults.torn,
        vanished: report.faults.vanished,
        faulty_entries: faults.entries(),
        files: Changes {
            new: summary.files_new,
            changed: summary.files_changed,
            unmodified: summary.files_unmodified,
        },
        directories: Changes {
            new: summary.dirs_new,
            changed: summary.dirs_changed,
            unmodified: summary.dirs_unmodified,
        },
        files_processed: summary.total_files_processed,
        bytes_processed: summary.total_bytes_processed,
        bytes_added: summary.data_added_packed,
        repository_bytes: Some(report.stored_bytes),
        message: faults.sentence(&report.faults),
        ..RunEnd::empty(if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
    }
}
