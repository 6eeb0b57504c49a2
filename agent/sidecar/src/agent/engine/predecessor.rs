//! Which locks are of the dead, beyond doubt: an agent that is killed leaves one, which keeps everybody from removing anything
//! in the repository, and nobody but its successor knows that it has ended.
//!
//! A lock of ours names the agent (its host), the instance and the process (its user). The process counts as ended where
//! - the cache directory, of which this process is the only owner, remembers it as an earlier one;
//! - the agent is that of an ordinal of a StatefulSet: Kubernetes starts one only when the one before has ended;
//! - the settings name its instance as ended: whoever writes them has seen that its pod is gone.
//!
//! Nothing else proves it. A rollout runs two of the same name side by side, and process IDs of two containers say nothing of
//! each other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use pillion_repository::cache::Standing;
use pillion_repository::lock::Ended;
use serde::{Deserialize, Serialize};

use crate::agent::config::Config;
use crate::file;

const NAME: &str = "processes.json";

/// Of one directory. A lock that is older than that many processes is stale for everybody.
const MAX_REMEMBERED: usize = 64;

const MAX_BYTES: u64 = 64 << 10;

/// In the file: those that were started here, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    processes: Vec<String>,
}

/// The processes of this agent that are known here.
#[derive(Debug)]
pub(super) struct Processes {
    own: String,
    /// Ours that are still at work: this one and its workers.
    living: Mutex<BTreeSet<String>>,
}

impl Processes {
    pub(super) fn new() -> Self {
        let own = name();
        Self { living: Mutex::new(BTreeSet::from([own.clone()])), own }
    }

    /// For a process that was given its name.
    pub(super) fn named(own: &str) -> Self {
        Self { own: own.to_owned(), living: Mutex::default() }
    }

    /// A worker begins; its name.
    pub(super) fn begin_worker(&self) -> String {
        let worker = name();
        self.living().insert(worker.clone());
        worker
    }

    pub(super) fn worker_ended(&self, worker: &str) {
        self.living().remove(worker);
    }

    /// What a lock of this process says for its user.
    pub(super) fn username(&self, config: &Config) -> String {
        format!("{}/{}", config.http.instance(), self.own)
    }

    /// Who has ended. `standing` is that of this process to the cache directory.
    pub(super) fn ended(&self, config: &Config, standing: &Standing) -> Ended {
        let living = self.living().clone();
        let earlier = match standing {
            Standing::Owner => remember(&config.cache_directory, &living),
            Standing::Guest | Standing::Unusable(_) | Standing::Absent => BTreeSet::new(),
        };
        let (name, instances) = (config.name().to_owned(), config.ended_instances.clone());
        let is_only_one = config.identity.as_deref().is_some_and(is_ordinal);
        Ended::new(move |lock| {
            let Some((instance, process)) = lock.username.rsplit_once('/') else { return false };
            let has_ended = lock.hostname == name
                && !living.contains(process)
                && (earlier.contains(process)
                    || is_only_one
                    || instances.iter().any(|ended| ended == instance));
            if has_ended {
                tracing::info!(instance, since = %lock.time, "the lock of a process of this agent that has ended is removed");
            }
            has_ended
        })
    }

    fn living(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.living.lock().expect("no thread panics with it")
    }
}

fn name() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The namespace, the kind, the name and the number of one of its pods.
fn is_ordinal(identity: &str) -> bool {
    let parts: Vec<&str> = identity.split('/').collect();
    matches!(parts[..], [_, "StatefulSet", _, ordinal] if ordinal.parse::<u32>().is_ok())
}

/// Those that the directory remembers, less the living, who are remembered from now on.
fn remember(directory: &Path, living: &BTreeSet<String>) -> BTreeSet<String> {
    let path = directory.join(NAME);
    // One that cannot be read proves nothing.
    let read = file::read_regular(&path, MAX_BYTES).ok();
    let mut content: Content = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let new: Vec<String> =
        living.iter().filter(|process| !content.processes.contains(process)).cloned().collect();
    if !new.is_empty() {
        content.processes.extend(new);
        let excess = content.processes.len().saturating_sub(MAX_REMEMBERED);
        content.processes.drain(..excess);
        let written = serde_json::to_vec(&content).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|bytes| file::replace(&path, &bytes)) {
            tracing::debug!(%error, "the next process will not know of this one");
        }
    }
    content.processes.into_iter().filter(|process| !living.contains(process)).collect()
}

