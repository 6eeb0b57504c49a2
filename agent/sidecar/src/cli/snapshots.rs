//! `pillion snapshots`: the table of snapshots.

use std::collections::{BTreeMap, HashMap};

use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;

use super::failure::Failure;
use super::filter::{GroupBy, SnapshotOptions};
use super::output::listing::{Group, GroupKey, Identified, SnapshotRow, snapshot_table};
use super::output::{Output, Style};
use super::session::Session;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// IDs of snapshots (default: all)
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Use compact output format
    #[arg(short, long)]
    pub compact: bool,
    /// Only show the last N snapshots for each host and path
    #[arg(long, value_name = "N")]
    pub latest: Option<usize>,
    /// Group snapshots by host, paths and/or tags, separated by comma
    #[arg(short, long, value_name = "GROUP", default_value = "")]
    pub group_by: GroupBy,
}

type Snapshots = Vec<(Id, Snapshot)>;

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let output = &session.output;
    let selected =
        session.read(|repository| options.filter.select(repository, &options.snapshots, session))?;
    let is_grouped = options.group_by != GroupBy::default();
    let mut groups: BTreeMap<GroupKey, Snapshots> = BTreeMap::new();
    // A list without snapshots is a list too.
    if !is_grouped {
        groups.insert(GroupKey::default(), Vec::new());
    }
    for (id, snapshot) in selected.snapshots {
        groups.entry(group_key(options.group_by, &snapshot)).or_default().push((id, snapshot));
    }
    for list in groups.values_mut() {
        list.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        if let Some(count) = options.latest.filter(|count| *count > 0) {
            keep_latest(list, count, is_grouped);
        }
    }
    match output.style {
        Style::Json => print_json(output, &groups, is_grouped),
        Style::Text => print_tables(output, groups, options.compact),
    }
    selected.unreadable.into()
}

fn group_key(by: GroupBy, snapshot: &Snapshot) -> GroupKey {
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts
    };
    GroupKey {
        hostname: if by.host { snapshot.hostname.clone() } else { String::new() },
        paths: by.paths.then(|| sorted(&snapshot.paths)),
        tags: (by.tags && !snapshot.tags.is_empty()).then(|| sorted(&snapshot.tags)),
    }
}

/// Keeps the newest of the group, or where nothing is grouped by, of each host and set of paths.
fn keep_latest(list: &mut Snapshots, count: usize, is_group: bool) {
    let every = GroupBy { host: !is_group, paths: !is_group, tags: false };
    let mut seen: HashMap<(String, Option<Vec<String>>), usize> = HashMap::new();
    let mut kept: Snapshots = Vec::new();
    for (id, snapshot) in std::mem::take(list).into_iter().rev() {
        let key = group_key(every, &snapshot);
        let number = seen.entry((key.hostname, key.paths)).or_default();
        *number += 1;
        if *number <= count {
            kept.push((id, snapshot));
        }
    }
    kept.reverse();
    *list = kept;
}

fn print_json(output: &Output, groups: &BTreeMap<GroupKey, Snapshots>, is_grouped: bool) {
    if !is_grouped {
        let all: Vec<_> = groups.values().flat_map(identified).collect();
        return output.json(&all);
    }
    let groups: Vec<_> = groups
        .iter()
        .map(|(key, list)| Group { group_key: key.clone(), snapshots: identified(list) })
        .collect();
    output.json(&groups);
}

fn identified(list: &Snapshots) -> Vec<Identified<'_, Snapshot>> {
    list.iter().map(|(id, snapshot)| Identified::new(*id, snapshot)).collect()
}

fn print_tables(output: &Output, groups: BTreeMap<GroupKey, Snapshots>, is_compact: bool) {
    for (key, list) in groups {
        if let Some(header) = key.header() {
            output.line(&header);
        }
        let rows = list.into_iter().map(|(id, snapshot)| SnapshotRow {
            id,
            time: snapshot.time,
            hostname: snapshot.hostname,
            tags: snapshot.tags,
            paths: snapshot.paths,
            size_bytes: snapshot.summary.map(|summary| summary.total_bytes_processed),
        });
        let table = snapshot_table(rows.collect(), is_compact, &output.zone);
        output.line(table.trim_end_matches('\n'));
    }
}
