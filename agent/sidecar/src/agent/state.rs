//! What can be seen of the agent at one moment. The loop publishes it; every view is a function of it.
//!
//! Holds no credential. What moves while a run goes on is read from the counters it shares ([`Running::progress`]).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pillion_repository::event::Progress;
use tokio::time::Instant;

use super::config::Config;
use super::history::Pause;
use super::queue::Queued;
use super::record::RunRecord;
use super::totals::Totals;

#[derive(Clone, Debug)]
pub struct State {
    pub started_at: DateTime<Utc>,
    /// The loop turns every few seconds even if nothing happens.
    pub published_at: Instant,
    /// Those that count: the last good ones.
    pub config: Option<Arc<Config>>,
    pub settings: Settings,
    pub pause: Option<Pause>,
    /// When the schedule, or a retry, begins the next run.
    pub next_run_at: Option<DateTime<Utc>>,
    /// How many runs failed one after another, if the next try is planned.
    pub failures: u32,
    pub queued: Option<Queued>,
    pub running: Option<Running>,
    /// The newest last.
    pub runs: Vec<Arc<RunRecord>>,
    pub totals: Arc<Totals>,
    /// When the newest snapshot of this agent was begun; `None` while that is not known, or there is none.
    pub newest_snapshot_at: Option<DateTime<Utc>>,
    /// Why the repository could not be looked into.
    pub repository_problem: Option<String>,
}

/// How it went with the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What is wrong with those that are written now, a sentence each; the last good ones go on.
    pub problems: Vec<String>,
    pub accepted: u64,
    pub refused: u64,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub queued: Queued,
    pub started_at: DateTime<Utc>,
    pub progress: Arc<Progress>,
}

impl State {
    pub fn new(started_at: DateTime<Utc>) -> Self {
        Self {
            started_at,
            published_at: Instant::now(),
            config: None,
            settings: Settings::default(),
            pause: None,
            next_run_at: None,
            failures: 0,
            queued: None,
            running: None,
            runs: Vec::new(),
            totals: Arc::default(),
            newest_snapshot_at: None,
            repository_problem: None,
        }
    }

    pub fn newest_run(&self) -> Option<&Arc<RunRecord>> {
        self.runs.last()
    }

    pub fn run(&self, number: u64) -> Option<&Arc<RunRecord>> {
        self.runs.iter().find(|run| run.number == number)
    }
}
