//! The status page: one document made of the status and the records, that needs nothing from elsewhere.
//!
//! Whatever comes from a file system or a store is text and never markup: the templates escape it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::status::{Plan, Run, Status, Times};
use crate::agent::config::Mode;
use crate::agent::history::MAX_RUNS;
use crate::agent::record::{Outcome, RunRecord};
use crate::cli::output::format;

pub const STYLE: &str = include_str!("page.css");
pub const SCRIPT: &str = include_str!("page.js");

/// Nothing from elsewhere, and no page around this one.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The whole page.
pub fn page(status: &Status, runs: &[Arc<RunRecord>]) -> String {
    let title = status
        .protects
        .as_ref()
        .map_or("no settings", |protects| protects.identity.as_deref().unwrap_or(&protects.host));
    document(
        title,
        &html! {
            main data-form=(status.form) {
                header {
                    h1 { "Pillion" }
                    span { (title) }
                    @if let Some(Run::Ended(run)) = &status.last_run {
                        span class={ "badge " (class(run.end.outcome)) } { (run.end.outcome) }
                    }
                    span #told .bad role="status" {}
                }
                (problems(status))
                (protects(status))
                @if let Some(running) = &status.running { (progress(running)) }
                @if let Some(Run::Ended(run)) = &status.last_run { (left_out(run)) }
                (history(runs))
                footer .soft { "pillion " (status.version) ", running since " (time(status.started_at)) }
            }
        },
    )
}

/// What is shown to who has shown no token.
pub fn login() -> String {
    document(
        "token",
        &html! {
            main {
                header { h1 { "Pillion" } span #told .bad role="status" {} }
                section {
                    form #login {
                        label { "Token " input name="token" type="password" autocomplete="current-password" required; }
                        " "
                        button { "Open" }
                    }
                }
            }
        },
    )
}

fn document(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Pillion: " (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body { (body) }
        }
    }
    .into_string()
}

fn problems(status: &Status) -> Markup {
    let settings = status.settings.problems.iter().map(|problem| format!("settings: {problem}"));
    let away = status
        .store_away_since
        .map(|since| format!("the store does not answer since {}", since.format("%F %T UTC")));
    let repository = status.repository_problem.iter().cloned().chain(away);
    let stuck = status.stuck_sources.iter().map(|source| format!("stuck: {source} does not answer"));
    let listeners = status
        .listeners
        .iter()
        .filter_map(|listener| Some(format!("{}: {}", listener.place, listener.problem.as_ref()?)));
    let problems: Vec<String> = settings.chain(repository).chain(stuck).chain(listeners).collect();
    html! {
        @if !problems.is_empty() {
            section .problems {
                h2 { "To be looked at" }
                ul { @for problem in &problems { li { (problem) } } }
            }
        }
    }
}

fn protects(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Protected" }
            dl {
                @match &status.protects {
                    Some(protects) => {
                        dt { "Repository" } dd { (protects.repository) }
                        @for plan in &protects.plans { (planned(plan)) }
                        @if let Some(check) = &protects.check {
                            dt { "Checks" } dd { (times(check, "Last")) }
                        }
                    }
                    None => { dt { "Sources" } dd .bad { "none: there are no good settings" } }
                }
                @if status.mode != Mode::Active {
                    dt { "Mode" } dd .warn { (status.mode) }
                }
                @if let Some(pause) = &status.pause {
                    dt { "Paused" }
                    dd .warn { @match pause.until { Some(until) => { "until " (time(until)) }, None => "until somebody resumes" } }
                }
                @if !status.queued.is_empty() {
                    dt { "Waiting" } dd { (status.queued.len()) }
                }
            }
            div .actions {
                @for plan in status.protects.iter().flat_map(|protects| &protects.plans) {
                    @match &plan.name {
                        Some(name) => button data-method="POST" data-path={ "/v1/backups?plan=" (name) } { "Back up " (name) " now" },
                        None => button data-method="POST" data-path="/v1/backups" { "Back up now" },
                    }
                }
                @if status.protects.as_ref().is_some_and(|protects| protects.check.is_some()) {
                    button data-method="POST" data-path="/v1/checks" { "Check now" }
                }
                @if status.pause.is_some() {
                    button data-method="POST" data-path="/v1/resume" { "Resume" }
                } @else {
                    button data-method="POST" data-path="/v1/pause?for=1h" { "Pause for an hour" }
                }
            }
        }
    }
}

