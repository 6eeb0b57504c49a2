//! `pillion find`: where a name is, over snapshots; or with IDs ([`objects`]) where a blob, a tree or a pack is used.

mod objects;

use std::ffi::OsString;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, TimeZone, Utc};

use pillion_repository::Error;
use pillion_repository::filter::{Case, FindPatterns};
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::format::time::Timestamp;
use pillion_repository::format::tree::{Node, NodeKind};
use pillion_repository::repository::Repository;
use pillion_repository::walk::{self, Next, Visitor};

use super::failure::Failure;
use super::filter::{Selected, SnapshotOptions, Unreadable, bytes};
use super::output::Output;
use super::output::found::FindPrinter;
use super::output::listing::LineStyle;
use super::output::quote::{escape_control, quote};
use super::session::Session;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Patterns of names or paths; with --blob, --tree or --pack IDs or their beginnings
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<OsString>,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Pattern is a blob-ID
    #[arg(long, group = "kind")]
    pub blob: bool,
    /// Pattern is a tree-ID
    #[arg(long, group = "kind")]
    pub tree: bool,
    /// Pattern is a pack-ID
    #[arg(long, group = "kind")]
    pub pack: bool,
    /// Display the pack-ID the blobs belong to (with --blob, --tree or --pack)
    #[arg(long, requires = "kind")]
    pub show_pack_id: bool,
    /// Oldest modification date/time
    #[arg(short = 'O', long, value_name = "TIME", value_parser = parse_time)]
    pub oldest: Option<DateTime<Utc>>,
    /// Newest modification date/time
    #[arg(short = 'N', long, value_name = "TIME", value_parser = parse_time)]
    pub newest: Option<DateTime<Utc>>,
    /// Snapshot ID to search in (can be given multiple times)
    #[arg(short = 's', long = "snapshot", value_name = "ID")]
    pub snapshots: Vec<String>,
    /// Ignore case for pattern
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Reverse sort order oldest to newest
    #[arg(short = 'R', long)]
    pub reverse: bool,
    /// Use a long listing format showing size and mode
    #[arg(short, long)]
    pub long: bool,
    /// Print sizes in human readable format
    #[arg(long)]
    pub human_readable: bool,
}

impl Options {
    pub fn line_style(&self) -> LineStyle {
        super::ls::line_style(self.long, self.human_readable)
    }
}

/// A date or time as restic's options take it, in the local zone unless an offset is given.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    const WITH_OFFSET: [&str; 2] = ["%Y-%m-%d %H:%M:%S %z", "%d.%m.%Y %H:%M:%S %z"];
    const LOCAL: [&str; 4] = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M"];
    const DATES: [&str; 2] = ["%Y-%m-%d", "%d.%m.%Y"];
    let refuse = || format!("{text:?} is no time: write it like 2012-11-01 22:08:41");
    if let Some(time) = WITH_OFFSET.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()) {
        return Ok(time.with_timezone(&Utc));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let time = LOCAL.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let date = || DATES.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok());
    let wall = time.or_else(|| date()?.and_hms_opt(0, 0, 0)).ok_or_else(refuse)?;
    Local.from_local_datetime(&wall).earliest().map(|time| time.with_timezone(&Utc)).ok_or_else(refuse)
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let instant = |time: DateTime<Utc>| Timestamp::from(std::time::SystemTime::from(time));
    let times = (options.oldest.map(instant), options.newest.map(instant));
    if let (Some(oldest), Some(newest)) = times
        && oldest > newest
    {
        return Err(Failure::new("--oldest must specify a time before --newest"));
    }
    if options.blob || options.tree || options.pack {
        return objects::run(options, session);
    }
    let case = if options.ignore_case { Case::Insensitive } else { Case::Sensitive };
    let patterns =
        FindPatterns::parse(&bytes(&options.patterns), case).map_err(|e| Failure::new(e.to_string()))?;
    session.read_blobs(|repository, mut reader| {
        let selected = select(options, repository, session)?;
        let output = &*session.output;
        let mut printer = FindPrinter::new(output, options.line_style());
        let mut unreadable_trees = 0;
        for (id, snapshot) in &selected.snapshots {
            let mut search = Search {
                patterns: &patterns,
                times,
                snapshot: (*id, snapshot),
                printer: &mut printer,
                output,
                unreadable_trees: &mut unreadable_trees,
            };
            walk::walk(&mut reader, &snapshot.tree, &mut search)?;
            if output.is_closed() {
                break;
            }
        }
        printer.finish();
        ended(selected.unreadable, unreadable_trees)
    })
}

/// The snapshots to search, newest first unless that is reversed.
fn select(options: &Options, repository: &Repository, session: &Session<'_>) -> Result<Selected, Failure> {
    let mut selected = options.filter.select(repository, &options.snapshots, session)?;
    selected.snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
    if !options.reverse {
        selected.snapshots.reverse();
    }
    Ok(selected)
}

fn ended(unreadable_snapshots: Unreadable, unreadable_trees: u64) -> Result<(), Failure> {
    match (unreadable_snapshots, unreadable_trees) {
        (Unreadable(0), 1..) => Err(Failure::new("not every directory could be searched")
            .hint("run `pillion check` to see what is affected")),
        (unreadable, _) => unreadable.into(),
    }
}

fn tell_unreadable(output: &Output, snapshot: &Id, path: &[u8], error: &Error) {
    let (path, error) = (quote(path), escape_control(&error.to_string()));
    output.problem(&format!("cannot search {path} of snapshot {}: {error}", snapshot.short()));
}

/// The search through one snapshot.
struct Search<'a, 'p> {
    patterns: &'a FindPatterns,
    /// Oldest and newest.
    times: (Option<Timestamp>, Option<Timestamp>),
    snapshot: (Id, &'a Snapshot),
    printer: &'a mut FindPrinter<'p>,
    output: &'a Output,
    unreadable_trees: &'a mut u64,
}

impl Visitor for Search<'_, '_> {
    fn entry(&mut self, path: &[u8], node: &Node) -> Result<Next, Error> {
        let (oldest, newest) = self.times;
        let is_in_time = oldest.is_none_or(|oldest| node.mtime >= oldest)
            && newest.is_none_or(|newest| node.mtime <= newest);
        if is_in_time && self.patterns.matches(path) {
            let (id, snapshot) = self.snapshot;
            self.printer.hit(id, snapshot.time, path, node);
        }
        Ok(match node.kind {
            _ if self.output.is_closed() => Next::Stop,
            NodeKind::Dir if self.patterns.may_match_below(path) => Next::Enter,
            _ => Next::Pass,
        })
    }

    fn unreadable(&mut self, path: &[u8], _: &Id, error: Error) -> Result<(), Error> {
        *self.unreadable_trees += 1;
        tell_unreadable(self.output, &self.snapshot.0, path, &error);
        Ok(())
    }
}
