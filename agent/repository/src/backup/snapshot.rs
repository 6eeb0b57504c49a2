//! The snapshot stage: which snapshot a run compares with, and the one it leaves.

use std::collections::HashSet;

use super::Options;
use crate::error::{Error, Result};
use crate::event::{Event, Reporter};
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::format::time::Timestamp;
use crate::repository::Repository;

/// What to compare the source with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// The latest snapshot of the same source. Where the run has an identity tag, that tag says what the same
    /// source is; otherwise what `group_by` names.
    #[default]
    Latest,
    /// This one, whatever it is of: an ID, the beginning of one, or `latest`.
    Chosen(String),
    /// Nothing: everything is read.
    None,
}

/// Which properties of a snapshot say that it is of the same source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBy {
    pub host: bool,
    pub paths: bool,
    pub tags: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, paths: true, tags: false }
    }
}

/// Finds the snapshot to compare with. One that cannot be read is told and passed over: it costs time, not data.
pub(super) fn find_parent(
    repository: &Repository,
    options: &Options,
    reporter: &dyn Reporter,
    paths: &[String],
    start: Timestamp,
) -> Result<Option<(Id, Snapshot)>> {
    let chosen = match &options.parent {
        Parent::None => return Ok(None),
        Parent::Chosen(name) if name != "latest" => Some(name),
        Parent::Chosen(_) | Parent::Latest => None,
    };
    let (snapshots, damaged) = repository.load_snapshots()?;
    for e in damaged {
        reporter.report(Event::Warning { message: e.to_string() });
    }
    if let Some(prefix) = chosen {
        let mut matching =
            snapshots.into_iter().filter(|(id, _)| id.to_string().starts_with(prefix.as_str()));
        let found = matching.next().ok_or_else(|| Error::NoSnapshot(prefix.clone()))?;
        return match matching.next() {
            Some(_) => Err(Error::AmbiguousPrefix(prefix.clone())),
            None => Ok(Some(found)),
        };
    }
    let is_same_source = |snapshot: &Snapshot| match &options.identity {
        Some(identity) => snapshot.tags.contains(identity),
        None => is_in_group(snapshot, options, paths),
    };
    let is_candidate = |snapshot: &Snapshot| snapshot.time <= start && is_same_source(snapshot);
    Ok(snapshots.into_iter().rfind(|(_, snapshot)| is_candidate(snapshot)))
}

fn is_in_group(snapshot: &Snapshot, options: &Options, paths: &[String]) -> bool {
    let by = options.group_by;
    let has_all = |found: &[String], wanted: &[String]| {
        let found: HashSet<&String> = found.iter().collect();
        wanted.iter().all(|one| found.contains(one))
    };
    (!by.host || snapshot.hostname == options.host)
        && (!by.paths || has_all(&snapshot.paths, paths))
        && (!by.tags || has_all(&snapshot.tags, &options.tags))
}
