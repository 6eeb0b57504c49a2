//! The same once more under the names and labels that Stash gives, for dashboards and alerts that exist already.
//!
//! Stash pushes gauges when a session ends; what a failed one does not push stays as the last good one left it. Here they
//! are views of the records like all others. What we have no word for (restores, snapshots that a cleanup removed) is left out.

use pillion_backend::FileKind;
use pillion_backend::location::Location;

use super::families::Families;
use super::{is_decided, seconds, store, switch};
use crate::agent::config::Config;
use crate::agent::record::{Kind, Outcome, RunRecord};
use crate::agent::state::State;

type Labels = Vec<(&'static str, String)>;

/// Adds one value under both of its names.
struct Both<'a> {
    families: &'a mut Families,
}

impl Both<'_> {
    fn add(&mut self, (new, old): (&str, &str), help: &str, labels: &Labels, value: f64) {
        self.families.foreign_gauge(format!("stash_appscode_com_{new}"), help, labels, value);
        self.families.foreign_gauge(format!("stash_{old}"), help, labels, value);
    }

    /// Of a session, a target or a host, where only the prefix differs.
    fn backup(&mut self, tail: &str, help: &str, labels: &Labels, value: f64) {
        self.add((&format!("backupsession_{tail}"), &format!("backup_{tail}")), help, labels, value);
    }
}

pub(super) fn add(families: &mut Families, state: &State, config: &Config) {
    let mut both = Both { families };
    let target = Target::of(config);
    let backups = || state.runs.iter().rev().filter(|run| run.work.kind == Kind::Backup && is_decided(run));
    if let Some(newest) = backups().next() {
        let success = switch(newest.end.outcome == Outcome::Complete);
        let last = backups().find(|run| run.end.outcome == Outcome::Complete);
        sessions(&mut both, &target, success, last.map(AsRef::as_ref));
        hosts(&mut both, &target.host_labels(config), success, last.map(AsRef::as_ref));
    }
    repository(&mut both, &target.repository_labels(config), state);
}

fn sessions(both: &mut Both<'_>, target: &Target, success: f64, last: Option<&RunRecord>) {
    let (session, of_target) = (target.session_labels(), target.labels());
    let names = ("backupsession_success", "backup_session_success");
    both.add(names, "Indicates whether the entire backup session was succeeded or not", &session, success);
    both.backup(
        "target_success",
        "Indicates whether the backup for a target has succeeded or not",
        &of_target,
        success,
    );
    let Some(last) = last else { return };
    let names = ("backupsession_duration_seconds", "backup_session_duration_seconds");
    both.add(names, "Total time taken to complete the entire backup session", &session, last.seconds());
    both.backup(
        "target_count_total",
        "Total number of targets that were backed up in this session",
        &session,
        1.0,
    );
    let ended = seconds(last.ended_at);
    both.backup("last_success_time_seconds", "When the last backup session succeeded", &session, ended);
    both.backup(
        "target_host_count_total",
        "Total number of hosts that were backed up for this target",
        &of_target,
        1.0,
    );
    both.backup(
        "target_last_success_time_seconds",
        "When the last backup of this target succeeded",
        &of_target,
        ended,
    );
}

fn hosts(both: &mut Both<'_>, labels: &Labels, success: f64, last: Option<&RunRecord>) {
    both.backup(
        "host_backup_success",
        "Indicates whether the backup for a host succeeded or not",
        labels,
        success,
    );
    let Some(last) = last else { return };
    let end = &last.end;
    for (tail, help, value) in [
        ("host_backup_duration_seconds", "Total time taken to complete the backup of a host", last.seconds()),
        ("host_data_size_bytes", "Total size of the data to back up for a host", end.bytes_processed as f64),
        ("host_data_uploaded_bytes", "Data uploaded to the repository for a host", end.bytes_added as f64),
        (
            "host_data_processing_time_seconds",
            "Total time taken to process the data of a host",
            last.seconds(),
        ),
        (
            "host_files_total",
            "Total number of files that were backed up for a host",
            end.files_processed as f64,
        ),
        ("host_files_new", "Files that are new since the last backup of a host", end.files.new as f64),
        (
            "host_files_modified",
            "Files that changed since the last backup of a host",
            end.files.changed as f64,
        ),
        (
            "host_files_unmodified",
            "Files that did not change since the last backup of a host",
            end.files.unmodified as f64,
        ),
    ] {
        both.backup(tail, help, labels, value);
    }
}

