//! The view against states made by hand.

use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use pillion_backend::measure::{Count, Listed};
use pillion_backend::{ErrorKind, FileKind, Operation};
use pillion_repository::cache::Usage;

use super::*;
use crate::agent::config::tests::resolve;
use crate::agent::history::Pause;
use crate::agent::record::{Changes, RunEnd};
use crate::agent::trigger::Trigger;

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
}

fn with_settings(more: &str) -> State {
    let yaml =
        format!("repository: /r\nsources: /s\nschedule: '0 * * * *'\nidentity: shop/deployment/web\n{more}");
    let planned = [Work::default(), Work::CHECK].map(|work| planned(work, None));
    State { config: Some(Arc::new(resolve(&yaml).unwrap())), planned: planned.into(), ..State::new(at(0)) }
}

fn planned(work: Work, newest_at: Option<DateTime<Utc>>) -> Planned {
    Planned { work, next_run_at: None, failures: 0, newest_at }
}

fn run(started_at: DateTime<Utc>, end: RunEnd) -> Arc<RunRecord> {
    let ended_at = started_at + TimeDelta::seconds(90);
    let (work, trigger) = (Work::default(), Trigger::Request);
    Arc::new(RunRecord { number: 1, work, trigger, requested_at: started_at, started_at, ended_at, end })
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
}

fn lacks(text: &str, words: &str) {
    assert!(!text.contains(words), "{words} is in\n{text}");
}

#[test]
fn the_readme_names_each_metric_and_no_other() {
    let readme = include_str!("../../../../../../README.md");
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
    for words in [
        "last_success",
        "next_run",
        "repository_size",
        "repository_locks",
        "store_up",
        "clock",
        "cache",
        "overdue",
    ] {
        lacks(&unknown, words);
    }
    has(&unknown, "pillion_config_valid 0");
    let files = Work::backup(Some("files".parse().unwrap()));
    state.planned.push(planned(files, DateTime::from_timestamp_millis(1_500)));
    has(&text(&state), "pillion_last_success_timestamp_seconds{kind=\"backup\",plan=\"files\"} 1.5");
}

#[test]
fn what_is_overdue_is_counted_from_the_last_success_or_the_start() {
    let state = with_settings("checkSchedule: '0 0 * * *'\n");
    for (now, work, newest_at, overdue) in [
        (at(0), Work::default(), None, 0.0),
        (at(3), Work::default(), None, 3.0),
        (at(5), Work::default(), Some(at(4)), 1.0),
        (at(5), Work::default(), Some(at(5)), 0.0),
        (at(5000), Work::default(), None, 100.0),
        (at(50), Work::CHECK, None, 2.0),
        (at(50), Work::CHECK, Some(at(25)), 1.0),
    ] {
        let state = State { at: now, ..state.clone() };
        assert_eq!(super::overdue(&state, &planned(work.clone(), newest_at)), Some(overdue), "{now} {work}");
    }
    assert_eq!(overdue(&State::new(at(0)), &planned(Work::default(), None)), None);
    assert_eq!(overdue(&with_settings(""), &planned(Work::CHECK, None)), None);
}

#[test]
fn the_newest_check_that_came_to_a_result_says_whether_the_repository_is_whole() {
    let mut state = with_settings("metricsCompat: stash\n");
    lacks(&text(&state), "pillion_repository_intact");
    for (outcome, intact) in
        [(Outcome::Complete, 1), (Outcome::Damaged, 0), (Outcome::Failed, 0), (Outcome::Complete, 1)]
    {
        let run = Arc::unwrap_or_clone(run(at(1), RunEnd::empty(outcome)));
        state.runs.push(Arc::new(RunRecord { work: Work::CHECK, ..run }));
        let shown = text(&state);
        has(&shown, &format!("pillion_repository_intact {intact}"));
        let stash = shown.lines().find(|line| line.starts_with("stash_repository_integrity{")).unwrap();
        assert!(stash.ends_with(&format!(" {intact}")), "{stash}");
    }
}

#[test]
fn a_restarted_agent_that_cannot_look_tells_the_success_that_it_has_a_record_of() {
    let state =
        State { runs: vec![run(at(7), RunEnd::empty(Outcome::Complete))], at: at(9), ..with_settings("") };
    lacks(&text(&state), "last_success");
    let pause = Some(Pause { since: at(8), until: None });
    let away = Some("away".to_owned());
    for state in [State { pause, ..state.clone() }, State { repository_problem: away, ..state.clone() }] {
        has(
            &text(&state),
            &format!("pillion_last_success_timestamp_seconds{{kind=\"backup\"}} {}", 7 * 3600),
        );
        has(&text(&state), "pillion_overdue_runs{kind=\"backup\"} 2");
    }
}

#[test]
fn the_outcome_of_the_newest_run_is_one_and_all_others_are_zero() {
    let mut state = with_settings("");
    state.runs = vec![
        run(at(1), RunEnd::empty(Outcome::Complete)),
        run(at(2), RunEnd::failed("no", None)),
        run(at(3), RunEnd::stopped()),
    ];
    let shown = text(&state);
    has(&shown, "pillion_last_run_outcome{kind=\"backup\",outcome=\"Failed\"} 1");
    has(&shown, "pillion_last_run_duration_seconds{kind=\"backup\"} 90");
    let zeros =
        shown.lines().filter(|line| line.starts_with("pillion_last_run_outcome") && line.ends_with(" 0"));
    assert_eq!(zeros.count(), Outcome::ALL.len() - 1);
}

