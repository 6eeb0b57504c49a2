//! What watches an agent: a real Prometheus that scrapes it, promtool, and the alerts, dashboard and runbook in
//! `manifests/monitoring`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::DateTime;
use pillion::agent::record::Outcome;
use pillion::agent::view::metrics::TABLE;
use pillion_e2e::servers::{Kind, Prometheus, Security, promtool, shared};
use serde_json::Value;

use crate::agent::{Agent, snapshots, wait_until};
use crate::control::Listening;
use crate::scene::Scene;
use crate::stores::Store;

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../manifests/monitoring")
        .join(name)
        .canonicalize()
        .unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(manifest(name)).unwrap()
}

/// The rules of `alerts.yaml`.
fn alerts() -> Vec<Value> {
    let file: Value = serde_norway::from_str(&text("alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// What the dashboard asks, for whichever agents.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expression = |target: &Value| target["expr"].as_str().unwrap().to_owned();
    let filled = |text: String| {
        let text = text.replace("$job", ".*").replace("$instance", ".*");
        text.replace("$__rate_interval", "1m")
    };
    targets.map(expression).map(filled).collect()
}

/// The metrics that a text names, the series of a histogram by its own name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let bare = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"].into_iter();
        ends.filter_map(|end| word.strip_suffix(end)).next().unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("pillion_")).map(bare).collect()
}

/// Runs it with that input; it has to succeed, and its words are returned.
fn judged(command: &mut Command, input: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8(words).unwrap();
    assert!(output.status.success(), "{words}");
    words
}

#[test]
fn prometheus_scrapes_an_agent_and_has_an_answer_to_all_that_dashboard_and_alerts_ask() {
    let store = Store::new(shared(Kind::Versity, Security::Tls));
    let scene = Scene::new();
    let config = Listening::settings(&scene, "identity: shop/deployment/web, checkSchedule: '0 0 1 1 *'");
    let own = format!("repository: {},", scene.path("agents").display());
    let settings = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, settings.replace(&own, &format!("repository: '{}',", store.location()))).unwrap();
    let mut agent = Agent::spawn(Agent::command(&scene, &["--config", &config]).envs(store.variables()));
    agent.wait_for("run ended");
    let agent = Listening::of(scene, agent);
    let metrics = || agent.public("GET /metrics").body;
    wait_until(|| metrics().contains("pillion_runs_total"));
    let socket = agent.scene.path("cache/control.sock");
    agent.scene.ok(&["trigger", "--check", "--wait", "--socket", socket.to_str().unwrap()]);

    assert_eq!(
        judged(promtool().args(["check", "metrics"]), &metrics()),
        "",
        "it has nothing to complain of"
    );
    let all: BTreeSet<String> = TABLE.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let told = named(&metrics());
    let lacking: Vec<_> = all.difference(&told).collect();
    assert_eq!(lacking, ["pillion_skipped_total"], "nothing was left out, and all else is known");

    let prometheus = Prometheus::start(&[&agent.public], &manifest("alerts.yaml"));
    wait_until(|| prometheus.value("up{job=\"pillion\"}") == Some(1.0));
    assert_eq!(prometheus.value("pillion_runs_total{kind=\"backup\", outcome=\"Complete\"}"), Some(1.0));
    assert_eq!(prometheus.value("pillion_repository_intact"), Some(1.0));
    assert_eq!(prometheus.value("pillion_repository_snapshots"), Some(1.0));
    assert_eq!(prometheus.value("pillion_repository_locks"), Some(0.0), "its own has gone");
    assert_eq!(
        prometheus.value("pillion_store_requests_total{operation=\"save\", file=\"snapshot\"}"),
        Some(1.0)
    );
    // A rate needs two scrapes.
    for query in dashboard_queries() {
        let has_an_answer = named(&query).is_subset(&told);
        wait_until(|| prometheus.query(&query).is_empty() != has_an_answer);
    }
    for alert in alerts() {
        let fires = prometheus.query(alert["expr"].as_str().unwrap());
        assert_eq!(fires, [Value::Null; 0], "{}: nothing is wrong", alert["alert"]);
    }
    // One that went away is missed.
    assert_eq!(agent.agent.end(), Some(0));
    let down = alerts().into_iter().find(|alert| alert["alert"] == "PillionDown").unwrap();
    wait_until(|| !prometheus.query(down["expr"].as_str().unwrap()).is_empty());
}