fn repository(both: &mut Both<'_>, labels: &Labels, state: &State) {
    let mut add = |tail: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let name = format!("repository_{tail}");
            both.add((&name, &name), help, labels, value);
        }
    };
    let checked = store::newest_check(state);
    let intact = checked.map(|run| switch(run.end.outcome == Outcome::Complete));
    add("integrity", "Result of the newest check of the repository", intact);
    let size = state.runs.iter().rev().find_map(|run| run.end.repository_bytes);
    add("size_bytes", "Size of the repository after the last backup", size.map(|bytes| bytes as f64));
    let snapshots = state.vitals.listed.get(&FileKind::Snapshot);
    add(
        "snapshot_count",
        "Number of snapshots in the repository",
        snapshots.map(|listed| listed.files as f64),
    );
}

/// What is backed up, as Stash names it.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    namespace: String,
    kind: String,
    group: &'static str,
    name: String,
    /// Of the objects that Stash's own blueprints make for a workload.
    object: String,
}

/// Workloads whose kind is written in this way, and their group.
const WORKLOADS: [(&str, &str); 5] = [
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("DeploymentConfig", "apps.openshift.io"),
    ("PersistentVolumeClaim", ""),
];

impl Target {
    /// An identity is `NAMESPACE/KIND/NAME`, perhaps with an ordinal behind it; another one is a name alone.
    fn of(config: &Config) -> Self {
        let identity = config.identity.as_deref().unwrap_or(&config.host);
        let parts: Vec<&str> = identity.split('/').collect();
        let &[namespace, kind, name, ..] = &parts[..] else {
            let name = identity.to_owned();
            return Self {
                namespace: String::new(),
                kind: String::new(),
                group: "",
                object: name.clone(),
                name,
            };
        };
        let known = WORKLOADS.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind));
        let (kind, group) = known.copied().unwrap_or((kind, ""));
        let object = format!("{}-{name}", kind.to_lowercase());
        Self { namespace: namespace.to_owned(), kind: kind.to_owned(), group, name: name.to_owned(), object }
    }

    fn session_labels(&self) -> Labels {
        vec![
            ("invoker_kind", "BackupConfiguration".to_owned()),
            ("invoker_name", self.object.clone()),
            ("namespace", self.namespace.clone()),
            ("driver", "Restic".to_owned()),
            ("repository", self.object.clone()),
        ]
    }

    fn labels(&self) -> Labels {
        let mut labels = self.session_labels();
        let own = [("kind", self.kind.as_str()), ("group", self.group), ("name", &self.name)];
        labels.extend(own.map(|(name, value)| (name, value.to_owned())));
        labels
    }

    fn host_labels(&self, config: &Config) -> Labels {
        let mut labels = self.labels();
        labels.push(("hostname", config.host.clone()));
        labels
    }

    fn repository_labels(&self, config: &Config) -> Labels {
        let (backend, bucket, prefix) = match &config.repository {
            Location::Local(path) => ("local", path.display().to_string(), String::new()),
            Location::S3(s3) => ("s3", s3.bucket.clone(), s3.prefix.to_string()),
            Location::Azure(azure) => ("azure", azure.container.clone(), azure.prefix.to_string()),
            Location::B2(b2) => ("b2", b2.bucket.clone(), b2.prefix.to_string()),
        };
        let mut labels = self.session_labels();
        labels.push(("name", self.object.clone()));
        labels.extend([("backend", backend.to_owned()), ("bucket", bucket), ("prefix", prefix)]);
        labels
    }
}
