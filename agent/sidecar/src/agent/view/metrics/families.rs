//! Metrics as the text format wants them. What has no value is left out.

use pillion_backend::measure::{Count, STEPS_MS};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::table::TABLE;

#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    pub(super) fn text(self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0, &mut text).expect("memory takes everything");
        String::from_utf8(text).expect("the text format is UTF-8")
    }

    pub(super) fn gauge(&mut self, name: &str, value: impl Into<Option<f64>>) {
        self.gauges(name, value.into().map(|value| (vec![], value)));
    }

    pub(super) fn gauges<'a>(&mut self, name: &str, values: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        self.known(name, MetricType::GAUGE, values.into_iter().map(|(labels, value)| (labels, gauge(value))));
    }

    pub(super) fn counter(&mut self, name: &str, value: u64) {
        self.counters(name, [(vec![], value as f64)]);
    }

    pub(super) fn counters<'a>(&mut self, name: &str, values: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        let metric = |value| {
            let (mut counter, mut metric) = (Counter::default(), Metric::default());
            counter.set_value(value);
            metric.set_counter(counter);
            metric
        };
        self.known(
            name,
            MetricType::COUNTER,
            values.into_iter().map(|(labels, value)| (labels, metric(value))),
        );
    }

    pub(super) fn histograms<'a>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = (Vec<&'a str>, Count)>,
    ) {
        let metrics = values.into_iter().map(|(labels, count)| (labels, histogram(&count)));
        self.known(name, MetricType::HISTOGRAM, metrics);
    }

    /// A gauge that is none of ours, with labels of its own.
    pub(super) fn foreign_gauge(&mut self, name: String, help: &str, labels: &[(&str, String)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.add(name, help, MetricType::GAUGE, vec![labelled(gauge(value), labels)]);
    }

    fn known<'a>(
        &mut self,
        name: &str,
        kind: MetricType,
        metrics: impl IntoIterator<Item = (Vec<&'a str>, Metric)>,
    ) {
        let (_, help, names) = TABLE.iter().find(|(known, ..)| *known == name).expect("it is in the table");
        let metrics = metrics.into_iter().map(|(values, metric)| {
            assert_eq!(names.len(), values.len(), "each label of {name} has a value");
            labelled(metric, names.iter().copied().zip(values).collect())
        });
        self.add(name.to_owned(), help, kind, metrics.collect());
    }

    fn add(&mut self, name: String, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

/// A label without a value is none.
fn labelled(mut metric: Metric, mut labels: Vec<(&str, &str)>) -> Metric {
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort_unstable();
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    metric.set_label(labels.into_iter().map(pair).collect());
    metric
}

fn gauge(value: f64) -> Metric {
    let (mut gauge, mut metric) = (Gauge::default(), Metric::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn histogram(count: &Count) -> Metric {
    let mut cumulative = 0;
    let buckets = STEPS_MS.iter().zip(count.by_step).map(|(step_ms, calls)| {
        cumulative += calls;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*step_ms as f64 / 1000.0);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let (mut histogram, mut metric) = (Histogram::default(), Metric::default());
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count.calls);
    histogram.set_sample_sum(count.time.as_secs_f64());
    metric.set_histogram(histogram);
    metric
}
