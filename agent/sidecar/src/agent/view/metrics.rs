//! The state in numbers, as Prometheus reads it: base units, labels of closed lists, nothing that names a file.
//!
//! All series are made anew from the state for each answer, so that none can say what no record says.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::VERSION;
use crate::agent::state::State;

/// What there is: name, help, labels. One line each, as in the README.
pub const TABLE: &[(&str, &str, &[&str])] = &[
    ("pillion_build_info", "The version that runs, as a label; always 1.", &["version"]),
    ("pillion_config_valid", "Whether the settings that are written now are the ones that count.", &[]),
    ("pillion_config_reloads_total", "Changed settings, by whether they were taken over.", &["result"]),
    ("pillion_paused", "Whether no run begins by itself.", &[]),
    ("pillion_queued_runs", "Runs that wait to begin.", &[]),
    ("pillion_running", "Whether a run is under way.", &[]),
    ("pillion_runs_total", "Runs that ended.", &["kind", "trigger", "outcome"]),
    ("pillion_run_seconds_total", "Time that runs took.", &["kind"]),
    ("pillion_last_run_duration_seconds", "How long the newest run took.", &["kind"]),
    ("pillion_last_success_timestamp_seconds", "When the newest snapshot of this agent was begun.", &[]),
    ("pillion_next_run_timestamp_seconds", "When the next run begins by itself.", &[]),
    ("pillion_consecutive_failures", "Runs that failed one after another since the last that did not.", &[]),
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

    fn gauge(&self, name: &str, value: f64) {
        let gauge = Gauge::with_opts(options(name).0).expect("the name is one");
        gauge.set(value);
        self.register(gauge);
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
        self.whole_gauge("pillion_paused", state.pause.is_some().into());
        self.whole_gauge("pillion_queued_runs", state.queued.is_some().into());
        self.whole_gauge("pillion_running", state.running.is_some().into());
        self.whole_gauge("pillion_consecutive_failures", state.failures.into());
        // A series that says 1970 before anything is known would wake somebody.
        if let Some(at) = state.newest_snapshot_at {
            self.gauge("pillion_last_success_timestamp_seconds", at.timestamp_millis() as f64 / 1000.0);
        }
        if let Some(at) = state.next_run_at {
            self.gauge("pillion_next_run_timestamp_seconds", at.timestamp_millis() as f64 / 1000.0);
        }
    }

    fn of_runs(&self, state: &State) {
        let totals = &state.totals;
        let words: Vec<_> = totals
            .runs
            .iter()
            .map(|((kind, trigger, outcome), count)| {
                ((kind.to_string(), outcome.to_string()), *trigger, *count)
            })
            .collect();
        let runs = words.iter().map(|((kind, outcome), trigger, count)| {
            (vec![kind.as_str(), *trigger, outcome.as_str()], *count)
        });
        self.counters("pillion_runs_total", runs);
        let (options, labels) = options("pillion_run_seconds_total");
        let seconds = CounterVec::new(options, labels).expect("the name is one");
        for (kind, value) in &totals.seconds {
            seconds.with_label_values(&[kind.to_string().as_str()]).inc_by(*value);
        }
        self.register(seconds);
        self.last_run(state);
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

    fn last_run(&self, state: &State) {
        let (options, labels) = options("pillion_last_run_duration_seconds");
        let last = GaugeVec::new(options, labels).expect("the name is one");
        for run in &state.runs {
            last.with_label_values(&[run.kind.to_string().as_str()]).set(run.seconds());
        }
        self.register(last);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

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
        state.newest_snapshot_at = DateTime::from_timestamp_millis(1_500);
        assert!(text(&state).contains("\npillion_last_success_timestamp_seconds 1.5\n"));
    }
}
