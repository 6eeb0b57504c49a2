//! The state in numbers, as Prometheus reads it: base units, labels of closed lists, nothing that names a file.
//!
//! All series are made anew from the state for each answer, so that none can say what no record says.

use chrono::{DateTime, Utc};
use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::VERSION;
use crate::agent::record::Work;
use crate::agent::state::State;
use crate::agent::timetable::Planned;

/// What there is: name, help, labels. One line each, as in the README.
pub const TABLE: &[(&str, &str, &[&str])] = &[
    ("pillion_build_info", "The version that runs, as a label; always 1.", &["version"]),
    ("pillion_config_valid", "Whether the settings that are written now are the ones that count.", &[]),
    ("pillion_config_reloads_total", "Changed settings, by whether they were taken over.", &["result"]),
    ("pillion_paused", "Whether no run begins by itself.", &[]),
    ("pillion_queued_runs", "Runs that wait to begin.", &[]),
    ("pillion_running", "Whether a run is under way.", &[]),
    (
        "pillion_store_away",
        "Whether the store does not answer, and nothing begins by itself until it does.",
        &[],
    ),
    ("pillion_runs_total", "Runs that ended.", &["kind", "plan", "trigger", "outcome"]),
    ("pillion_run_seconds_total", "Time that runs took.", &["kind", "plan"]),
    ("pillion_last_run_duration_seconds", "How long the newest run took.", &["kind", "plan"]),
    (
        "pillion_last_success_timestamp_seconds",
        "When the newest snapshot, or check, was begun.",
        &["kind", "plan"],
    ),
    ("pillion_next_run_timestamp_seconds", "When the next run begins by itself.", &["kind", "plan"]),
    ("pillion_consecutive_failures", "Runs that failed since the last that did not.", &["kind", "plan"]),
    (
        "pillion_files_total",
        "Files that were backed up, by what the snapshot before knew of them.",
        &["change"],
    ),
    ("pillion_processed_bytes_total", "Bytes of all files that are in new snapshots.", &[]),
    ("pillion_added_bytes_total", "Bytes that were added to the repository, as stored.", &[]),
    ("pillion_skipped_total", "Entries that were left out and should not have been.", &["reason"]),
    ("pillion_torn_total", "Files that changed while they were read.", &[]),
    ("pillion_vanished_total", "Entries that were gone before they could be read.", &[]),
];

/// The state in the text format.
pub fn text(state: &State) -> String {
    let series = Series { registry: Registry::new() };
    series.of_settings(state);
    series.of_schedule(state);
    series.of_runs(state);
    let mut text = Vec::new();
    TextEncoder::new().encode(&series.registry.gather(), &mut text).expect("memory takes everything");
    String::from_utf8(text).expect("the text format is UTF-8")
}

struct Series {
    registry: Registry,
}

fn options(name: &str) -> (Opts, &'static [&'static str]) {
    let (name, help, labels) = TABLE.iter().find(|(known, ..)| *known == name).expect("it is in the table");
    (Opts::new(*name, *help), labels)
}

