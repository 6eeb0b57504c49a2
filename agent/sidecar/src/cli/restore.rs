//! `pillion restore`: a snapshot, or a part of one, back onto a file system.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pillion_repository::event::Progress;
use pillion_repository::filter::{RestoreSelect, absolute};
use pillion_repository::repository::Repository;
use pillion_repository::restore::marker::Owner;
use pillion_repository::restore::{self as job, Ownership, Report, Special, TargetPath};
use pillion_repository::snapshots;

use super::failure::Failure;
use super::filter::{
    ExcludeOptions, IncludeOptions, SnapshotName, SnapshotOptions, refuse_both, working_directory,
};
use super::output::job::JobReporter;
use super::output::progress::{self, Kind};
use super::output::quote::quote;
use super::output::summary::RestoreSummary;
use super::output::{Output, Verbosity, format};
use super::session::Session;
use crate::process::Process;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Snapshot ID, its beginning, or "latest"; SNAPSHOT:/PATH for a subfolder
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: SnapshotName,
    /// Directory to extract data to
    #[arg(short, long, value_name = "DIRECTORY")]
    pub target: PathBuf,
    #[command(flatten)]
    pub exclude: ExcludeOptions,
    #[command(flatten)]
    pub include: IncludeOptions,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// With "latest": the latest snapshot that is not newer than this
    #[arg(long, value_name = "TIME", value_parser = super::find::parse_time)]
    pub before: Option<chrono::DateTime<chrono::Utc>>,
    /// Do not write any data, just show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Restore files as sparse (holes that were holes come back without it)
    #[arg(long)]
    pub sparse: bool,
    /// Read restored files again and compare them
    #[arg(long, conflicts_with = "dry_run")]
    pub verify: bool,
    /// Overwrite behavior
    #[arg(long, value_enum, default_value = "always")]
    pub overwrite: Overwrite,
    /// Delete files from target directory if they do not exist in snapshot. Use --dry-run -vv to see which
    #[arg(long)]
    pub delete: bool,
    /// Restore ownership by user name and group name (except POSIX ACLs)
    #[arg(long)]
    pub ownership_by_name: bool,
    /// Leave out devices, FIFOs and sockets, and restore no setuid bits
    #[arg(long)]
    pub no_special: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Overwrite {
    #[default]
    Always,
    IfChanged,
    IfNewer,
    Never,
}

impl Options {
    /// Refuses what makes no sense together, or would empty a whole machine.
    pub fn refuse_contradictions(&self) -> Result<(), Failure> {
        refuse_both(&self.exclude, &self.include)?;
        let is_root = self.target.components().all(|component| component == std::path::Component::RootDir);
        let is_whole = self.exclude.is_empty() && self.include.is_empty();
        if self.delete && is_root && self.target.is_absolute() && is_whole {
            return Err(Failure::new(
                "--delete with the target / must be combined with an include or exclude filter",
            ));
        }
        Ok(())
    }
}

impl From<Overwrite> for job::Overwrite {
    fn from(overwrite: Overwrite) -> Self {
        match overwrite {
            Overwrite::Always => Self::Always,
            Overwrite::IfChanged => Self::IfChanged,
            Overwrite::IfNewer => Self::IfNewer,
            Overwrite::Never => Self::Never,
        }
    }
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let repository = session.open()?;
    let plan = plan(options, session, &repository)?;
    let output = &session.output;
    let snapshot = &plan.snapshot;
    let paths: Vec<_> = snapshot.paths.iter().map(|path| quote(path.as_bytes())).collect();
    let message = format!(
        "restoring snapshot {} of [{}] at {} by {}@{} to {}",
        plan.snapshot_id.short(),
        paths.join(" "),
        format::time(snapshot.time, &output.zone),
        quote(snapshot.username.as_bytes()),
        quote(snapshot.hostname.as_bytes()),
        quote(options.target.as_os_str().as_encoded_bytes()),
    );
    output.tell(Verbosity::Essential, &message);

    let started = Instant::now();
    let progress = Arc::new(Progress::default());
    let reporter = JobReporter::new(Arc::clone(output), Kind::Restore);
    let shown = progress::show(Arc::clone(output), Kind::Restore, Arc::clone(&progress), session.environment);
    let report = job::restore(&repository, &plan, &reporter, &progress);
    drop(shown);
    let report = report.map_err(Failure::of_reader)?;
    print(output, &report, started.elapsed().as_secs());
    match report.errors {
        0 => Ok(()),
        1 => Err(Failure::new("there was 1 error")),
        errors => Err(Failure::new(format!("there were {errors} errors"))),
    }
}

fn plan(options: &Options, session: &Session<'_>, repository: &Repository) -> Result<job::Options, Failure> {
    let environment = session.environment;
    let mut filter = options.filter.resolve(environment);
    filter.not_after = options.before.map(|time| SystemTime::from(time).into());
    let (snapshot_id, snapshot, path) =
        snapshots::find_snapshot(repository, options.snapshot.0.as_encoded_bytes(), &filter)?;
    let includes = options.include.patterns(environment)?;
    let excludes = options.exclude.patterns(environment)?;
    let select = RestoreSelect::parse(&includes, &excludes).map_err(|e| Failure::new(e.to_string()))?;
    let lock = session.lock_options();
    let owner = Owner {
        run_id: format!("restore of {} by {}", snapshot_id.short(), Process::current(environment).username),
        host: lock.holder.hostname.clone(),
        pid: lock.holder.pid,
    };
    Ok(job::Options {
        snapshot_id,
        snapshot,
        path,
        target: absolute(options.target.as_os_str().as_encoded_bytes(), &working_directory(environment)),
        target_path: TargetPath::Resolved,
        select,
        overwrite: options.overwrite.into(),
        delete: options.delete,
        dry_run: options.dry_run,
        verify: options.verify,
        special: if options.no_special { Special::LeftOut } else { Special::AsStored },
        ownership: if options.ownership_by_name { Ownership::ByName } else { Ownership::ByNumber },
        owner,
        lock: (!session.global.no_lock).then_some(lock),
    })
}

fn print(output: &Output, report: &Report, seconds_elapsed: u64) {
    RestoreSummary {
        seconds_elapsed,
        total_files: report.files_total,
        files_restored: report.files_restored,
        files_skipped: report.files_skipped,
        files_deleted: report.files_deleted,
        total_bytes: report.bytes_total,
        bytes_restored: report.bytes_restored,
        bytes_skipped: report.bytes_skipped,
    }
    .print(output);
    if let Some(count) = report.files_verified {
        output.tell(Verbosity::Essential, &format!("finished verifying {count} files"));
    }
}
