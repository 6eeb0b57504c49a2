//! What the engine knows beside the records, taken at one moment: plain data, for the published state.
//!
//! All of it was seen on the way of jobs: to take it asks no store, waits for nobody and touches no disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pillion_backend::FileKind;
use pillion_backend::measure::{Listed, Tally};
use pillion_repository::cache::Usage;

#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// What the store was asked in this process.
    pub asked: Tally,
    /// Whether it answered the newest request; `None` before the first.
    pub answers: Option<bool>,
    /// By how much at least its clock is ahead of ours; `None` where it has none.
    pub store_seconds_ahead: Option<f64>,
    /// How many files of each kind the repository has, where a job has listed them.
    pub listed: BTreeMap<FileKind, Listed>,
    /// `None` where there is no cache.
    pub cache: Option<Usage>,
    /// What was being read by threads that hang, or by one of them.
    pub stuck_sources: Vec<PathBuf>,
}
