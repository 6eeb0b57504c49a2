//! The agent's checks: in a process of their own, of a sound repository and of a damaged one, and ended in the middle.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pillion_repository::format::id::Id;
use pillion_repository::format::key::{Cost, KeyFile};
use pillion_repository::format::time::Timestamp;
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
    // Of a run that takes long, lines of its progress come first.
    let answer = printed.out.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
    let answer = answer.unwrap_or(Value::Null);
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

/// The key of this repository once more, of a cost for which the agent has no memory, and in the place of the old one.
fn make_its_key_costly(scene: &Scene) {
    let old = files(scene, "keys").pop().unwrap();
    let password = restic::PASSWORD.as_bytes();
    let master = KeyFile::decode(&std::fs::read(&old).unwrap()).unwrap().open(password).unwrap();
    let (cost, time) = (Cost { n: 131_072, r: 8, p: 1 }, Timestamp { seconds: 0, nanoseconds: 0 });
    let file = KeyFile::create_at(cost, password, &master, time, "elsewhere", "somebody").encode();
    std::fs::remove_file(&old).unwrap();
    std::fs::write(old.with_file_name(Id::of(&file).to_string()), file).unwrap();
}

#[test]
fn a_key_that_asks_for_much_memory_is_opened_by_a_worker_and_the_agent_stays_small() {
    let scene = Scene::new();
    let config = settings(&scene, CHECKS);
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    make_its_key_costly(&scene);

    let agent = Agent::start(&scene, &["--config", &config]);
    wait_until(|| ask(&scene, &["status"]).0.code == 0);
    for what in [&["trigger", "--wait"][..], &["trigger", "--check", "--wait"]] {
        let (printed, record) = ask(&scene, what);
        assert_eq!((printed.code, &record["outcome"]), (0, &"Complete".into()), "{record}{}", printed.err);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 128 << 10, "the key alone takes 128 MiB, and the agent took {peak_kib} KiB");
    assert_eq!(agent.end(), Some(0));

    // The wrong password is that, and nothing of a worker's.
    let mut command = Agent::command(&scene, &["--config", &config]);
    let mut agent = Agent::spawn(command.env("RESTIC_PASSWORD", "wrong"));
    let told = agent.wait_for("cannot see what is in the repository");
    assert_eq!(told["problem"], "wrong password, or no key for it");
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn a_worker_does_nothing_for_who_starts_it_by_hand() {
    let printed = Scene::new().run(&["worker"]);
    assert_eq!((printed.code, printed.out.as_str()), (1, ""));
    assert!(printed.err.contains("a worker is started by the agent alone"), "{}", printed.err);
}
