//! Locks that a killed agent leaves, and who may remove them.

use std::path::PathBuf;

use crate::agent::{Agent, settings, wait_until};
use crate::scene::Scene;

/// A hook that nobody answers: the run waits in it, with its lock.
const WAITING: &str = "hooks: {preBackup: {exec: {command: [freeze]}, containerName: db}},";

fn locks(scene: &Scene) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(scene.path("agents/locks")).into_iter().flatten();
    // While it is written it has another name.
    let is_lock = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    listed.map(|entry| entry.unwrap().path()).filter(is_lock).collect()
}

/// An agent that is killed in the middle of a run; its lock stays.
fn killed(scene: &Scene, more: &str) {
    let config = settings(scene, &format!("{WAITING} {more}"));
    let mut agent = Agent::start(scene, &["--config", &config]);
    agent.wait_for("run begins");
    wait_until(|| locks(scene).len() == 1);
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    assert_eq!(locks(scene).len(), 1);
}

/// How many locks are left once another agent has backed up.
fn left_after(scene: &Scene, more: &str) -> usize {
    let config = settings(scene, more);
    let mut agent = Agent::start(scene, &["--config", &config]);
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    locks(scene).len()
}

#[test]
fn the_next_process_in_the_same_cache_directory_removes_the_lock_of_a_killed_one() {
    let scene = Scene::new();
    killed(&scene, "identity: shop/Deployment/db, instance: pod-1");
    assert_eq!(left_after(&scene, "identity: shop/Deployment/db, instance: pod-1"), 0);
}

#[test]
fn elsewhere_a_lock_of_the_same_agent_stays_until_its_end_is_proved() {
    let scene = Scene::new();
    killed(&scene, "identity: shop/Deployment/db, instance: pod-1");
    // As in another pod, whose cache is its own.
    std::fs::rename(scene.path("cache"), scene.path("lost")).unwrap();
    let successor = "identity: shop/Deployment/db, instance: pod-2,";
    assert_eq!(left_after(&scene, successor), 1, "a rollout runs both side by side");
    let told = format!("{successor} endedInstances: [pod-1]");
    // So that there is a first run once more.
    std::fs::remove_dir_all(scene.path("agents/snapshots")).unwrap();
    std::fs::create_dir(scene.path("agents/snapshots")).unwrap();
    assert_eq!(left_after(&scene, &told), 0);
}

#[test]
fn the_next_of_an_ordinal_removes_the_lock_of_the_one_before() {
    let scene = Scene::new();
    killed(&scene, "identity: shop/StatefulSet/db/0");
    std::fs::rename(scene.path("cache"), scene.path("lost")).unwrap();
    assert_eq!(left_after(&scene, "identity: shop/StatefulSet/db/0"), 0);
}
