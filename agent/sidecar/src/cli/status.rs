//! `pillion status`: how the running agent is.

use chrono::{DateTime, Utc};

use super::client::{self, Client};
use super::failure::Failure;
use super::output::format::{self, DisplayZone};
use super::output::{Output, Style};
use super::{global, runs};
use crate::agent::config::Mode;
use crate::agent::view::status::{Run, Status, Times};
use crate::environment::Environment;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub client: client::Options,
}

pub fn run(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    let status: Status = Client::new(&options.client, global, environment)?.read("/v1/status")?;
    match output.style {
        Style::Json => output.json(&status),
        Style::Text => lines(&status, &output.zone).iter().for_each(|line| output.line(line)),
    }
    Ok(())
}

fn lines(status: &Status, zone: &DisplayZone) -> Vec<String> {
    let mut lines = Vec::new();
    match &status.protects {
        Some(protects) => {
            lines.push(format!("repository {}", protects.repository));
            for plan in &protects.plans {
                let name = plan.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
                lines.push(format!("protects   {name}{}", plan.sources.join(", ")));
                lines.extend(times(&plan.times, "snapshot", status, zone));
            }
            if let Some(check) = &protects.check {
                lines.push("checks     the repository".to_owned());
                lines.extend(times(check, "newest", status, zone));
            }
        }
        None => lines.push("protects   nothing: there are no good settings".to_owned()),
    }
    let problems = status.settings.problems.iter();
    lines.extend(problems.map(|problem| format!("settings   refused: {problem}")));
    lines.extend(status.repository_problem.iter().map(|problem| format!("problem    {problem}")));
    let away = status.store_away_since.iter();
    lines.extend(
        away.map(|since| format!("away       the store does not answer since {}", runs::time(*since, zone))),
    );
    let stuck = status.stuck_sources.iter();
    lines.extend(stuck.map(|source| format!("stuck      {source} does not answer")));
    if let Some(Run::Ended(record)) = &status.last_run {
        let message = if record.end.message.is_empty() { "" } else { ": " };
        lines.push(format!(
            "last run   {}, {}{message}{}",
            record.number, record.end.outcome, record.end.message
        ));
    }
    if let Some(run @ Run::Running { progress, .. }) = &status.running {
        let done = format::percent(progress.bytes_done, progress.bytes_total);
        lines.push(format!("running    {} {done}", run.number()).trim_end().to_owned());
    }
    lines.extend(status.queued.iter().map(|run| format!("waiting    {}", run.number())));
    if status.mode != Mode::Active {
        lines.push(format!("mode       {}, as the settings say", status.mode));
    }
    lines.extend(status.pause.iter().map(|pause| match pause.until {
        Some(until) => format!("paused     until {}", runs::time(until, zone)),
        None => "paused     until somebody resumes".to_owned(),
    }));
    for listener in &status.listeners {
        lines.extend(
            listener.problem.iter().map(|problem| format!("listener   {}: {problem}", listener.place)),
        );
    }
    lines
}

fn times(times: &Times, newest: &str, status: &Status, zone: &DisplayZone) -> Vec<String> {
    let known = |at: Option<DateTime<Utc>>| at.map(|at| runs::time(at, zone));
    let newest_at = known(times.newest_at).unwrap_or_else(|| "none is known".to_owned());
    let mut lines = vec![
        format!("  schedule {} ({})", times.schedule, times.time_zone),
        format!("  {newest:<8} {newest_at}"),
    ];
    if status.pause.is_none() && status.mode == Mode::Active {
        lines.push(format!("  next run {}", known(times.next_run_at).unwrap_or_else(|| "none".to_owned())));
    }
    if times.failures > 0 {
        lines.push(format!("  failed   {} times one after another", times.failures));
    }
    lines
}
