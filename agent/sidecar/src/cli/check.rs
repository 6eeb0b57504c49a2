//! `pillion check`: whether everything that snapshots need is there and whole.

use std::sync::Arc;

use pillion_repository::check::{self as job, ReadData, Report, Subset};
use pillion_repository::event::Progress;
use pillion_repository::format::id::Id;
use pillion_repository::lock;
use pillion_repository::repository::Repository;

use super::failure::Failure;
use super::filter::SnapshotOptions;
use super::output::job::JobReporter;
use super::output::progress::{self, Kind};
use super::output::summary::CheckSummary;
use super::session::Session;
use crate::setting::parse_size_bytes;

/// restic's bound for the groups of `n/t`.
const MAX_GROUPS: u64 = 256;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// IDs of snapshots (default: all)
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Read all data blobs
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read a subset of data packs, specified as 'n/t' for specific part, or either 'x%' or 'x.y%' or a size in bytes
    /// with suffixes k/K, m/M, g/G, t/T for a random subset
    #[arg(long, value_name = "SUBSET", value_parser = parse_subset)]
    pub read_data_subset: Option<Subset>,
    /// Use existing cache, only read uncached data from repository
    #[arg(long)]
    pub with_cache: bool,
}

/// As restic's option takes it.
fn parse_subset(text: &str) -> Result<Subset, String> {
    let refuse = || format!("{text:?} is no subset: write it like 1/5, 2.5% or 10G");
    if let Some((number, groups)) = text.split_once('/') {
        let number = number.parse().map_err(|_| refuse())?;
        let groups = groups.parse().map_err(|_| refuse())?;
        return match (1..=groups).contains(&number) && groups <= MAX_GROUPS {
            true => Ok(Subset::Group { number, groups }),
            false => Err(format!("{text:?}: n/t means 1 <= n <= t <= {MAX_GROUPS}")),
        };
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| refuse())?;
        return match percent > 0.0 && percent <= 100.0 {
            true => Ok(Subset::Percent(percent)),
            false => Err(format!("{text:?}: a percentage is above 0 and at most 100")),
        };
    }
    match parse_size_bytes(text).map_err(|_| refuse())? {
        0 => Err(refuse()),
        bytes => Ok(Subset::Bytes(bytes)),
    }
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let repository = session.open()?;
    let output = &session.output;
    let job = job::Options {
        lock: session
            .read_lock_options()
            .map(|options| lock::Options { mode: lock::Mode::Exclusive, ..options }),
        read_data: match options.read_data_subset {
            _ if options.read_data => ReadData::All,
            Some(subset) => ReadData::Subset(subset),
            None => ReadData::Suspicious,
        },
        snapshots: chosen(options, session, &repository)?,
    };
    let progress = Arc::new(Progress::default());
    let reporter = JobReporter::new(Arc::clone(output), Kind::Check);
    let shown = progress::show(Arc::clone(output), Kind::Check, Arc::clone(&progress), session.environment);
    let report = job::check(&repository, &job, &reporter, &progress);
    drop(shown);
    let report = report.map_err(Failure::of_reader)?;
    if let Some(remedy) = remedy(&report) {
        output.advise(&remedy);
    }
    summary(&report).print(output);
    match report.is_sound() {
        true => Ok(()),
        false => Err(Failure::new("repository contains errors")),
    }
}

/// The snapshots to look into; `None` where nothing chooses among them.
fn chosen(
    options: &Options,
    session: &Session<'_>,
    repository: &Repository,
) -> Result<Option<Vec<Id>>, Failure> {
    if options.snapshots.is_empty() && options.filter.resolve(session.environment).is_empty() {
        return Ok(None);
    }
    let selected = options.filter.select(repository, &options.snapshots, session)?;
    Ok(Some(selected.snapshots.into_iter().map(|(id, _)| id).collect()))
}

/// What repairs what was found: restic does that, on the same repository. `None` where nothing is damaged, or nothing helps.
pub fn remedy(report: &Report) -> Option<String> {
    let joined = |ids: &[Id]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut commands = Vec::new();
    if report.suggest_repair_index && report.broken_packs.is_empty() {
        commands.push("restic repair index".to_owned());
    }
    if !report.broken_packs.is_empty() {
        commands.push(format!("restic repair packs {}", joined(&report.broken_packs)));
        commands.push("restic repair snapshots --forget".to_owned());
    }
    if !report.broken_snapshots.is_empty() {
        commands.push(format!("restic repair snapshots --forget {}", joined(&report.broken_snapshots)));
    }
    let helps = !commands.is_empty() && !report.is_sound();
    helps.then(|| format!("to repair what can be repaired: {}", commands.join("; ")))
}

fn summary(report: &Report) -> CheckSummary {
    let broken: Vec<String> = report.broken_packs.iter().map(ToString::to_string).collect();
    CheckSummary {
        num_errors: report.errors,
        broken_packs: (!broken.is_empty()).then_some(broken),
        suggest_repair_index: report.suggest_repair_index,
        suggest_prune: report.suggest_prune,
    }
}