impl Series {
    fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect("no name is used twice");
    }

    /// By kind and plan; of several values of one the last counts.
    fn gauges(&self, name: &str, values: &[(Work, f64)]) {
        let (options, labels) = options(name);
        let gauges = GaugeVec::new(options, labels).expect("the name is one");
        for (work, value) in values {
            gauges.with_label_values(&[work.kind.to_string().as_str(), work.plan_label()]).set(*value);
        }
        self.register(gauges);
    }

    fn whole_gauge(&self, name: &str, value: i64) {
        let gauge = IntGauge::with_opts(options(name).0).expect("the name is one");
        gauge.set(value);
        self.register(gauge);
    }

    fn counter(&self, name: &str, value: u64) {
        let counter = IntCounter::with_opts(options(name).0).expect("the name is one");
        counter.inc_by(value);
        self.register(counter);
    }

    fn counters<'a>(&self, name: &str, values: impl IntoIterator<Item = (Vec<&'a str>, u64)>) {
        let (options, labels) = options(name);
        let counters = IntCounterVec::new(options, labels).expect("the name is one");
        for (labels, value) in values {
            counters.with_label_values(&labels).inc_by(value);
        }
        self.register(counters);
    }

    fn of_settings(&self, state: &State) {
        let (options, labels) = options("pillion_build_info");
        let build = GaugeVec::new(options, labels).expect("the name is one");
        build.with_label_values(&[VERSION]).set(1.0);
        self.register(build);
        let settings = &state.settings;
        let is_valid = state.config.is_some() && settings.problems.is_empty();
        self.whole_gauge("pillion_config_valid", is_valid.into());
        let reloads = [(vec!["accepted"], settings.accepted), (vec!["refused"], settings.refused)];
        self.counters("pillion_config_reloads_total", reloads);
    }

    fn of_schedule(&self, state: &State) {
        self.whole_gauge("pillion_paused", state.is_paused().into());
        self.whole_gauge("pillion_queued_runs", i64::try_from(state.queued.len()).unwrap_or(i64::MAX));
        self.whole_gauge("pillion_running", state.running.is_some().into());
        self.whole_gauge("pillion_store_away", state.away_since.is_some().into());
        let by_work = |value: fn(&Planned) -> Option<f64>| {
            let known = move |planned: &'_ Planned| Some((planned.work.clone(), value(planned)?));
            state.planned.iter().filter_map(known).collect::<Vec<_>>()
        };
        // A series that says 1970 before anything is known would wake somebody.
        let newest = by_work(|planned| planned.newest_at.map(seconds));
        self.gauges("pillion_last_success_timestamp_seconds", &newest);
        let next = by_work(|planned| planned.next_run_at.map(seconds));
        self.gauges("pillion_next_run_timestamp_seconds", &next);
        let failures = by_work(|planned| Some(planned.failures.into()));
        self.gauges("pillion_consecutive_failures", &failures);
    }

    fn of_runs(&self, state: &State) {
        let totals = &state.totals;
        let words: Vec<_> = totals
            .runs
            .iter()
            .map(|((work, trigger, outcome), count)| {
                (work.kind.to_string(), work.plan_label(), *trigger, outcome.to_string(), *count)
            })
            .collect();
        let runs = words.iter().map(|(kind, plan, trigger, outcome, count)| {
            (vec![kind.as_str(), *plan, *trigger, outcome.as_str()], *count)
        });
        self.counters("pillion_runs_total", runs);
        let (options, labels) = options("pillion_run_seconds_total");
        let seconds = CounterVec::new(options, labels).expect("the name is one");
        for (work, value) in &totals.seconds {
            seconds.with_label_values(&[work.kind.to_string().as_str(), work.plan_label()]).inc_by(*value);
        }
        self.register(seconds);
        let last: Vec<_> = state.runs.iter().map(|run| (run.work.clone(), run.seconds())).collect();
        self.gauges("pillion_last_run_duration_seconds", &last);
        let files = [
            (vec!["new"], totals.files_new),
            (vec!["changed"], totals.files_changed),
            (vec!["unmodified"], totals.files_unmodified),
        ];
        self.counters("pillion_files_total", files);
        self.counter("pillion_processed_bytes_total", totals.bytes_processed);
        self.counter("pillion_added_bytes_total", totals.bytes_added);
        let skipped = totals.skipped_by_reason.iter().map(|(reason, count)| (vec![reason.as_str()], *count));
        self.counters("pillion_skipped_total", skipped);
        self.counter("pillion_torn_total", totals.torn);
        self.counter("pillion_vanished_total", totals.vanished);
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_each_metric_and_no_other() {
        let readme = include_str!("../../../../../README.md");
        let named: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `pillion_")).collect();
        let known: Vec<String> = TABLE
            .iter()
            .map(|(name, help, labels)| {
                let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
                format!("| `{name}` | {help} | {} |", labels.join(", "))
            })
            .collect();
        assert_eq!(named, known);
    }

    #[test]
    fn what_is_not_known_is_no_series_and_everything_else_is_one() {
        let mut state = State::new(DateTime::UNIX_EPOCH);
        let unknown = text(&state);
        assert!(!unknown.contains("last_success") && !unknown.contains("next_run"), "{unknown}");
        assert!(unknown.contains("\npillion_config_valid 0\n"), "{unknown}");
        state.planned.push(Planned {
            work: Work::backup(Some("files".parse().unwrap())),
            next_run_at: None,
            failures: 0,
            newest_at: DateTime::from_timestamp_millis(1_500),
        });
        let series = "\npillion_last_success_timestamp_seconds{kind=\"backup\",plan=\"files\"} 1.5\n";
        assert!(text(&state).contains(series), "{}", text(&state));
    }
}
