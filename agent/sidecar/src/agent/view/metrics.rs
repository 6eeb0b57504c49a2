//! The state in numbers, as Prometheus reads it: base units, labels of closed lists, nothing that names a file.
//!
//! All series are made anew from the state for each answer, so that none can say what no record says. What is not known is
//! no series: a zero in its place would be believed.

mod families;
mod stash;
mod store;
mod table;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::VERSION;
use crate::agent::config::http::MetricsCompat;
use crate::agent::record::{Kind, Outcome, RunRecord, Work};
use crate::agent::state::State;
use crate::agent::timetable::Planned;
use crate::agent::totals::Totals;

use families::Families;
pub use table::TABLE;

/// Who is so much overdue needs no number.
const MAX_OVERDUE: usize = 100;

/// The state in the text format.
pub fn text(state: &State) -> String {
    let mut families = Families::default();
    of_settings(&mut families, state);
    of_runs(&mut families, state);
    of_schedule(&mut families, state);
    of_sources(&mut families, &state.totals);
    store::of_repository(&mut families, state);
    store::of_store(&mut families, &state.vitals);
    if let Some(config) = &state.config
        && config.http.metrics_compat == MetricsCompat::Stash
    {
        stash::add(&mut families, state, config);
    }
    families.text()
}

fn of_settings(families: &mut Families, state: &State) {
    families.gauges("pillion_build_info", [(vec![VERSION], 1.0)]);
    let whose = state
        .config
        .as_ref()
        .map(|config| (vec![config.identity.as_deref().unwrap_or_default(), config.host.as_str()], 1.0));
    families.gauges("pillion_agent_info", whose);
    families.gauge("pillion_start_timestamp_seconds", seconds(state.started_at));
    let settings = &state.settings;
    let is_valid = state.config.is_some() && settings.problems.is_empty();
    families.gauge("pillion_config_valid", switch(is_valid));
    let reloads = [(vec!["accepted"], settings.accepted as f64), (vec!["refused"], settings.refused as f64)];
    families.counters("pillion_config_reloads_total", reloads);
    let mode = state.config.as_ref().map(|config| config.mode.to_string());
    families.gauges("pillion_mode", mode.iter().map(|mode| (vec![mode.as_str()], 1.0)));
    families.gauge("pillion_paused", switch(state.is_paused()));
    families.gauge("pillion_queued_runs", state.queued.len() as f64);
    families.gauge("pillion_running", switch(state.running.is_some()));
    families.gauge("pillion_store_away", switch(state.away_since.is_some()));
}

fn of_runs(families: &mut Families, state: &State) {
    let totals = &state.totals;
    let words: Vec<_> = totals
        .runs
        .iter()
        .map(|((work, trigger, outcome), count)| {
            (work.kind.to_string(), work.plan_label(), *trigger, outcome.to_string(), *count)
        })
        .collect();
    let runs = words.iter().map(|(kind, plan, trigger, outcome, count)| {
        (vec![kind.as_str(), *plan, *trigger, outcome.as_str()], *count as f64)
    });
    families.counters("pillion_runs_total", runs);
    let sums: Vec<_> = totals.seconds.iter().map(|(work, seconds)| (Labels::of(work), *seconds)).collect();
    let sums = sums.iter().map(|(labels, seconds)| (labels.values(), *seconds));
    families.counters("pillion_run_seconds_total", sums);
    let newest: Vec<(Labels<'_>, &RunRecord)> =
        newest_runs(state).map(|run| (Labels::of(&run.work), run)).collect();
    let of_each =
        |value: fn(&RunRecord) -> f64| newest.iter().map(move |(labels, run)| (labels.values(), value(run)));
    families.gauges("pillion_last_run_duration_seconds", of_each(RunRecord::seconds));
    families.gauges("pillion_last_run_timestamp_seconds", of_each(|run| seconds(run.ended_at)));
    let outcomes = Outcome::ALL.map(|outcome| (outcome, outcome.to_string()));
    let states = newest.iter().flat_map(|(labels, run)| {
        outcomes.iter().map(|(outcome, word)| {
            ([labels.values(), vec![word.as_str()]].concat(), switch(run.end.outcome == *outcome))
        })
    });
    families.gauges("pillion_last_run_outcome", states);
}

/// What says which work it is about.
struct Labels<'a> {
    kind: String,
    plan: &'a str,
}