fn planned(plan: &Plan) -> Markup {
    html! {
        dt { @match &plan.name { Some(name) => (name), None => "Sources" } }
        dd { @for source in &plan.sources { div { (source) } } (times(&plan.times, "Newest snapshot")) }
    }
}

fn times(times: &Times, newest: &str) -> Markup {
    html! {
        div { (times.schedule) " (" (times.time_zone) ")" }
        div {
            (newest) ": "
            @match times.newest_at { Some(at) => (time(at)), None => span .warn { "none is known" } }
        }
        div {
            "Next run: "
            @match times.next_run_at { Some(at) => (time(at)), None => "none" }
            @if times.failures > 0 { span .warn { " (" (times.failures) " failed one after another)" } }
        }
    }
}

fn progress(running: &Run) -> Markup {
    let Run::Running { progress, .. } = running else { return html! {} };
    let known = (progress.bytes_total > 0)
        .then(|| (progress.bytes_done.min(progress.bytes_total), progress.bytes_total));
    html! {
        section {
            h2 { "Run " (running.number()) " is under way" }
            progress value=[known.map(|(done, _)| done)] max=[known.map(|(_, total)| total)] aria-label="progress" {}
            div #done { (progress.files_done) " files, " (format::bytes(progress.bytes_done)) }
            div .actions {
                button data-method="DELETE" data-path={ "/v1/runs/" (running.number()) } { "Cancel" }
            }
        }
    }
}

fn left_out(run: &RunRecord) -> Markup {
    let end = &run.end;
    html! {
        @if !end.faulty_entries.is_empty() {
            section .left {
                h2 { "Not as it is in the snapshot of run " (run.number) }
                p {
                    (end.skipped) " left out, " (end.torn) " changed while they were read, " (end.vanished)
                    " gone before they could be read"
                }
                ul {
                    @for entry in &end.faulty_entries {
                        li { code { (entry.path) } " " (entry.fault) @if !entry.reason.is_empty() { ": " (entry.reason) } }
                    }
                }
            }
        }
    }
}

fn history(runs: &[Arc<RunRecord>]) -> Markup {
    let seconds: Vec<f64> = runs.iter().map(|run| run.seconds()).collect();
    let added: Vec<f64> = runs.iter().map(|run| run.end.bytes_added as f64).collect();
    let longest = format!("{:.1} s", seconds.iter().copied().fold(0.0, f64::max));
    let most = format::bytes(runs.iter().map(|run| run.end.bytes_added).max().unwrap_or(0));
    html! {
        section {
            h2 { "Runs" }
            @if runs.is_empty() { p .soft { "None has ended yet." } } @else {
                div .plots {
                    (bars(&format!("Duration, at most {longest}"), runs, &seconds))
                    (bars(&format!("Added, at most {most}"), runs, &added))
                    (size(runs))
                }
                (table(runs))
            }
        }
    }
}

/// In the plots' own unit, of which a run takes ten.
const WIDTH: usize = MAX_RUNS * 10;

/// Where the run at that position begins: the newest is at the right, and a few look like a few.
fn left(runs: &[Arc<RunRecord>], position: usize) -> usize {
    (MAX_RUNS + position).saturating_sub(runs.len()) * 10
}

/// A bar for each run.
fn bars(caption: &str, runs: &[Arc<RunRecord>], values: &[f64]) -> Markup {
    let max = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " 100" } preserveAspectRatio="none" role="img" aria-label=(caption) {
                @for (position, (run, value)) in runs.iter().zip(values).enumerate() {
                    // One that took no time is to be seen too.
                    @let height = (value / max * 100.0).max(1.0);
                    rect class=(class(run.end.outcome)) x=(left(runs, position) + 1) width="8" y=(format!("{:.2}", 100.0 - height))
                        height=(format!("{height:.2}")) {
                        title { "run " (run.number) ", " (time(run.started_at)) ": " (run.end.outcome) }
                    }
                }
            }
            figcaption { (caption) }
        }
    }
}

