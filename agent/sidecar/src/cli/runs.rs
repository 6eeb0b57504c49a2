//! `pillion runs` and `pillion cancel`: the runs of the running agent.

use chrono::{DateTime, Utc};
use hyper::Method;
use pillion_repository::format::time::Timestamp;

use super::client::{self, Client};
use super::failure::Failure;
use super::global;
use super::output::format::{self, DisplayZone};
use super::output::table::Table;
use super::output::{Output, Style};
use crate::agent::record::{Checked, RunRecord};
use crate::agent::view::status::Run;
use crate::environment::Environment;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub client: client::Options,
    /// Show this run and all that is known of it
    pub number: Option<u64>,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct CancelOptions {
    #[command(flatten)]
    pub client: client::Options,
    /// The run to end, or to take out of the queue
    pub number: u64,
}

pub fn run(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    let client = Client::new(&options.client, global, environment)?;
    if let Some(number) = options.number {
        let run: Run = client.read(&format!("/v1/runs/{number}"))?;
        match (output.style, &run) {
            (Style::Json, _) => output.json(&run),
            (Style::Text, Run::Ended(record)) => output.text(&describe(record, &output.zone)),
            (Style::Text, _) => output.text(&table(&[run], &output.zone)),
        }
        return Ok(());
    }
    let runs: Vec<Run> = client.read("/v1/runs")?;
    match output.style {
        Style::Json => output.json(&runs),
        Style::Text => output.text(&table(&runs, &output.zone)),
    }
    Ok(())
}

pub fn cancel(
    options: &CancelOptions,
    global: &global::Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let client = Client::new(&options.client, global, environment)?;
    client.change(&Method::DELETE, &format!("/v1/runs/{}", options.number)).map(drop)
}

fn table(runs: &[Run], zone: &DisplayZone) -> String {
    let mut table =
        Table::new(vec!["Run", "Begun", "Took", "Work", "Trigger", "Outcome", "Snapshot", "Added"]);
    for run in runs {
        let number = run.number().to_string();
        let blank = String::new;
        table.add(match run {
            Run::Queued(queued) => {
                vec![
                    number,
                    blank(),
                    blank(),
                    queued.work.to_string(),
                    queued.trigger.to_string(),
                    "waits".to_owned(),
                    blank(),
                    blank(),
                ]
            }
            Run::Running { queued, started_at, progress } => {
                let done = format::percent(progress.bytes_done, progress.bytes_total);
                let begun = time(*started_at, zone);
                let trigger = queued.trigger.to_string();
                vec![
                    number,
                    begun,
                    blank(),
                    queued.work.to_string(),
                    trigger,
                    format!("runs {done}").trim().to_owned(),
                    blank(),
                    blank(),
                ]
            }
            Run::Ended(record) => vec![
                number,
                time(record.started_at, zone),
                took(record),
                record.work.to_string(),
                record.trigger.to_string(),
                record.end.outcome.to_string(),
                short(record).to_owned(),
                format::bytes(record.end.bytes_added),
            ],
        });
    }
    table.render(&[])
}

/// Everything a record says, a line each.
pub fn describe(record: &RunRecord, zone: &DisplayZone) -> String {
    let end = &record.end;
    let files = &end.files;
    let mut lines = vec![
        format!("run {}: {} ({}, {})", record.number, end.outcome, record.work, record.trigger),
        format!("  begun {}, took {}", time(record.started_at, zone), took(record)),
    ];
    if end.snapshot.is_some() {
        lines.push(format!("  snapshot {}", short(record)));
        lines.push(format!(
            "  files: {} new, {} changed, {} unmodified; {} in all, {} added",
            files.new,
            files.changed,
            files.unmodified,
            format::bytes(end.bytes_processed),
            format::bytes(end.bytes_added),
        ));
    }
    if let Some(Checked { snapshots, packs, packs_read, group, groups, .. }) = end.checked.as_deref() {
        lines.push(format!("  {snapshots} snapshots, {packs} packs"));
        lines.push(format!(
            "  data read: {packs_read} packs, group {group} of {groups}, {}",
            format::bytes(end.bytes_processed)
        ));
    }
    if !end.message.is_empty() {
        lines.push(format!("  {}", end.message));
    }
    if let Some(hint) = &end.hint {
        lines.push(format!("  hint: {hint}"));
    }
    for entry in &end.faulty_entries {
        let reason = if entry.reason.is_empty() { String::new() } else { format!(": {}", entry.reason) };
        lines.push(format!("  {} {}{reason}", entry.fault, entry.path));
    }
    lines.join("\n") + "\n"
}

fn short(record: &RunRecord) -> &str {
    record.end.snapshot.as_deref().map_or("", |id| id.get(..8).unwrap_or(id))
}

fn took(record: &RunRecord) -> String {
    format::duration(std::time::Duration::from_secs_f64(record.seconds()))
}

pub fn time(at: DateTime<Utc>, zone: &DisplayZone) -> String {
    format::time(Timestamp { seconds: at.timestamp(), nanoseconds: 0 }, zone)
}
