//! `pillion trigger`: the running agent takes a snapshot now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Method;
use pillion_repository::event::Progress;

use super::client::{self, Client};
use super::failure::{Exit, Failure};
use super::output::progress::{self, Kind};
use super::output::{Output, Style, Verbosity};
use super::{global, runs};
use crate::agent::config::plan::PlanName;
use crate::agent::record::{Outcome, RunRecord};
use crate::agent::view::status::Run;
use crate::environment::Environment;

/// Between two looks at the run: it is the agent that works.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub client: client::Options,
    /// Wait for the end of the run, and exit as `backup` would
    #[arg(long)]
    pub wait: bool,
    /// The plan to back up, where the settings name several
    #[arg(long, value_name = "NAME")]
    pub plan: Option<PlanName>,
    /// Check the repository in place of a backup
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
}

pub fn run(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Arc<Output>,
) -> Result<(), Failure> {
    let client = Client::new(&options.client, global, environment)?;
    let path = match (&options.plan, options.check) {
        (_, true) => "/v1/checks".to_owned(),
        (Some(plan), false) => format!("/v1/backups?plan={plan}"),
        (None, false) => "/v1/backups".to_owned(),
    };
    let accepted: Run = client.parse(&client.change(&Method::POST, &path)?)?;
    let number = accepted.number();
    if options.wait {
        let record = wait(&client, number, environment, output)?;
        return end(&record, output);
    }
    match output.style {
        Style::Json => output.json(&accepted),
        Style::Text if options.check => output.line(&format!("run {number} will check the repository")),
        Style::Text => output.line(&format!("run {number} will hold all that is written by now")),
    }
    Ok(())
}

fn wait(
    client: &Client,
    number: u64,
    environment: &Environment,
    output: &Arc<Output>,
) -> Result<Arc<RunRecord>, Failure> {
    output.tell(Verbosity::Verbose, &format!("waiting for run {number}"));
    let progress = Arc::new(Progress::default());
    let _shown = progress::show(Arc::clone(output), Kind::Backup, Arc::clone(&progress), environment);
    loop {
        match client.read(&format!("/v1/runs/{number}"))? {
            Run::Ended(record) => return Ok(record),
            Run::Running { progress: now, .. } => {
                progress.files_done.store(now.files_done, Ordering::Relaxed);
                progress.bytes_done.store(now.bytes_done, Ordering::Relaxed);
                progress.files_total.store(now.files_total, Ordering::Relaxed);
                progress.bytes_total.store(now.bytes_total, Ordering::Relaxed);
                progress.errors.store(now.errors, Ordering::Relaxed);
            }
            Run::Queued(_) => {}
        }
        std::thread::sleep(LOOK);
    }
}

fn end(record: &RunRecord, output: &Output) -> Result<(), Failure> {
    match output.style {
        Style::Json => output.json(record),
        Style::Text => output.text(&runs::describe(record, &output.zone)),
    }
    match record.end.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Incomplete => Err(Failure::incomplete()),
        Outcome::Stopped | Outcome::Cancelled => Err(Failure {
            exit: Exit::Interrupted,
            ..Failure::new(format!("run {} was ended", record.number))
        }),
        Outcome::Damaged | Outcome::Failed | Outcome::RepositoryReplaced => {
            let failure = Failure::new(record.end.message.clone());
            Err(Failure { hint: record.end.hint.as_deref().map(str::to_owned), ..failure })
        }
    }
}