#[cfg(test)]
mod tests {
    use pillion_repository::format::lock::Lock;
    use pillion_repository::format::time::Timestamp;

    use super::*;
    use crate::agent::config::raw::Raw;

    fn config(directory: &Path, more: &str) -> Config {
        let yaml = format!(
            "{{repository: /r, sources: /s, schedule: '@daily', cacheDir: {}, instance: pod-2, {more}}}",
            directory.display()
        );
        Config::resolve(Raw::from_yaml(&yaml).unwrap()).unwrap()
    }

    fn lock(hostname: &str, username: &str) -> Lock {
        Lock {
            time: Timestamp { seconds: 0, nanoseconds: 0 },
            exclusive: false,
            hostname: hostname.to_owned(),
            username: username.to_owned(),
            pid: 1,
            uid: 0,
            gid: 0,
        }
    }

    #[test]
    fn a_lock_is_of_the_dead_only_where_its_end_is_proved() {
        let directory = tempfile::tempdir().unwrap();
        let earlier = Processes::new();
        let usual = config(directory.path(), "identity: shop/Deployment/db");
        let username = earlier.username(&usual);
        assert!(username.starts_with("pod-2/"), "{username}");
        let of_it = lock("shop/Deployment/db", &username);
        assert!(!earlier.ended(&usual, &Standing::Owner).knows(&of_it), "it lives");

        // The next process owns the directory.
        let next = Processes::new();
        assert!(!next.ended(&usual, &Standing::Guest).knows(&of_it), "its owner may live");
        let known = next.ended(&usual, &Standing::Owner);
        assert!(known.knows(&of_it));
        for (hostname, username) in [
            ("shop/Deployment/other", username.as_str()),
            ("shop/Deployment/db", "pod-2/0123456789abcdef"),
            ("shop/Deployment/db", "root"),
            ("shop/Deployment/db", next.username(&usual).as_str()),
        ] {
            assert!(!known.knows(&lock(hostname, username)), "{hostname} {username}");
        }
    }

    #[test]
    fn an_ordinal_has_one_process_and_an_instance_is_ended_by_the_settings_word() {
        let directory = tempfile::tempdir().unwrap();
        let processes = Processes::new();
        let ended = |more: &str, hostname: &str, username: &str| {
            let config = config(directory.path(), more);
            processes.ended(&config, &Standing::Guest).knows(&lock(hostname, username))
        };
        let ordinal = "identity: shop/StatefulSet/db/0";
        assert!(ended(ordinal, "shop/StatefulSet/db/0", "db-0/1"));
        assert!(!ended(ordinal, "shop/StatefulSet/db/1", "db-1/1"));
        assert!(!ended("identity: shop/StatefulSet/db", "shop/StatefulSet/db", "db-0/1"));
        let word = "identity: shop/Deployment/db, endedInstances: [pod-1]";
        assert!(ended(word, "shop/Deployment/db", "pod-1/1"));
        assert!(!ended(word, "shop/Deployment/db", "pod-3/1"));
    }

    #[test]
    fn a_worker_that_lives_is_none_of_the_dead_and_what_the_directory_cannot_tell_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let usual = config(directory.path(), "identity: a");
        let processes = Processes::new();
        let worker = processes.begin_worker();
        let of_it = lock("a", &format!("pod-2/{worker}"));
        assert!(!processes.ended(&usual, &Standing::Owner).knows(&of_it));
        processes.worker_ended(&worker);
        assert!(
            processes.ended(&usual, &Standing::Owner).knows(&of_it),
            "it was killed before it removed it"
        );

        std::fs::write(directory.path().join(NAME), "{").unwrap();
        assert!(!Processes::new().ended(&usual, &Standing::Owner).knows(&of_it));
        let content: Content =
            serde_json::from_slice(&std::fs::read(directory.path().join(NAME)).unwrap()).unwrap();
        assert_eq!(content.processes.len(), 1, "it is begun anew");
    }
}
