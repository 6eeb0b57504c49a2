//! Several make a repository at the same time; restic opens what became of it.

use std::path::Path;
use std::sync::Barrier;

use pillion_backend::mem::Mem;
use pillion_repository::Error;

use crate::ours;
use crate::restic::{self, run};

const ACTORS: usize = 4;

/// All make one at once, and whoever lost opens the winner's. Then each takes a snapshot.
fn race(store: &Mem) {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("file"), "content").unwrap();
    let start = Barrier::new(ACTORS);
    let made = std::thread::scope(|scope| {
        let actor = |number: usize| {
            let (start, source, store) = (&start, source.path(), store.clone());
            move || {
                start.wait();
                let made = ours::try_init(store.clone());
                // Before anything is judged: one that panicked would keep the others waiting for ever.
                start.wait();
                let lost =
                    matches!(made, Err(Error::AlreadyInitialized { .. } | Error::UnfinishedInit { .. }));
                assert!(made.is_ok() || lost, "{made:?}");
                let ours = made.as_ref().map_or_else(|_| ours::open(store.clone()), Clone::clone);
                let mut options = ours::options(source);
                options.host = format!("actor-{number}");
                ours::try_backup(&ours, &options).unwrap();
                made.is_ok()
            }
        };
        let threads: Vec<_> = (0..ACTORS).map(|number| scope.spawn(actor(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|won| **won).count(), 1, "{made:?}");
    let directory = tempfile::tempdir().unwrap();
    ours::write_out(store, directory.path());
    let restic = |arguments: &[&str]| {
        let output = run(restic::command(directory.path(), Path::new("/")).args(arguments));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: serde_json::Value = serde_json::from_str(&restic(&["snapshots", "--json"])).unwrap();
    let mut hosts: Vec<&str> =
        listed.as_array().unwrap().iter().map(|snapshot| snapshot["hostname"].as_str().unwrap()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["actor-0", "actor-1", "actor-2", "actor-3"]);
    assert_eq!(restic(&["list", "keys"]).lines().count(), 1, "the losers' keys are gone");
    restic(&["check", "--read-data"]);
}

#[test]
fn restic_opens_what_the_winner_of_a_race_made_and_lists_everybodys_snapshots() {
    race(&Mem::new());
}

#[test]
fn so_it_does_where_the_store_cannot_pick_the_winner() {
    race(&Mem::without_save_new());
}
