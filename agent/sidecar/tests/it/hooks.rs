//! The hooks of the resident door, against somebody who listens and programs that are there.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::mpsc;
use std::time::Duration;

use crate::agent::{Agent, settings, snapshots, wait_until};
use crate::scene::Scene;
use crate::sources::signal;

const PATIENCE: Duration = Duration::from_secs(120);

/// A workload that can be told to hold still, and tells what it was told.
struct Workload {
    port: u16,
    told: mpsc::Receiver<String>,
}

impl Workload {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, told) = mpsc::channel();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !is_whole(&request) {
                    match stream.read(&mut buffer) {
                        Ok(count @ 1..) => request.extend(&buffer[..count]),
                        _ => break,
                    }
                }
                if sender.send(String::from_utf8(request).unwrap()).is_err() {
                    return;
                }
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nhunter3");
            }
        });
        Self { port, told }
    }

    fn next(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("it is told something")
    }

    fn hooks(&self) -> String {
        let Self { port, .. } = self;
        format!(
            "hooks: {{preBackup: {{httpGet: {{port: {port}, path: /hold}}}}, postBackup: {{httpPost: {{port: {port}, \
             path: /go, body: hunter1, httpHeaders: [{{name: X-Token, value: hunter2}}]}}}}}}"
        )
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    body.len() >= length.map_or(0, |length| length.parse::<usize>().unwrap())
}

/// Makes the run long: much to read, and no disk.
fn make_large(scene: &Scene) {
    let large = std::fs::File::create(scene.source().join("large")).unwrap();
    large.set_len(40 << 30).unwrap();
    large.write_at(b"x", 0).unwrap();
}

fn markers(scene: &Scene) -> usize {
    let is_marker = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().starts_with("quiesce-")
    };
    std::fs::read_dir(scene.path("cache"))
        .map_or(0, |entries| entries.filter_map(|e| is_marker(e).then_some(())).count())
}

/// A program that notes what it was run as.
fn program(scene: &Scene, name: &str, end: &str) -> String {
    let (program, log) = (scene.path(name), scene.path("told"));
    let note =
        format!("#!/bin/sh\necho {name} $PILLION_HOOK $PILLION_HOOK_OUTCOME >> {}\n{end}\n", log.display());
    std::fs::write(&program, note).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}

fn told(scene: &Scene) -> String {
    std::fs::read_to_string(scene.path("told")).unwrap_or_default()
}

#[test]
fn a_workload_holds_still_while_it_is_read_and_no_secret_of_its_hooks_is_told() {
    let (scene, workload) = (Scene::new(), Workload::listen());
    let config = settings(&scene, &format!("logLevel: trace, {}", workload.hooks()));
    let log = scene.path("log");
    let mut command = scene.command(["agent", "--config", &config]);
    command.env_remove("RESTIC_REPOSITORY").env("HTTP_PROXY", "http://127.0.0.1:1");
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    assert!(workload.next().starts_with("GET /hold HTTP/1.1\r\n"));
    let go = workload.next();
    assert!(go.starts_with("POST /go HTTP/1.1\r\n") && go.ends_with("hunter1"), "{go}");
    assert!(go.contains("\r\nx-token: hunter2\r\n"), "{go}");
    let read = || std::fs::read_to_string(&log).unwrap();
    wait_until(|| read().contains("run ended"));
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(read().contains("\"outcome\":\"Complete\""), "{}", read());
    assert!(!read().contains("hunter"), "{}", read());
    assert!(workload.told.try_recv().is_err(), "it was told once");
    assert_eq!(markers(&scene), 0);

    let shown = scene.ok(&["agent", "--check-config", "--config", &config]);
    assert!(shown.contains("X-Token") && !shown.contains("hunter"), "{shown}");
}

#[test]
fn a_first_program_that_fails_ends_the_run_with_nothing_read() {
    let scene = Scene::new();
    let freeze = program(&scene, "freeze", "echo no table >&2; exit 3");
    let alarm = program(&scene, "alarm", "");
    let hooks = format!(
        "retries: 0, hooks: {{preBackup: {{command: {freeze}}}, postBackup: {{command: [{alarm}], executionPolicy: OnFinalRetryFailure}}}}"
    );
    let config = settings(&scene, &hooks);
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let record = agent.wait_for("run failed");
    let problem = record["problem"].as_str().unwrap();
    assert!(problem.ends_with(": it ended with exit code 3: no table; nothing was read"), "{problem}");
    assert_eq!(agent.end(), Some(0));
    assert_eq!(told(&scene), "freeze preBackup\nalarm postBackup Failed\n");
    assert_eq!(snapshots(&scene).len(), 0);
    assert_eq!(std::fs::read_dir(scene.path("agents/index")).unwrap().count(), 0);
}

#[test]
fn a_second_program_that_fails_is_said_and_the_snapshot_stays() {
    let scene = Scene::new();
    let after = program(&scene, "after", "exit 1");
    let config =
        settings(&scene, &format!("hooks: {{postBackup: {{command: {after}, executionPolicy: OnSuccess}}}}"));
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("a hook failed");
    let record = agent.wait_for("run ended");
    assert_eq!(record["outcome"], "Complete", "{record}");
    assert!(record["problem"].as_str().unwrap().contains("the postBackup hook failed (command "), "{record}");
    assert_eq!(agent.end(), Some(0));
    assert_eq!(told(&scene), "after postBackup Complete\n");
    assert_eq!(snapshots(&scene).len(), 1);
}

#[test]
fn a_termination_while_a_workload_holds_still_lets_it_go_on() {
    let (scene, workload) = (Scene::new(), Workload::listen());
    make_large(&scene);
    let config = settings(&scene, &workload.hooks());
    let mut agent = Agent::start(&scene, &["--config", &config]);
    assert!(workload.next().starts_with("GET /hold "));
    agent.wait_for("hook ended");
    assert_eq!(markers(&scene), 1);
    assert_eq!(agent.end(), Some(0));
    assert!(workload.next().starts_with("POST /go "));
    assert!(workload.told.try_recv().is_err(), "it was told once");
    assert_eq!(markers(&scene), 0);
}

#[test]
fn an_agent_that_is_killed_while_a_workload_holds_still_lets_it_go_on_when_it_starts_again() {
    let (scene, workload) = (Scene::new(), Workload::listen());
    make_large(&scene);
    let config = settings(&scene, &workload.hooks());
    let mut agent = Agent::start(&scene, &["--config", &config]);
    assert!(workload.next().starts_with("GET /hold "));
    agent.wait_for("hook ended");
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    assert!(workload.told.try_recv().is_err());
    assert_eq!(markers(&scene), 1);

    // Whatever keeps the new one from backing up does not keep it from that.
    std::fs::remove_file(scene.source().join("large")).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("repository: ", "repository: /nonexistent/below", 1)).unwrap();
    let mut again = Agent::start(&scene, &["--config", &config]);
    again.wait_for("the agent ended while the workload was held");
    assert!(workload.next().starts_with("POST /go "));
    again.wait_for("hook ended");
    wait_until(|| markers(&scene) == 0);
    assert_eq!(again.end(), Some(0));
}
