//! Check as a run: in a process of its own ([`crate::agent::worker`]), where it may take the memory of a large index.
//!
//! The lock is the one of a backup. Whatever a listed snapshot needs was there before it was listed, so that who writes
//! meanwhile makes nothing look bad; and a check that takes hours must not keep the other agents of the repository from
//! backing up. Who removes is kept out by any lock.

use std::sync::{Mutex, PoisonError};

use pillion_repository::check::{self as job, ReadData, Report, Subset};
use pillion_repository::event::{Event, Progress, Reporter};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::watch::Watch;
use super::{Access, Refusal};
use crate::agent::config::Config;
use crate::agent::config::secret::Credentials;
use crate::agent::record::{Checked, Outcome, RunEnd};
use crate::cli;
use crate::environment::Environment;
use crate::process::Process;

/// Findings that are logged, and of which the record names the first.
const MAX_LOGGED: usize = 50;

/// Checks the repository, and reads the data of the `group`-th of so many groups of packs.
pub fn check(
    config: &Config,
    credentials: &Credentials,
    (environment, process): (&Environment, &str),
    (group, groups): (u64, u64),
    progress: &Progress,
    cancel: CancellationToken,
    runtime: Handle,
) -> RunEnd {
    let kept = Kept::aside(environment.clone(), process);
    let watch = Watch::new(config, kept.counts(), std::sync::Arc::default());
    let access = Access { config, credentials, cancel, runtime, kept: &kept, watch: &watch };
    let findings = Findings::default();
    let checked = run(&access, Subset::Group { number: group, groups }, &findings, progress);
    access.tell_asked();
    match checked {
        Ok(report) => end(&report, (group, groups), &findings),
        Err(refusal) => refusal.into(),
    }
}

fn run(
    access: &Access<'_>,
    subset: Subset,
    findings: &Findings,
    progress: &Progress,
) -> Result<Report, Refusal> {
    let mut pin = access.pin()?;
    let way = access.way()?;
    let repository = pin.accept(access.open(&way))?;
    let process = Process::current(&Environment::default());
    let options = job::Options {
        lock: Some(access.lock(&process)),
        read_data: ReadData::Subset(subset),
        snapshots: None,
    };
    Ok(job::check(&repository, &options, findings, progress)?)
}

/// What is found, to the log and to the record.
#[derive(Debug, Default)]
struct Findings(Mutex<Vec<String>>);

impl Reporter for Findings {
    fn report(&self, event: Event<'_>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Damage { detail } if told.len() < MAX_LOGGED => {
                tracing::error!(finding = detail, "the repository is damaged");
                told.push(detail);
            }
            Event::Warning { message } => tracing::warn!("{message}"),
            Event::Step { message } => tracing::debug!("{message}"),
            _ => {}
        }
    }
}

fn end(report: &Report, (group, groups): (u64, u64), findings: &Findings) -> RunEnd {
    let checked = Checked {
        errors: report.errors,
        snapshots: report.snapshots,
        packs: report.packs,
        packs_read: report.packs_read,
        group,
        groups,
    };
    let outcome = if report.is_sound() { Outcome::Complete } else { Outcome::Damaged };
    let end = RunEnd {
        checked: Some(Box::new(checked)),
        bytes_processed: report.bytes_read,
        ..RunEnd::empty(outcome)
    };
    if report.is_sound() {
        return end;
    }
    let told = findings.0.lock().unwrap_or_else(PoisonError::into_inner);
    let first = told.first().map(String::as_str).unwrap_or_default();
    RunEnd {
        message: format!("findings of damage: {}, the first: {first}", report.errors),
        hint: cli::check::remedy(report).map(Into::into),
        ..end
    }
}
