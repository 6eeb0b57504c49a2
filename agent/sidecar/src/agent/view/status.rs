//! The state as JSON: what the status page shows, for programs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::agent::history::Pause;
use crate::agent::http::Listening;
use crate::agent::queue::Queued;
use crate::agent::record::RunRecord;
use crate::agent::state::{Running, State};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// `None` before the first good settings.
    pub protects: Option<Protects>,
    pub settings: Settings,
    pub pause: Option<Pause>,
    pub next_run_at: Option<DateTime<Utc>>,
    /// How many runs failed one after another.
    pub failures: u32,
    pub queued: Option<Run>,
    pub running: Option<Run>,
    pub last_run: Option<Run>,
    pub newest_snapshot_at: Option<DateTime<Utc>>,
    pub repository_problem: Option<String>,
    pub listeners: Vec<Listening>,
    /// Another one where the status page would look otherwise, numbers aside that move while a run goes on.
    pub form: String,
}

/// What is backed up, where, when and as whose.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protects {
    pub sources: Vec<String>,
    pub repository: String,
    pub schedule: String,
    pub time_zone: String,
    pub host: String,
    pub identity: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Of those that are written now; the last good ones go on.
    pub problems: Vec<String>,
    pub accepted: u64,
    pub refused: u64,
}

/// A run in any of its states.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
            sources: config.sources.iter().map(|source| source.display().to_string()).collect(),
            repository: config.repository.to_string(),
            schedule: config.schedule.expression().to_owned(),
            time_zone: config.schedule.zone().to_string(),
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
            pause: state.pause,
            next_run_at: state.next_run_at,
            failures: state.failures,
            queued: state.queued.clone().map(Run::Queued),
            running: state.running.as_ref().map(Run::running),
            last_run: state.newest_run().cloned().map(Run::Ended),
            newest_snapshot_at: state.newest_snapshot_at,
            repository_problem: state.repository_problem.clone(),
            listeners: listeners.to_vec(),
            form: form(state, listeners),
        }
    }
}

fn form(state: &State, listeners: &[Listening]) -> String {
    let mut hasher = DefaultHasher::new();
    (state.started_at, state.next_run_at, state.failures, state.newest_snapshot_at).hash(&mut hasher);
    (state.settings.accepted, state.settings.refused, &state.repository_problem).hash(&mut hasher);
    (state.pause.map(|pause| (pause.since, pause.until)), state.newest_run().map(|run| run.number))
        .hash(&mut hasher);
    (
        state.queued.as_ref().map(|queued| queued.number),
        state.running.as_ref().map(|running| running.queued.number),
    )
        .hash(&mut hasher);
    listeners.iter().for_each(|listener| (&listener.place, &listener.problem).hash(&mut hasher));
    format!("{:016x}", hasher.finish())
}

impl Run {
    /// The newest first.
    pub fn all(state: &State) -> impl Iterator<Item = Self> {
        let queued = state.queued.clone().map(Self::Queued);
        let running = state.running.as_ref().map(Self::running);
        let ended = state.runs.iter().rev().cloned().map(Self::Ended);
        queued.into_iter().chain(running).chain(ended)
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