#[test]
fn what_the_store_was_asked_and_is_known_to_hold_is_told() {
    let mut state = with_settings("");
    let mut end = RunEnd::empty(Outcome::Complete);
    end.repository_bytes = Some(4096);
    state.runs = vec![run(at(1), end)];
    let vitals = &mut state.vitals;
    let mut count = Count { calls: 3, bytes: 50, time: Duration::from_millis(700), ..Count::default() };
    count.by_step[0] = 1;
    count.by_step[5] = 1;
    count.errors.insert(ErrorKind::Throttled, 2);
    vitals.asked.0.insert((Operation::Save, Some(FileKind::Pack)), count.clone());
    vitals.asked.0.insert((Operation::Save, Some(FileKind::Index)), count);
    vitals.answers = Some(false);
    vitals.store_seconds_ahead = Some(-2.5);
    vitals.cache = Some(Usage { kept_bytes: 10, spool_bytes: 20, max_bytes: 100 });
    vitals.stuck_sources = vec!["/s".into()];
    vitals
        .listed
        .insert(FileKind::Lock, Listed { files: 1, at: SystemTime::UNIX_EPOCH + Duration::from_secs(60) });
    let shown = text(&state);
    for line in [
        "pillion_store_requests_total{file=\"pack\",operation=\"save\"} 3",
        "pillion_store_bytes_total{file=\"index\",operation=\"save\"} 50",
        "pillion_store_errors_total{operation=\"save\",reason=\"throttled\"} 4",
        "pillion_store_request_duration_seconds_bucket{operation=\"save\",le=\"0.005\"} 2",
        "pillion_store_request_duration_seconds_bucket{operation=\"save\",le=\"0.5\"} 4",
        "pillion_store_request_duration_seconds_bucket{operation=\"save\",le=\"+Inf\"} 6",
        "pillion_store_request_duration_seconds_sum{operation=\"save\"} 1.4",
        "pillion_store_request_duration_seconds_count{operation=\"save\"} 6",
        "pillion_store_up 0",
        "pillion_store_clock_ahead_seconds -2.5",
        "pillion_cache_bytes{use=\"kept\"} 10",
        "pillion_cache_bytes{use=\"spool\"} 20",
        "pillion_cache_budget_bytes 100",
        "pillion_stuck_sources 1",
        "pillion_repository_size_bytes 4096",
        "pillion_repository_seen_timestamp_seconds{what=\"size\"} 3690",
        "pillion_repository_locks 1",
        "pillion_repository_seen_timestamp_seconds{what=\"locks\"} 60",
        "pillion_mode{mode=\"active\"} 1",
        "pillion_agent_info{host=\"host-0\",identity=\"shop/deployment/web\"} 1",
    ] {
        has(&shown, line);
    }
    lacks(&shown, "pillion_repository_snapshots");
    lacks(&shown, "stash_");
}

#[test]
fn the_names_and_labels_of_stash_are_there_for_who_asks_for_them() {
    let mut state = with_settings("metricsCompat: stash\n");
    let mut end = RunEnd::empty(Outcome::Complete);
    (end.files_processed, end.bytes_processed, end.bytes_added) = (7, 70, 20);
    end.files = Changes { new: 1, changed: 2, unmodified: 4 };
    end.repository_bytes = Some(4096);
    state.runs = vec![run(at(1), end), run(at(2), RunEnd::failed("no", None))];
    state.vitals.listed.insert(FileKind::Snapshot, Listed { files: 3, at: SystemTime::UNIX_EPOCH });
    let shown = text(&state);
    let session = "driver=\"Restic\",invoker_kind=\"BackupConfiguration\",invoker_name=\"deployment-web\"";
    let target = format!(
        "{session},kind=\"Deployment\",name=\"web\",namespace=\"shop\",repository=\"deployment-web\""
    );
    let target = target.replace("driver=\"Restic\",", "driver=\"Restic\",group=\"apps\",");
    let host = target.replace("group=\"apps\",", "group=\"apps\",hostname=\"host-0\",");
    let session = format!("{session},namespace=\"shop\",repository=\"deployment-web\"");
    let repository = "backend=\"local\",bucket=\"/r\",driver=\"Restic\",invoker_kind=\"BackupConfiguration\",\
                      invoker_name=\"deployment-web\",name=\"deployment-web\",namespace=\"shop\",\
                      repository=\"deployment-web\"";
    for line in [
        format!("stash_appscode_com_backupsession_success{{{session}}} 0"),
        format!("stash_backup_session_success{{{session}}} 0"),
        format!("stash_appscode_com_backupsession_duration_seconds{{{session}}} 90"),
        format!("stash_backup_session_duration_seconds{{{session}}} 90"),
        format!("stash_backup_last_success_time_seconds{{{session}}} 3690"),
        format!("stash_backup_target_success{{{target}}} 0"),
        format!("stash_appscode_com_backupsession_target_last_success_time_seconds{{{target}}} 3690"),
        format!("stash_appscode_com_backupsession_host_data_uploaded_bytes{{{host}}} 20"),
        format!("stash_backup_host_files_modified{{{host}}} 2"),
        format!("stash_appscode_com_repository_size_bytes{{{repository}}} 4096"),
        format!("stash_repository_snapshot_count{{{repository}}} 3"),
    ] {
        has(&shown, &line);
    }
    lacks(&shown, "snapshot_cleaned");
    lacks(&shown, "restore");
}
