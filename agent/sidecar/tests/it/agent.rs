//! The resident door: first snapshot, catch-up, an orderly end, and staying up whatever the settings hold.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::restic;
use crate::scene::Scene;
use crate::sources::signal;

/// Longer than anything here takes on a busy machine: what is waited for longer does not happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent at work, and its log.
pub(crate) struct Agent {
    pub(crate) child: Child,
    log: mpsc::Receiver<String>,
}

impl Agent {
    pub(crate) fn command(scene: &Scene, arguments: &[&str]) -> Command {
        let mut command = scene.command([&["agent"], arguments].concat());
        command.env_remove("RESTIC_REPOSITORY").stdout(Stdio::null());
        command
    }

    pub(crate) fn start(scene: &Scene, arguments: &[&str]) -> Self {
        Self::spawn(&mut Self::command(scene, arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        // Ends with the agent's standard error.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Reads the log up to the message.
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        let parse =
            |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")) };
        parse(&self.wait_for_line(|line| parse(line)["message"] == message))
    }

    /// Reads the log up to a line.
    pub(crate) fn wait_for_line(&mut self, mut is_meant: impl FnMut(&str) -> bool) -> String {
        let mut read = String::new();
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| panic!("{e} after {read}"));
            if is_meant(&line) {
                return line;
            }
            read += &line;
        }
    }