#[test]
fn a_restarted_agent_without_its_cache_tells_the_time_of_its_newest_snapshot_and_runs_nothing() {
    let scene = Scene::new();
    let config = Listening::settings(&scene, "");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    std::fs::remove_dir_all(scene.path("cache")).unwrap();

    let agent = Agent::start(&scene, &["--config", &config]);
    let agent = Listening::of(scene, agent);
    let metric = |name: &str| {
        let body = agent.public("GET /metrics").body;
        body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    let newest = "pillion_last_success_timestamp_seconds{kind=\"backup\"}";
    wait_until(|| metric(newest).is_some());
    let taken = snapshots(&agent.scene);
    let time = DateTime::parse_from_rfc3339(taken[0]["time"].as_str().unwrap()).unwrap();
    let seconds = time.timestamp_millis() as f64 / 1000.0;
    assert_eq!(metric(newest), Some(seconds));
    assert_eq!(metric("pillion_repository_snapshots"), Some(1.0));
    assert_eq!(metric("pillion_overdue_runs{kind=\"backup\"}"), Some(0.0));
    assert!(
        !agent.public("GET /metrics").body.contains("pillion_repository_size_bytes"),
        "nobody has seen it"
    );
    assert_eq!((taken.len(), metric("pillion_running")), (1, Some(0.0)));
}

#[test]
fn promtool_takes_the_alerts_and_they_fire_and_end_when_they_should() {
    let rules = judged(promtool().args(["check", "rules"]).arg(manifest("alerts.yaml")), "");
    assert!(rules.contains(&format!("{} rules found", alerts().len())), "{rules}");
    let tests = judged(promtool().args(["test", "rules"]).arg(manifest("alerts_test.yaml")), "");
    assert!(tests.contains("SUCCESS"), "{tests}");
}

#[test]
fn whatever_is_asked_in_alerts_and_dashboard_is_a_metric_and_the_dashboard_shows_all() {
    let all: BTreeSet<String> = TABLE.iter().map(|(name, ..)| (*name).to_owned()).collect();
    for file in ["alerts.yaml", "alerts_test.yaml", "RUNBOOK.md"] {
        let unknown: Vec<_> = named(&text(file)).difference(&all).cloned().collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    assert_eq!(named(&dashboard_queries().join("\n")), all);
}

#[test]
fn the_runbook_has_a_line_for_each_alert_and_each_outcome_and_no_other() {
    let (runbook, tests) = (text("RUNBOOK.md"), text("alerts_test.yaml"));
    let lines = |begin: &str| -> Vec<String> {
        let lines = runbook.lines().filter_map(|line| line.strip_prefix(begin));
        lines.map(|line| line.split(['"', '`']).next().unwrap().to_owned()).collect()
    };
    let names: Vec<String> =
        alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(lines("| <a id=\""), names);
    for (name, alert) in names.iter().zip(alerts()) {
        assert_eq!(alert["annotations"]["runbook"], format!("RUNBOOK.md#{name}"));
        assert!(["critical", "warning", "info"].contains(&alert["labels"]["severity"].as_str().unwrap()));
        assert!(tests.contains(name), "{name} is not tested");
    }
    let outcomes: Vec<String> = Outcome::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(lines("| `"), outcomes);
}

#[test]
fn the_names_of_stash_are_an_option_and_a_setting() {
    let scene = Scene::new();
    let config = Listening::settings(&scene, "");
    let checked =
        |more: &[&str]| scene.ok(&[&["agent", "--config", &config, "--check-config"], more].concat());
    assert!(checked(&[]).contains("metricsCompat: off"));
    assert!(checked(&["--metrics-compat=stash"]).contains("metricsCompat: stash"));
    let refused =
        scene.fails(1, &["agent", "--config", &config, "--check-config", "--metrics-compat=velero"]);
    assert!(refused.contains("metricsCompat: \"velero\" is neither off nor stash"), "{refused}");
}
