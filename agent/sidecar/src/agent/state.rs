//! What can be seen of the agent at one moment. The loop publishes it; every view is a function of it.
//!
//! Holds no credential. What moves while a run goes on is read from the counters it shares ([`Running::progress`]).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pillion_repository::event::Progress;
use tokio::time::Instant;

use super::config::{Config, Mode};
use super::history::Pause;
use super::queue::Queued;
use super::record::RunRecord;
use super::timetable::{Planned, newest_snapshot_at};
use super::totals::Totals;
use super::vitals::Vitals;

#[derive(Clone, Debug)]
pub struct State {
    pub started_at: DateTime<Utc>,
    /// The loop turns every few seconds even if nothing happens.
    pub published_at: Instant,
    /// The same by the clock on the wall.
    pub at: DateTime<Utc>,
    /// Those that count: the last good ones.
    pub config: Option<Arc<Config>>,
    pub settings: Settings,
    pub pause: Option<Pause>,
    /// Nothing begins by itself until the store answers; a look at it is made again and again.
    pub away_since: Option<DateTime<Utc>>,
    /// In the order of the settings.
    pub planned: Vec<Planned>,
    /// In their order.
    pub queued: Vec<Queued>,
    pub running: Option<Running>,
    /// The newest last.
    pub runs: Vec<Arc<RunRecord>>,
    pub totals: Arc<Totals>,
    /// Why the repository could not be looked into.
    pub repository_problem: Option<String>,
    pub vitals: Vitals,
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
            at: started_at,
            config: None,
            settings: Settings::default(),
            pause: None,
            away_since: None,
            planned: Vec::new(),
            queued: Vec::new(),
            running: None,
            runs: Vec::new(),
            totals: Arc::default(),
            repository_problem: None,
            vitals: Vitals::default(),
        }
    }

    pub fn mode(&self) -> Mode {
        self.config.as_ref().map_or_else(Mode::default, |config| config.mode)
    }

    /// Whether no run begins by itself.
    pub fn is_paused(&self) -> bool {
        self.pause.is_some() || self.mode() != Mode::Active
    }

    /// When the next run begins by itself.
    pub fn next_run_at(&self) -> Option<DateTime<Utc>> {
        self.planned.iter().filter_map(|planned| planned.next_run_at).min()
    }

    /// The most runs of one plan that failed since one did not.
    pub fn failures(&self) -> u32 {
        self.planned.iter().map(|planned| planned.failures).max().unwrap_or(0)
    }

    /// When the newest snapshot of this agent was begun; `None` while that is not known, or there is none.
    pub fn newest_snapshot_at(&self) -> Option<DateTime<Utc>> {
        newest_snapshot_at(&self.planned)
    }

    pub fn newest_run(&self) -> Option<&Arc<RunRecord>> {
        self.runs.last()
    }

    pub fn run(&self, number: u64) -> Option<&Arc<RunRecord>> {
        self.runs.iter().find(|run| run.number == number)
    }
}