impl<'a> Labels<'a> {
    fn of(work: &'a Work) -> Self {
        Self { kind: work.kind.to_string(), plan: work.plan_label() }
    }

    fn values(&self) -> Vec<&str> {
        vec![&self.kind, self.plan]
    }
}

/// The newest run of each work that was decided: whoever told one to end knows of it, and it says nothing of the next.
fn newest_runs(state: &State) -> impl Iterator<Item = &RunRecord> {
    let mut known: Vec<&Work> = Vec::new();
    state.runs.iter().rev().map(Arc::as_ref).filter(move |run| {
        let is_newest = is_decided(run) && !known.contains(&&run.work);
        if is_newest {
            known.push(&run.work);
        }
        is_newest
    })
}

fn is_decided(run: &RunRecord) -> bool {
    !matches!(run.end.outcome, Outcome::Stopped | Outcome::Cancelled)
}

fn of_schedule(families: &mut Families, state: &State) {
    let planned: Vec<_> = state.planned.iter().map(|planned| (Labels::of(&planned.work), planned)).collect();
    let of_each = |value: &dyn Fn(&Planned) -> Option<f64>| -> Vec<_> {
        planned.iter().filter_map(|(labels, planned)| Some((labels.values(), value(planned)?))).collect()
    };
    let newest = of_each(&|planned| last_success_at(state, planned).map(seconds));
    families.gauges("pillion_last_success_timestamp_seconds", newest);
    let next = of_each(&|planned| planned.next_run_at.map(seconds));
    families.gauges("pillion_next_run_timestamp_seconds", next);
    families.gauges("pillion_overdue_runs", of_each(&|planned| overdue(state, planned)));
    families.gauges("pillion_consecutive_failures", of_each(&|planned| Some(planned.failures.into())));
    families.gauge("pillion_stuck_sources", state.vitals.stuck_sources.len() as f64);
}

/// Where nobody could look into the repository since the start, the records of runs before it are what is known.
fn last_success_at(state: &State, planned: &Planned) -> Option<DateTime<Utc>> {
    let could_look = !state.is_paused() && state.repository_problem.is_none();
    let is_one = |run: &&Arc<RunRecord>| run.work == planned.work && run.end.outcome.has_snapshot();
    let recorded = || state.runs.iter().rev().find(is_one).map(|run| run.started_at);
    planned.newest_at.or_else(|| if could_look { None } else { recorded() })
}

fn overdue(state: &State, planned: &Planned) -> Option<f64> {
    let config = state.config.as_ref()?;
    let schedule = match planned.work.kind {
        Kind::Backup => &config.plan(planned.work.plan.as_ref())?.schedule,
        Kind::Check => &config.check.as_ref()?.schedule,
    };
    let since = last_success_at(state, planned).unwrap_or(state.started_at);
    let named = std::iter::successors(schedule.next_after(since), |due| schedule.next_after(*due));
    Some(named.take_while(|due| *due <= state.at).take(MAX_OVERDUE).count() as f64)
}

fn of_sources(families: &mut Families, totals: &Totals) {
    for (name, changes) in
        [("pillion_files_total", &totals.files), ("pillion_directories_total", &totals.directories)]
    {
        let values = [
            (vec!["new"], changes.new as f64),
            (vec!["changed"], changes.changed as f64),
            (vec!["unmodified"], changes.unmodified as f64),
        ];
        families.counters(name, values);
    }
    families.counter("pillion_processed_bytes_total", totals.bytes_processed);
    families.counter("pillion_added_bytes_total", totals.bytes_added);
    let skipped =
        totals.skipped_by_reason.iter().map(|(reason, count)| (vec![reason.as_str()], *count as f64));
    families.counters("pillion_skipped_total", skipped);
    families.counter("pillion_torn_total", totals.torn);
    families.counter("pillion_vanished_total", totals.vanished);
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

fn switch(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests;