fn size(runs: &[Arc<RunRecord>]) -> Markup {
    let sizes: Vec<(usize, u64)> = runs
        .iter()
        .enumerate()
        .filter_map(|(position, run)| Some((position, run.end.repository_bytes?)))
        .collect();
    let Some((_, newest)) = sizes.last() else { return html! {} };
    let max = sizes.iter().map(|(_, bytes)| *bytes).max().unwrap_or(1).max(1) as f64;
    let point = |(position, bytes): &(usize, u64)| {
        format!("{},{:.2}", left(runs, *position) + 5, 100.0 - *bytes as f64 / max * 96.0)
    };
    let mut points: Vec<String> = sizes.iter().map(point).collect();
    // A line needs two ends.
    if let [only] = &points[..] {
        points = vec![format!("0,{}", only.split_once(',').map_or("", |(_, y)| y)), only.clone()];
    }
    let caption = format!("Repository, now {}", format::bytes(*newest));
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " 100" } preserveAspectRatio="none" role="img" aria-label=(caption) {
                polyline points=(points.join(" ")) {}
            }
            figcaption { (caption) }
        }
    }
}

fn table(runs: &[Arc<RunRecord>]) -> Markup {
    html! {
        div .scroll {
            table {
                thead { tr { th { "Run" } th { "Begun" } th { "Took" } th { "Why" } th { "Outcome" } th { "Snapshot" }
                    th { "New" } th { "Changed" } th { "Added" } th {} } }
                tbody {
                    @for run in runs.iter().rev() {
                        @let end = &run.end;
                        tr {
                            td { (run.number) }
                            td { (time(run.started_at)) }
                            td { (format!("{:.1} s", run.seconds())) }
                            td { (run.work) ", " (run.trigger.label()) }
                            td class=(class(end.outcome)) { (end.outcome) }
                            td { code { (end.snapshot.as_deref().and_then(|id| id.get(..8)).unwrap_or_default()) } }
                            td { (end.files.new) }
                            td { (end.files.changed) }
                            td { (format::bytes(end.bytes_added)) }
                            td .message { (end.message) @if let Some(hint) = &end.hint { " (" (hint) ")" } }
                        }
                    }
                }
            }
        }
    }
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "good",
        Outcome::Incomplete => "warn",
        Outcome::Damaged | Outcome::Failed | Outcome::RepositoryReplaced => "bad",
        Outcome::Stopped | Outcome::Cancelled => "soft",
    }
}

fn time(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (at.format("%F %T UTC")) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::record::{Fault, FaultyEntry, RunEnd, Work};
    use crate::agent::state::State;
    use crate::agent::trigger::Trigger;
    use crate::agent::vitals::Vitals;

    #[test]
    fn what_comes_from_a_file_system_is_text_and_never_markup() {
        let at = DateTime::UNIX_EPOCH;
        let evil = "<script>alert(1)</script>\" onload=\"x";
        let entry = FaultyEntry { fault: Fault::Skipped, path: evil.to_owned(), reason: evil.to_owned() };
        let end =
            RunEnd { faulty_entries: vec![entry], repository_bytes: Some(7), ..RunEnd::failed(evil, None) };
        let (work, trigger) = (Work::default(), Trigger::First);
        let run = RunRecord { number: 1, work, trigger, requested_at: at, started_at: at, ended_at: at, end };
        let vitals = Vitals { stuck_sources: vec![evil.into()], ..Vitals::default() };
        let state = State { runs: vec![Arc::new(run)], vitals, ..State::new(at) };
        let page = page(&Status::of(&state, &[]), &state.runs);
        assert!(!page.contains("<script>") && !page.contains("onload=\"x"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 4, "{page}");
        assert!(page.contains("no good settings") && page.contains("Repository, now"), "{page}");
    }
}
