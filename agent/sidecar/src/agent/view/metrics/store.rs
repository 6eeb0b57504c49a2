//! What is known of the repository and its store from the jobs that asked them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use pillion_backend::measure::Count;
use pillion_backend::{FileKind, Operation};

use super::families::Families;
use super::{seconds, switch};
use crate::agent::record::{Kind, Outcome, RunRecord};
use crate::agent::state::State;
use crate::agent::vitals::Vitals;

pub(super) fn of_repository(families: &mut Families, state: &State) {
    families.gauge("pillion_repository_problem", switch(state.repository_problem.is_some()));
    let sized = state.runs.iter().rev().find_map(|run| Some((run.end.repository_bytes?, run.ended_at)));
    let checked = newest_check(state);
    let listed = |kind| state.vitals.listed.get(&kind);
    let (snapshots, locks) = (listed(FileKind::Snapshot), listed(FileKind::Lock));
    let intact = checked.map(|run| switch(run.end.outcome == Outcome::Complete));
    families.gauge("pillion_repository_intact", intact);
    families.gauge("pillion_repository_size_bytes", sized.map(|(bytes, _)| bytes as f64));
    families.gauge("pillion_repository_snapshots", snapshots.map(|listed| listed.files as f64));
    families.gauge("pillion_repository_locks", locks.map(|listed| listed.files as f64));
    let at = |listed: &pillion_backend::measure::Listed| {
        listed.at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    };
    let seen = [
        ("integrity", checked.map(|run| seconds(run.ended_at))),
        ("size", sized.map(|(_, at)| seconds(at))),
        ("snapshots", snapshots.map(at)),
        ("locks", locks.map(at)),
    ];
    let seen = seen.into_iter().filter_map(|(what, at)| Some((vec![what], at?)));
    families.gauges("pillion_repository_seen_timestamp_seconds", seen);
}

/// The newest check that came to a result.
pub(super) fn newest_check(state: &State) -> Option<&RunRecord> {
    let is_one = |run: &&Arc<RunRecord>| run.work.kind == Kind::Check && run.end.outcome.is_conclusive();
    state.runs.iter().rev().find(is_one).map(Arc::as_ref)
}

pub(super) fn of_store(families: &mut Families, vitals: &Vitals) {
    families.gauge("pillion_store_up", vitals.answers.map(switch));
    let sorts: Vec<(String, &str, Operation, &Count)> = vitals
        .asked
        .0
        .iter()
        .map(|((operation, file), count)| {
            (operation.to_string(), file.map_or("store", FileKind::noun), *operation, count)
        })
        .collect();
    let calls = sorts.iter().map(|(word, file, _, count)| (vec![word.as_str(), *file], count.calls as f64));
    families.counters("pillion_store_requests_total", calls);
    let bytes = sorts
        .iter()
        .filter(|(_, _, operation, _)| matches!(operation, Operation::Load | Operation::Save))
        .map(|(word, file, _, count)| (vec![word.as_str(), *file], count.bytes as f64));
    families.counters("pillion_store_bytes_total", bytes);
    // By operation alone: with the kind of file they would be hundreds of series.
    let mut by_operation: BTreeMap<&str, Count> = BTreeMap::new();
    sorts.iter().for_each(|(word, _, _, count)| by_operation.entry(word).or_default().join(count));
    let errors = by_operation.iter().flat_map(|(word, count)| {
        count.errors.iter().map(|(kind, errors)| (vec![*word, kind.label()], *errors as f64))
    });
    families.counters("pillion_store_errors_total", errors);
    let durations = by_operation.iter().map(|(word, count)| (vec![*word], count.clone()));
    families.histograms("pillion_store_request_duration_seconds", durations);
    families.gauge("pillion_store_clock_ahead_seconds", vitals.store_seconds_ahead);
    let uses = vitals.cache.map(|cache| [("kept", cache.kept_bytes), ("spool", cache.spool_bytes)]);
    let uses = uses.into_iter().flatten().map(|(what, bytes)| (vec![what], bytes as f64));
    families.gauges("pillion_cache_bytes", uses);
    families.gauge("pillion_cache_budget_bytes", vitals.cache.map(|cache| cache.max_bytes as f64));
}
