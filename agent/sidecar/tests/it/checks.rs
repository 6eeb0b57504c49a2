//! The agent's checks: in a process of their own, of a sound repository and of a damaged one, and ended in the middle.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::agent::{Agent, settings, wait_until};
use crate::restic;
use crate::scene::{Printed, Scene};
use crate::sources::signal;

const CHECKS: &str = "checkSchedule: '0 0 1 1 *', checkGroups: 1,";

/// An agent that has taken its first snapshot.
fn started() -> (Scene, Agent) {
    let scene = Scene::new();
    let config = settings(&scene, CHECKS);
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    (scene, agent)
}

fn ask(scene: &Scene, arguments: &[&str]) -> (Printed, Value) {
    let socket = scene.path("cache/control.sock");
    let printed = scene.run(&[arguments, &["--socket", socket.to_str().unwrap(), "--json"]].concat());
    let answer = serde_json::from_str(&printed.out).unwrap_or(Value::Null);
    (printed, answer)
}

fn files(scene: &Scene, folder: &str) -> Vec<PathBuf> {
    let mut command = std::process::Command::new("find");
    command.arg(scene.path("agents").join(folder)).args(["-type", "f"]);
    let listed = String::from_utf8(restic::run(&mut command).stdout).unwrap();
    listed.lines().map(PathBuf::from).collect()
}

/// The processes that have this one for a parent.
fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |number: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{of}"))
    };
    numbers.filter(is_child).collect()
}

#[test]
fn a_check_reads_everything_and_says_what_it_found() {
    let (scene, agent) = started();
    let (printed, sound) = ask(&scene, &["trigger", "--check", "--wait"]);
    assert_eq!((printed.code, &sound["kind"], &sound["outcome"]), (0, &"check".into(), &"Complete".into()));
    let checked = &sound["checked"];
    assert_eq!([&checked["errors"], &checked["group"], &checked["groups"]], [0, 1, 1]);
    assert!(checked["packsRead"].as_u64() >= Some(2) && checked["packs"] == checked["packsRead"], "{sound}");

    // One bit of the data, of which no header tells.
    let pack = files(&scene, "data").into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap();
    flip_a_bit(&pack);
    let (printed, damaged) = ask(&scene, &["trigger", "--check", "--wait"]);
    assert_eq!((printed.code, &damaged["outcome"]), (1, &"Damaged".into()), "{}{}", printed.out, printed.err);
    let (message, hint) = (damaged["message"].as_str().unwrap(), damaged["hint"].as_str().unwrap());
    let name = pack.file_name().unwrap().to_str().unwrap();
    assert!(
        message.contains("findings of damage: 1, the first: ") && message.contains(&name[..8]),
        "{message}"
    );
    assert!(hint.contains(&format!("restic repair packs {name}")), "{hint}");
    assert_eq!(files(&scene, "locks").len(), 0);
    assert_eq!(agent.end(), Some(0));
}

fn flip_a_bit(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 1000).unwrap();
}

#[test]
fn a_check_that_is_cancelled_leaves_no_worker_and_no_lock() {
    let (scene, agent) = started();
    let (_, asked) = ask(&scene, &["trigger", "--check"]);
    let number = asked["number"].to_string();
    let mut worker = None;
    wait_until(|| {
        worker = children(agent.child.id()).pop();
        worker.is_some()
    });
    // It stands still wherever it is, and shows nobody what it was given.
    let worker = worker.unwrap();
    signal(worker, "STOP");
    for file in ["environ", "cmdline"] {
        let shown = std::fs::read(format!("/proc/{worker}/{file}")).unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains(restic::PASSWORD) && !shown.contains("checkSchedule"), "{shown}");
    }
    assert_eq!(ask(&scene, &["cancel", &number]).0.code, 0);
    signal(worker, "CONT");
    let ended = || ask(&scene, &["runs", &number]).1;
    wait_until(|| ended()["state"] == "ended");
    assert_eq!(ended()["outcome"], "Cancelled", "{}", ended());
    assert_eq!((children(agent.child.id()), files(&scene, "locks").len()), (Vec::new(), 0));
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn a_worker_that_dies_fails_its_run_and_not_the_agent() {
    let (scene, mut agent) = started();
    ask(&scene, &["trigger", "--check"]);
    wait_until(|| match children(agent.child.id()).pop() {
        Some(worker) => {
            signal(worker, "KILL");
            true
        }
        None => false,
    });
    let failed = agent.wait_for("run failed");
    let problem = failed["problem"].as_str().unwrap();
    assert_eq!(problem, "the process that did it ended before it was done: signal: 9 (SIGKILL)");
    let (printed, again) = ask(&scene, &["trigger", "--check", "--wait"]);
    assert_eq!((printed.code, &again["outcome"]), (0, &"Complete".into()), "{again}");
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn a_worker_does_nothing_for_who_starts_it_by_hand() {
    let printed = Scene::new().run(&["worker"]);
    assert_eq!((printed.code, printed.out.as_str()), (1, ""));
    assert!(printed.err.contains("a worker is started by the agent alone"), "{}", printed.err);
}
