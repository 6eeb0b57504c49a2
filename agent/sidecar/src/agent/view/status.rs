//! The state as JSON: what the status page shows, for programs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::agent::config::Mode;
use crate::agent::config::plan::PlanName;
use crate::agent::history::Pause;
use crate::agent::http::Listening;
use crate::agent::queue::Queued;
use crate::agent::record::{RunRecord, Work};
use crate::agent::schedule::Schedule;
use crate::agent::state::{Running, State};
use crate::agent::timetable::Planned;

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// `None` before the first good settings.
    pub protects: Option<Protects>,
    pub settings: Settings,
    /// What the settings say that the agent is to do.
    pub mode: Mode,
    pub pause: Option<Pause>,
    pub next_run_at: Option<DateTime<Utc>>,
    /// The most runs of one plan that failed one after another.
    pub failures: u32,
    /// Since when the store does not answer; nothing begins by itself until it does.
    pub store_away_since: Option<DateTime<Utc>>,
    /// In their order.
    pub queued: Vec<Run>,
    pub running: Option<Run>,
    pub last_run: Option<Run>,
    pub newest_snapshot_at: Option<DateTime<Utc>>,
    pub repository_problem: Option<String>,
    /// They do not answer, and no run of them begins until they do.
    #[serde(default)]
    pub stuck_sources: Vec<String>,
    pub listeners: Vec<Listening>,
    /// Another one where the status page would look otherwise, numbers aside that move while a run goes on.
    pub form: String,
}

/// What is backed up, where, when and as whose.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Protects {
    pub plans: Vec<Plan>,
    pub check: Option<Times>,
    pub repository: String,
    pub host: String,
    pub identity: Option<String>,
}

/// Sources that are backed up together.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `None` where there is but one.
    pub name: Option<PlanName>,
    pub sources: Vec<String>,
    #[serde(flatten)]
    pub times: Times,
}

/// When something is done.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Times {
    pub schedule: String,
    pub time_zone: String,
    pub next_run_at: Option<DateTime<Utc>>,
    /// When the newest snapshot, or the last check, was begun; `None` while none is known.
    pub newest_at: Option<DateTime<Utc>>,
    /// Runs that failed one after another.
    pub failures: u32,
}

impl Times {
    fn of(schedule: &Schedule, work: &Work, planned: &[Planned]) -> Self {
        let planned = planned.iter().find(|planned| planned.work == *work);
        Self {
            schedule: schedule.expression().to_owned(),
            time_zone: schedule.zone().to_string(),
            next_run_at: planned.and_then(|planned| planned.next_run_at),
            newest_at: planned.and_then(|planned| planned.newest_at),
            failures: planned.map_or(0, |planned| planned.failures),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Of those that are written now; the last good ones go on.
    pub problems: Vec<String>,
    pub accepted: u64,
    pub refused: u64,
}

/// A run in any of its states.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Run {
    Queued(Queued),
    #[serde(rename_all = "camelCase")]
    Running {
        #[serde(flatten)]
        queued: Queued,
        started_at: DateTime<Utc>,
        progress: Progress,
    },
    Ended(Arc<RunRecord>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub files_done: u64,
    pub bytes_done: u64,
    /// What the whole probably is; 0 while nobody can tell.
    pub files_total: u64,
    pub bytes_total: u64,
    pub errors: u64,
}

impl Status {
    pub fn of(state: &State, listeners: &[Listening]) -> Self {
        let protects = state.config.as_ref().map(|config| Protects {
            plans: config
                .plans
                .iter()
                .map(|plan| Plan {
                    name: plan.name.clone(),
                    sources: plan.sources.iter().map(|source| source.display().to_string()).collect(),
                    times: Times::of(&plan.schedule, &Work::backup(plan.name.clone()), &state.planned),
                })
                .collect(),
            check: config
                .check
                .as_ref()
                .map(|check| Times::of(&check.schedule, &Work::CHECK, &state.planned)),
            repository: config.repository.to_string(),
            host: config.host.clone(),
            identity: config.identity.clone(),
        });
        let settings = &state.settings;
        Self {
            version: VERSION.to_owned(),
            started_at: state.started_at,
            protects,
            settings: Settings {
                problems: settings.problems.clone(),
                accepted: settings.accepted,
                refused: settings.refused,
            },
            mode: state.mode(),
            pause: state.pause,
            next_run_at: state.next_run_at(),
            failures: state.failures(),
            store_away_since: state.away_since,
            queued: state.queued.iter().cloned().map(Run::Queued).collect(),
            running: state.running.as_ref().map(Run::running),
            last_run: state.newest_run().cloned().map(Run::Ended),
            newest_snapshot_at: state.newest_snapshot_at(),
            repository_problem: state.repository_problem.clone(),
            stuck_sources: state
                .vitals
                .stuck_sources
                .iter()
                .map(|source| source.display().to_string())
                .collect(),
            listeners: listeners.to_vec(),
            form: form(state, listeners),
        }
    }
}

fn form(state: &State, listeners: &[Listening]) -> String {
    let mut hasher = DefaultHasher::new();
    (state.started_at, state.away_since, state.mode().to_string()).hash(&mut hasher);
    for planned in &state.planned {
        (planned.next_run_at, planned.newest_at, planned.failures).hash(&mut hasher);
    }
    (state.settings.accepted, state.settings.refused, &state.repository_problem).hash(&mut hasher);
    state.vitals.stuck_sources.hash(&mut hasher);
    (state.pause.map(|pause| (pause.since, pause.until)), state.newest_run().map(|run| run.number))
        .hash(&mut hasher);
    state.queued.iter().for_each(|queued| queued.number.hash(&mut hasher));
    state.running.as_ref().map(|running| running.queued.number).hash(&mut hasher);
    listeners.iter().for_each(|listener| (&listener.place, &listener.problem).hash(&mut hasher));
    format!("{:016x}", hasher.finish())
}

impl Run {
    /// The newest first.
    pub fn all(state: &State) -> impl Iterator<Item = Self> {
        let queued = state.queued.iter().rev().cloned().map(Self::Queued);
        let running = state.running.as_ref().map(Self::running);
        let ended = state.runs.iter().rev().cloned().map(Self::Ended);
        queued.chain(running).chain(ended)
    }

    pub fn number(&self) -> u64 {
        match self {
            Self::Queued(queued) | Self::Running { queued, .. } => queued.number,
            Self::Ended(record) => record.number,
        }
    }

    fn running(running: &Running) -> Self {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let progress = &running.progress;
        Self::Running {
            queued: running.queued.clone(),
            started_at: running.started_at,
            progress: Progress {
                files_done: value(&progress.files_done),
                bytes_done: value(&progress.bytes_done),
                files_total: value(&progress.files_total),
                bytes_total: value(&progress.bytes_total),
                errors: value(&progress.errors),
            },
        }
    }
}
