//! Random histories of one repository that restic and we use by turns: whatever was done to it, every snapshot that is
//! left restores to what its source was.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use pillion_repository::format::id::Id;

use crate::forest::{Forest, assert_same_picture, picture};
use crate::ours;
use crate::restic::{self, run};

/// Every seed is a history of its own, the same at every run.
const SEEDS: [u64; 8] = [11, 12, 13, 14, 15, 16, 17, 18];
const STEPS: usize = 12;

/// Says which history failed, and what had been done in it until then.
struct Told {
    seed: u64,
    steps: Vec<String>,
}

impl Told {
    fn step(&mut self, step: impl fmt::Display) {
        self.steps.push(step.to_string());
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the history of the seed {} failed after: {}", self.seed, self.steps.join(", "));
        }
    }
}

type Snapshots = Vec<(Id, BTreeMap<Vec<u8>, String>)>;

struct History {
    told: Told,
    random: Rng,
    repository: restic::Repository,
    folder: tempfile::TempDir,
    forest: Forest,
    snapshots: Snapshots,
}

impl History {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let forest = Forest::sow(&folder.path().join("source"), seed);
        Self {
            told: Told { seed, steps: Vec::new() },
            random: Rng::with_seed(seed),
            repository: restic::Repository::create(),
            folder,
            forest,
            snapshots: Vec::new(),
        }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn restic(&self, arguments: &[&str]) -> String {
        let output = run(self.repository.command(self.folder.path()).args(arguments));
        String::from_utf8(output.stdout).unwrap()
    }

    fn step(&mut self) {
        match self.random.u32(..12) {
            0..3 => {
                self.told.step("backup by us");
                let ours = ours::open(ours::local(self.repository.path()));
                let id = ours::backup(&ours, &self.source()).snapshot_id.unwrap();
                self.snapshots.push((id, picture(&self.source())));
            }
            3..5 => {
                self.told.step("backup by restic");
                let said =
                    self.restic(&["backup", "--json", "--host", "host", self.source().to_str().unwrap()]);
                let summary: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
                let id = summary["snapshot_id"].as_str().unwrap().parse().unwrap();
                self.snapshots.push((id, picture(&self.source())));
            }
            5..9 => {
                let changes = self.random.usize(1..10);
                self.told.step(format_args!("{changes} changes"));
                (0..changes).for_each(|_| self.forest.change());
            }
            9 => self.forget(),
            10 => {
                self.told.step("prune");
                self.restic(&["prune", "--max-unused", "0", "--repack-small"]);
            }
            _ => {
                if !self.snapshots.is_empty() {
                    let number = self.random.usize(..self.snapshots.len());
                    self.restore(number);
                }
            }
        }
    }

    fn forget(&mut self) {
        if self.snapshots.len() < 2 {
            return;
        }
        let (id, _) = self.snapshots.remove(self.random.usize(..self.snapshots.len()));
        self.told.step(format_args!("forget {}", id.short()));
        self.restic(&["forget", &id.to_string()]);
    }

    /// Restores by either program, as chance will have it.
    fn restore(&mut self, number: usize) {
        let (id, expected) = &self.snapshots[number];
        let target = tempfile::tempdir().unwrap();
        if self.random.bool() {
            self.told.step(format_args!("restore {} by restic", id.short()));
            let from = format!("{id}:{}", self.source().display());
            self.restic(&["restore", &from, "--target", target.path().to_str().unwrap()]);
        } else {
            self.told.step(format_args!("restore {} by us", id.short()));
            let ours = ours::open(ours::local(self.repository.path()));
            ours::restore(&ours, id, &self.source(), target.path());
        }
        assert_same_picture(expected, &picture(target.path()));
    }

    fn assert_whole(&mut self) {
        let ours = ours::open(ours::local(self.repository.path()));
        let mut listed = ours::snapshot_ids(&ours);
        let mut expected: Vec<Id> = self.snapshots.iter().map(|(id, _)| *id).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        for number in 0..self.snapshots.len() {
            self.restore(number);
        }
        let said = run(self.repository.command(Path::new("/")).args(["check", "--read-data"]));
        assert!(String::from_utf8_lossy(&said.stdout).contains("no errors were found"));
    }
}

fn check(seeds: &[u64]) {
    for seed in seeds {
        let mut history = History::new(*seed);
        for _ in 0..STEPS {
            history.step();
        }
        history.assert_whole();
    }
}

#[test]
fn every_snapshot_of_a_random_history_restores_to_what_its_source_was() {
    // On as many threads as a small machine has processors.
    std::thread::scope(|scope| {
        for seeds in SEEDS.chunks(4) {
            scope.spawn(|| check(seeds));
        }
    });
}
