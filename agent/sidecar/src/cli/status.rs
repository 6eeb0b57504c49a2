//! `pillion status`: how the running agent is.

use super::client::{self, Client};
use super::failure::Failure;
use super::output::format::{self, DisplayZone};
use super::output::{Output, Style};
use super::{global, runs};
use crate::agent::view::status::{Run, Status};
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
            lines.push(format!("protects   {}", protects.sources.join(", ")));
            lines.push(format!("in         {}", protects.repository));
            lines.push(format!("schedule   {} ({})", protects.schedule, protects.time_zone));
        }
        None => lines.push("protects   nothing: there are no good settings".to_owned()),
    }
    let problems = status.settings.problems.iter();
    lines.extend(problems.map(|problem| format!("settings   refused: {problem}")));
    lines.extend(status.repository_problem.iter().map(|problem| format!("repository {problem}")));
    lines.push(match status.newest_snapshot_at {
        Some(at) => format!("snapshot   {}", runs::time(at, zone)),
        None => "snapshot   none is known".to_owned(),
    });
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
    lines.push(match (status.pause, status.next_run_at) {
        (Some(pause), _) => match pause.until {
            Some(until) => format!("paused     until {}", runs::time(until, zone)),
            None => "paused     until somebody resumes".to_owned(),
        },
        (None, Some(at)) => format!("next run   {}", runs::time(at, zone)),
        (None, None) => "next run   none".to_owned(),
    });
    for listener in &status.listeners {
        lines.extend(
            listener.problem.iter().map(|problem| format!("listener   {}: {problem}", listener.place)),
        );
    }
    lines
}
