//! What all runs of this process came to: sums that only grow, as counters of metrics do. Folded from the records, so
//! that no number is counted twice in two ways.

use std::collections::BTreeMap;

use super::record::{Changes, Outcome, RunRecord, Work};

/// How runs are told apart: what they were about, why they were asked for, how they ended.
pub type Sort = (Work, &'static str, Outcome);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub runs: BTreeMap<Sort, u64>,
    pub seconds: BTreeMap<Work, f64>,
    pub files: Changes,
    pub directories: Changes,
    pub bytes_processed: u64,
    pub bytes_added: u64,
    pub skipped_by_reason: BTreeMap<String, u64>,
    pub torn: u64,
    pub vanished: u64,
}

impl Totals {
    pub fn add(&mut self, run: &RunRecord) {
        let end = &run.end;
        *self.runs.entry((run.work.clone(), run.trigger.label(), end.outcome)).or_default() += 1;
        *self.seconds.entry(run.work.clone()).or_default() += run.seconds();
        self.files += end.files;
        self.directories += end.directories;
        self.bytes_processed += end.bytes_processed;
        self.bytes_added += end.bytes_added;
        for (reason, count) in &end.skipped_by_reason {
            *self.skipped_by_reason.entry(reason.clone()).or_default() += count;
        }
        self.torn += end.torn;
        self.vanished += end.vanished;
    }
}
