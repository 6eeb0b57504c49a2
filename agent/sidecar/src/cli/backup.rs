//! `pillion backup`: a new snapshot.
//!
//! [`options`] is what can be said, [`sources`] turns it into what is read and what is left out, [`command`] runs the
//! program whose output is stored. The engine does the rest; here is only what restic prints and how it exits.

mod command;
mod options;
mod sources;

pub use options::Options;

use std::sync::Arc;
use std::time::SystemTime;

use pillion_repository::backup::{self, Compare, Mounts, Parent, Report, Source, SourcePaths};
use pillion_repository::event::Progress;
use pillion_repository::source::AccessTime;

use super::failure::Failure;
use super::filter::working_directory;
use super::output::job::JobReporter;
use super::output::progress::{self, Kind};
use super::output::summary::BackupSummary;
use super::output::{Output, format};
use super::session::Session;
use super::{global, password};
use crate::VERSION;
use crate::environment::Environment;
use crate::process::Process;

/// Refuses, before the password is asked for, what could only fail later.
pub fn prepare(
    options: Options,
    global: &global::Options,
    environment: &Environment,
) -> Result<Options, Failure> {
    let options = options.resolve(environment)?;
    if options.reads_stdin() && password::comes_from_stdin(global, environment) {
        return Err(Failure::new("cannot read both password and data from stdin")
            .hint("use --password-file or set RESTIC_PASSWORD"));
    }
    Ok(options)
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let job = job(options, session)?;
    let mut repository = if options.dry_run { session.open_dry()? } else { session.open()? };
    if let Some(readers) = options.read_concurrency {
        repository.settings.workers = readers.min(MAX_READERS);
    }
    let progress = Arc::new(Progress::default());
    let reporter = JobReporter::new(Arc::clone(&session.output), Kind::Backup);
    let shown =
        progress::show(Arc::clone(&session.output), Kind::Backup, Arc::clone(&progress), session.environment);
    let report = backup::backup(&repository, &job, &reporter, &progress);
    drop(shown);
    let report = report?;
    print(&session.output, &report, options.dry_run);
    if report.is_complete() { Ok(()) } else { Err(Failure::incomplete()) }
}

/// Each reader takes the memory of two chunks.
const MAX_READERS: usize = 32;

fn job(options: &Options, session: &Session<'_>) -> Result<backup::Options, Failure> {
    let environment = session.environment;
    let source = sources::source(options, session)?;
    let exclusion = match &source {
        Source::Paths(paths) => sources::exclusion(options, paths, session)?,
        Source::Stream(_) => sources::nothing_excluded(),
    };
    let Process { hostname, username, uid, gid } = Process::current(environment);
    let group_by = options.group_by;
    Ok(backup::Options {
        source,
        source_paths: SourcePaths::Resolved,
        working_directory: working_directory(environment),
        mounts: Mounts::Cross,
        excludes: exclusion.recorded().to_vec(),
        exclusion,
        parent: match &options.parent {
            _ if options.force => Parent::None,
            Some(parent) => Parent::Chosen(parent.clone()),
            None => Parent::Latest,
        },
        group_by: backup::GroupBy { host: group_by.host, paths: group_by.paths, tags: group_by.tags },
        compare: Compare {
            // Without the inode the change time says nothing either, as in restic.
            ignore_ctime: options.ignore_ctime || options.ignore_inode,
            ignore_inode: options.ignore_inode,
        },
        access_time: if options.with_atime { AccessTime::Found } else { AccessTime::Modified },
        host: options.host.clone().unwrap_or(hostname),
        username,
        uid,
        gid,
        tags: options.tags.clone(),
        identity: None,
        time: options.time.map(|time| SystemTime::from(time).into()),
        program_version: format!("pillion {VERSION}"),
        skip_if_unchanged: options.skip_if_unchanged,
        lock: (!options.dry_run).then(|| session.lock_options()),
        quiesce: None,
    })
}

fn print(output: &Output, report: &Report, dry_run: bool) {
    let summary = &report.summary;
    let took = summary.backup_end.since(summary.backup_start).unwrap_or_default();
    BackupSummary {
        files_new: summary.files_new,
        files_changed: summary.files_changed,
        files_unmodified: summary.files_unmodified,
        dirs_new: summary.dirs_new,
        dirs_changed: summary.dirs_changed,
        dirs_unmodified: summary.dirs_unmodified,
        data_blobs: summary.data_blobs,
        tree_blobs: summary.tree_blobs,
        data_added: summary.data_added,
        data_added_packed: summary.data_added_packed,
        total_files_processed: summary.total_files_processed,
        total_bytes_processed: summary.total_bytes_processed,
        total_duration: took.as_secs_f64(),
        backup_start: format::rfc3339(summary.backup_start),
        backup_end: format::rfc3339(summary.backup_end),
        snapshot_id: report.snapshot_id.map(|id| id.to_string()),
        dry_run,
    }
    .print(output);
}