    /// Asks it to end, and returns its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.wait_for("stopped");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that failed must leave nothing behind.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Waits for what can be seen of an agent that says nothing.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn settings(scene: &Scene, more: &str) -> String {
    let file = scene.path("config.yaml");
    let text = format!(
        "{{repository: {}, sources: {}, cacheDir: {}, schedule: '0 0 1 1 *', retryMin: 1s, \
         publicAddress: off, controlAddress: off, {more}}}",
        scene.path("agents").display(),
        scene.source().display(),
        scene.path("cache").display(),
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

pub(crate) fn snapshots(scene: &Scene) -> Vec<Value> {
    let mut command = scene.repository.command(&scene.path("."));
    command.env("RESTIC_REPOSITORY", scene.path("agents")).args(["snapshots", "--json"]);
    let listed: Value = serde_json::from_slice(&restic::run(&mut command).stdout).unwrap();
    listed.as_array().unwrap().clone()
}

#[test]
fn the_first_snapshot_is_taken_at_once_and_only_once() {
    let scene = Scene::new();
    let config = settings(&scene, "identity: shop/db, host: db-host");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let record = agent.wait_for("run ended");
    assert_eq!((&record["outcome"], &record["skipped"]), (&"Complete".into(), &0.into()), "{record}");
    assert_eq!(agent.end(), Some(0));
    let taken = snapshots(&scene);
    assert_eq!(taken.len(), 1);
    assert_eq!((&taken[0]["hostname"], &taken[0]["tags"][0]), (&"db-host".into(), &"pillion=shop/db".into()));
    assert_eq!(std::fs::read_dir(scene.path("agents/locks")).unwrap().count(), 0);

    // The next moment of the schedule is far: what was missed is nothing, so a restart takes no other one.
    let mut again = Agent::start(&scene, &["--config", &config]);
    again.wait_for("settings taken over");
    assert_eq!(again.end(), Some(0));
    assert_eq!(snapshots(&scene).len(), 1);
}

#[test]
fn an_agent_whose_log_cannot_be_written_goes_on() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for log in [Stdio::from(full), Stdio::from(closed)] {
        let scene = Scene::new();
        let config = settings(&scene, "");
        let mut child = Agent::command(&scene, &["--config", &config]).stderr(log).spawn().unwrap();
        let snapshots = scene.path("agents/snapshots");
        wait_until(|| {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
            std::fs::read_dir(&snapshots).is_ok_and(|mut files| files.next().is_some())
        });
        signal(child.id(), "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_look_that_fails_tells_what_to_do() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    scene.ok(&["init", "--repo", scene.path("agents").to_str().unwrap()]);
    std::fs::write(scene.path("RESTIC_PASSWORD"), "wrong").unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let credentials = format!("{{credentialsDir: {}, ", scene.path(".").display());
    std::fs::write(&config, text.replacen('{', &credentials, 1)).unwrap();
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let told = agent.wait_for("cannot see what is in the repository");
    assert!(told["hint"].as_str().unwrap().contains("credentialsDir"), "{told}");
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn what_is_left_out_is_logged_also_where_the_run_then_fails() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let sources = format!("sources: [{0}, {0}/none]", scene.source().display());
    std::fs::write(&config, text.replace(&format!("sources: {}", scene.source().display()), &sources))
        .unwrap();
    scene.ok(&["init", "--repo", scene.path("agents").to_str().unwrap()]);
    std::fs::remove_dir_all(scene.path("agents/data")).unwrap();
    std::fs::write(scene.path("agents/data"), "a file where a directory is to be").unwrap();
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let told = agent.wait_for("left out");
    assert!(told["path"].as_str().unwrap().ends_with("/none"), "{told}");
    agent.wait_for("run failed");
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn a_pipe_in_the_place_of_a_file_blocks_nothing() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let fifo = |path: &std::path::Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    // In the place of the settings, of the password, and of a file of patterns.
    fifo(&scene.path("settings"));
    fifo(&scene.path("RESTIC_PASSWORD"));
    fifo(&scene.path("patterns"));
    let text = std::fs::read_to_string(&config).unwrap();
    let with = |name: &str, value: &str| {
        let file = scene.path(&format!("{name}.yaml"));
        std::fs::write(&file, text.replacen('{', &format!("{{{name}: {value}, "), 1)).unwrap();
        file
    };
    for (file, message) in [
        (scene.path("settings"), "the settings are refused"),
        (with("credentialsDir", scene.path(".").to_str().unwrap()), "cannot see what is in the repository"),
        (with("excludeFile", scene.path("patterns").to_str().unwrap()), "run failed"),
    ] {
        let mut agent = Agent::start(&scene, &["--config", file.to_str().unwrap()]);
        let told = agent.wait_for(message);
        let problem = told["problem"].as_str().unwrap();
        assert!(problem.ends_with("it is no regular file, and nothing else can be read again"), "{told}");
        assert_eq!(agent.end(), Some(0));
    }
    let refused = scene.run(&["agent", "--check-config", "--config", "settings"]);
    crate::scene::check_failure(&refused, 1, "a pipe");
}

#[test]
fn nothing_the_agent_prints_holds_a_credential() {
    let scene = Scene::new();
    let credentials = scene.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_ACCOUNT_KEY", "B2_ACCOUNT_KEY"];
    for name in ["RESTIC_PASSWORD"].iter().chain(&names) {
        std::fs::write(credentials.join(name), format!("hunter of {name}")).unwrap();
    }
    let more = format!("logLevel: trace, credentialsDir: {}", credentials.display());
    let config = settings(&scene, &more);
    let others = names.map(|name| (name, "hunter of the environment"));
    let log = scene.path("log");
    let mut command = Agent::command(&scene, &["--config", &config]);
    let mut child = command.envs(others).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let read = || std::fs::read_to_string(&log).unwrap();
    wait_until(|| read().contains("run ended"));
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let told = read();
    assert!(told.contains("does not count: AWS_ACCESS_KEY_ID"), "{told}");
    assert!(!told.contains("hunter"), "{told}");

    let file = std::fs::read_to_string(&config).unwrap();
    let repository = format!("repository: {}", scene.path("agents").display());
    for (store, code) in [
        ("backend: {azure: {container: c}}", 1),
        ("repository: s3:host/bucket", 0),
        ("repository: s3:https://user:hunter@host/bucket", 1),
    ] {
        std::fs::write(&config, file.replace(&repository, store)).unwrap();
        let mut command = Agent::command(&scene, &["--check-config", "--config", &config]);
        let output = command.envs(others).stdout(Stdio::piped()).output().unwrap();
        let printed = crate::scene::Printed::from(output);
        assert_eq!(printed.code, code, "{}", printed.err);
        assert!(!printed.err.contains("hunter") && !printed.out.contains("hunter"), "{}", printed.err);
        let names_what_is_missing = printed.err.contains("credentialsDir: credentials of ")
            && printed.err.contains(": AZURE_ACCOUNT_NAME is missing");
        assert_eq!(names_what_is_missing, store.contains("azure"), "{}", printed.err);
    }
}

#[test]
fn what_was_missed_is_caught_up_with() {
    let scene = Scene::new();
    let config = settings(&scene, "identity: a");
    let repository = scene.path("agents");
    let repository = repository.to_str().unwrap();
    scene.ok(&["init", "--repo", repository]);
    let source = scene.source();
    let old = ["backup", "--repo", repository, "--tag", "pillion=a", "--time", "2020-01-02 00:00:00"];
    scene.ok(&[&old[..], &[source.to_str().unwrap()]].concat());
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let begun = agent.wait_for("run begins");
    assert!(begun["reason"].as_str().unwrap().starts_with("missed since 2020-01-02"), "{begun}");
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    assert_eq!(snapshots(&scene).len(), 2);
}

#[test]
fn a_termination_during_a_run_ends_it_in_order() {
    let scene = Scene::new();
    let large = std::fs::File::create(scene.source().join("large")).unwrap();
    // Much work and no disk: what is read of it is data all the same.
    large.set_len(40 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&large, b"x", 0).unwrap();
    let config = settings(&scene, "");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run begins");
    assert_eq!(agent.end(), Some(0));
    assert_eq!(std::fs::read_dir(scene.path("agents/locks")).map_or(0, Iterator::count), 0);
    assert_eq!(std::fs::read_dir(scene.path("cache/spool")).map_or(0, Iterator::count), 0);
}

#[test]
fn bad_settings_are_a_state_and_good_ones_are_taken_over() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    std::fs::write(&config, "{repository: /r, sources: relative, schedule: 0 0 30 2 *}").unwrap();
    let refused = scene.run(&["agent", "--check-config", "--config", &config]);
    crate::scene::check_failure(&refused, 1, "impossible settings");
    assert!(refused.err.contains("schedule:") && refused.err.contains("sources:"), "{}", refused.err);

    let mut agent = Agent::start(&scene, &["--config", &config]);
    let told = agent.wait_for("the settings are refused");
    assert!(!told["problem"].as_str().unwrap().is_empty());
    settings(&scene, "");
    assert_eq!(agent.wait_for("run ended")["outcome"], "Complete");
    assert_eq!(agent.end(), Some(0));
    assert!(scene.ok(&["agent", "--check-config", "--config", &config]).contains("schedule:"));
}

#[test]
fn a_check_of_the_settings_refuses_what_every_run_would_refuse() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let text = std::fs::read_to_string(&config).unwrap();
    let check = |variables: &[(&str, &OsStr)]| {
        let mut command = Agent::command(&scene, &["--check-config", "--config", &config]);
        let printed = command.stdout(Stdio::piped()).envs(variables.iter().copied()).output().unwrap();
        crate::scene::Printed::from(printed)
    };
    std::os::unix::fs::symlink("source", scene.path("symlink")).unwrap();
    for (name, value) in [
        ("REPOSITORY", OsStr::new("s3:https://x")),
        ("REPOSITORY", OsStr::new("s3:")),
        ("EXCLUDE", OsStr::new("[")),
        ("EXCLUDE_FILE", OsStr::new("/nonexistent")),
        ("SOURCES", scene.path("symlink").as_os_str()),
        ("SOURCES", OsStr::from_bytes(b"/a\xff")),
    ] {
        let refused = check(&[(&format!("PILLION_{name}"), value)]);
        crate::scene::check_failure(&refused, 1, name);
        let named = name.replace("_F", "F").to_lowercase();
        assert!(
            refused.err.to_lowercase().replace("pillion_", "").contains(&format!(": {named}: ")),
            "{}",
            refused.err
        );
    }
    std::fs::write(&config, text.replace("/source,", "/later,")).unwrap();
    let warned = check(&[]);
    assert_eq!(warned.code, 0, "{}", warned.err);
    assert!(warned.err.starts_with("Warning: sources: ") && warned.err.contains("/later"), "{}", warned.err);
    assert!(warned.out.contains("/later"), "{}", warned.out);
}

#[test]
fn the_log_changes_with_the_settings() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    // Another host has no snapshot yet, so there is a run, and what it tells at this level was hidden before.
    settings(&scene, "logLevel: debug, logFormat: text, host: another");
    let taken_over = agent.wait_for_line(|line| line.contains("settings taken over"));
    assert!(taken_over.contains(" INFO settings taken over"), "{taken_over}");
    agent.wait_for_line(|line| line.contains("DEBUG"));
    agent.wait_for_line(|line| line.contains("run ended"));
    signal(agent.child.id(), "TERM");
    agent.wait_for_line(|line| line.contains("INFO stopped"));
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_repository_that_is_gone_is_an_outcome_of_its_own_and_never_made_anew() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    std::fs::rename(scene.path("agents"), scene.path("moved")).unwrap();
    let mut agent = Agent::start(&scene, &["--config", &config]);
    let told = agent.wait_for("nothing is backed up");
    assert_eq!(told["outcome"], "RepositoryReplaced", "{told}");
    let remedy = format!("delete {}", scene.path("cache/agent.json").display());
    assert!(told["problem"].as_str().unwrap().ends_with(&remedy), "{told}");
    assert!(!scene.path("agents").exists());
    std::fs::rename(scene.path("moved"), scene.path("agents")).unwrap();
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn the_sample_needs_nothing_but_a_directory() {
    let scene = Scene::new();
    let directory = scene.path("sample");
    let mut agent = Agent::start(&scene, &["--sample", directory.to_str().unwrap()]);
    assert_eq!(agent.wait_for("run ended")["files"], 3);
    assert_eq!(agent.end(), Some(0));
}
