//! Random histories: whatever happens between the runs, every snapshot holds the state it saw.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;

/// Paths that are there, and edits that an application might do to them.
struct History {
    bench: Bench,
    random: Rng,
    serial: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let bench = Bench::new();
        bench.script.dir("/data/first/second").file("/data/file", b"begin").file("/data/first/other", b"");
        Self { bench, random: Rng::with_seed(seed), serial: 0 }
    }

    fn paths(&self, kind: Option<NodeKind>) -> Vec<String> {
        let tree = self.bench.source();
        let wanted = tree.iter().filter(|(_, seen)| kind.is_none_or(|kind| seen.kind == kind));
        wanted.map(|(path, _)| format!("/data{path}")).collect()
    }

    fn some(&mut self, kind: Option<NodeKind>) -> Option<String> {
        let paths = self.paths(kind);
        (!paths.is_empty()).then(|| paths[self.random.usize(..paths.len())].clone())
    }

    fn new_path(&mut self) -> String {
        self.serial += 1;
        let folder = self.some(Some(NodeKind::Dir)).unwrap_or_else(|| "/data".to_owned());
        format!("{folder}/entry-{}", self.serial)
    }

    fn content(&mut self) -> Vec<u8> {
        let size_bytes =
            if self.random.u8(..10) == 0 { self.random.usize(..2 << 20) } else { self.random.usize(..100) };
        noise(self.random.u64(..4), size_bytes)
    }

    fn edit(&mut self) {
        let (path, content) = (self.new_path(), self.content());
        let script = Arc::clone(&self.bench.script);
        match self.random.u32(..9) {
            0 => drop(script.file(&path, &content)),
            1 => drop(script.dir(&path)),
            2 => drop(script.symlink(&path, "somewhere")),
            3 => {
                let Some(file) = self.some(Some(NodeKind::File)) else { return };
                script.write(&file, &content);
            }
            4 => {
                let Some(file) = self.some(None) else { return };
                if !path.starts_with(&format!("{file}/")) {
                    script.rename(&file, &path);
                }
            }
            5 => {
                let Some(file) = self.some(None) else { return };
                script.remove(&file);
            }
            6 => {
                let Some(file) = self.some(None) else { return };
                let mode = self.random.u32(..0o1000);
                let now = script.metadata(&file).ctime.seconds + 1;
                script.change(&file, |metadata| {
                    metadata.mode = metadata.mode & !0o777 | mode;
                    metadata.ctime.seconds = now;
                });
            }
            7 => {
                // Two files change places.
                let (Some(one), Some(two)) =
                    (self.some(Some(NodeKind::File)), self.some(Some(NodeKind::File)))
                else {
                    return;
                };
                if one != two {
                    script.rename(&one, "/swap").rename(&two, &one).rename("/swap", &two);
                }
            }
            _ => {
                let Some(file) = self.some(Some(NodeKind::File)) else { return };
                script.hard_link(&file, &path);
            }
        }
    }
}

#[test]
fn every_snapshot_of_a_random_history_holds_the_state_it_saw() {
    for seed in 0..25 {
        let mut history = History::new(seed);
        let mut states = Vec::new();
        for _ in 0..8 {
            for _ in 0..history.random.usize(..6) {
                history.bench.script.advance(3);
                history.edit();
            }
            let report = history.bench.run();
            history.bench.assert_holds_the_source(&report);
            states.push((report, history.bench.source()));
            let again = history.bench.run();
            assert_eq!((again.summary.data_blobs, again.summary.tree_blobs), (0, 0), "seed {seed}");
            assert_eq!(again.snapshot.tree, states.last().unwrap().0.snapshot.tree, "seed {seed}");
        }
        for (report, state) in &states {
            assert_same(&history.bench.restored(report).remove_above("data"), state);
        }
    }
}

#[test]
fn a_change_in_one_directory_stores_only_the_trees_above_it() {
    let bench = Bench::new();
    for folder in 0..20 {
        bench.script.file(&format!("/data/{folder}/inner/file"), b"content");
    }
    bench.run();
    bench.script.advance(10);
    bench.script.write("/data/7/inner/file", b"CONTENT");
    let report = bench.run();
    // inner, 7, data and the root.
    assert_eq!((report.summary.data_blobs, report.summary.tree_blobs), (1, 4));
    assert_eq!((report.summary.files_changed, report.summary.files_unmodified), (1, 19));
    bench.assert_holds_the_source(&report);
}

#[test]
fn hard_links_and_equal_files_are_stored_once() {
    let bench = Bench::new();
    let content = noise(1, 100_000);
    bench
        .script
        .file("/data/one", &content)
        .hard_link("/data/one", "/data/two")
        .file("/data/equal", &content);
    let report = bench.run();
    assert_eq!(report.summary.data_blobs, 1);
    bench.assert_holds_the_source(&report);
    let distinct: BTreeSet<_> = bench.restored(&report).into_values().map(|seen| seen.content).collect();
    assert_eq!(distinct.len(), 2, "the content, and none of the directory");
}

#[test]
fn a_snapshot_of_what_did_not_change_is_left_out_on_demand() {
    let bench = Bench::new();
    bench.script.file("/data/file", b"content");
    let skip = |options: &mut Options| options.skip_if_unchanged = true;
    let first = bench.run_with(skip);
    assert!(first.snapshot_id.is_some());
    assert!(bench.run_with(skip).snapshot_id.is_none());
    bench.script.advance(10);
    bench.script.write("/data/file", b"CONTENT");
    assert!(bench.run_with(skip).snapshot_id.is_some());
    assert_eq!(assert_sound(&bench.store).len(), 2);
}
