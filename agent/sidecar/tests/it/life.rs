//! The agent as a process: what others see of it, and what it hears from them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::agent::{Agent, settings, wait_until};
use crate::scene::{Scene, program};
use crate::sources::signal;

/// Values that are nowhere else.
const SECRETS: [(&str, &[u8]); 4] = [
    ("RESTIC_PASSWORD", b"hunter of the repository"),
    ("AWS_ACCESS_KEY_ID", b"hunter of the key"),
    ("AWS_SECRET_ACCESS_KEY", b"hunter of the secret"),
    ("ODD", b"hunter\xff\n=of the odd"),
];

fn with_secrets(command: &mut Command) -> &mut Command {
    command.envs(SECRETS.map(|(name, value)| (name, OsStr::from_bytes(value))))
}

fn holds_a_secret(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|window| window == b"hunter")
}

fn shown(process: u32, what: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{process}/{what}")).unwrap()
}

fn check_folder(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_folder(&path);
        } else if path.is_file() {
            assert!(!holds_a_secret(&std::fs::read(&path).unwrap()), "{}", path.display());
        }
    }
}

/// Runs a shell script that makes an agent of `$P` and `$CONFIG`, in namespaces of its own.
fn unshared(scene: &Scene, config: &str, namespaces: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let template = Agent::command(scene, &[]);
    command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("RESTIC_REPOSITORY").env("P", program()).env("CONFIG", config);
    command.env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
    command.args(namespaces).args(["--mount", "--propagation", "private", "sh", "-e", "-c", script]);
    command.stdout(Stdio::null());
    command
}

#[test]
fn nothing_shows_what_the_agent_was_started_with() {
    let scene = Scene::new();
    let config = settings(&scene, "logLevel: trace");
    let mut agent = Agent::spawn(with_secrets(&mut Agent::command(&scene, &["--config", &config])));
    let mut log = agent.wait_for_line(|line| line.contains("settings taken over"));
    let process = agent.child.id();
    for what in ["environ", "cmdline"] {
        assert!(!holds_a_secret(&shown(process, what)), "{what}: {:?}", shown(process, what));
    }
    let environment = shown(process, "environ");
    assert!(environment.starts_with(b"GLIBC_TUNABLES="), "it was not started again: {environment:?}");
    log += &agent.wait_for("run ended").to_string();
    assert!(!holds_a_secret(log.as_bytes()), "{log}");
    check_folder(&scene.path("cache"));
    assert_eq!(agent.end(), Some(0));
    // The password that was handed over opens it.
    let repository = scene.path("agents");
    let mut list = scene.command(["snapshots", "--json", "--repo", repository.to_str().unwrap()]);
    let listed = with_secrets(&mut list).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("host-0"), "{listed:?}");
}

#[test]
fn an_agent_that_cannot_start_again_says_so_and_backs_up() {
    for (script, why) in [
        (r#"mount -t tmpfs tmpfs /proc; exec "$P" agent --config "$CONFIG""#, "find the own program: "),
        (
            r#"cp "$P" copy; exec 9< copy; rm copy; exec /proc/self/fd/9 agent --config "$CONFIG""#,
            "start again: ",
        ),
    ] {
        let scene = Scene::new();
        let config = settings(&scene, "");
        let mut agent = Agent::spawn(&mut unshared(&scene, &config, &[], script));
        let told = agent.wait_for("what the environment holds stays readable in /proc, as /proc/PID/environ");
        assert!(told["why"].as_str().unwrap().starts_with(why), "{told}");
        // Without /proc the attributes of links cannot be read, which is told as well.
        agent.wait_for_line(|line| line.contains("run ended"));
        assert_eq!(agent.end(), Some(0));
    }
}

#[test]
fn an_agent_that_could_not_start_again_is_not_killed_by_a_closed_log() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let script = r#"cp "$P" copy; exec 9< copy; rm copy; exec /proc/self/fd/9 agent --config "$CONFIG""#;
    let mut child = unshared(&scene, &config, &[], script).stderr(closed).spawn().unwrap();
    wait_until(|| {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::fs::read_dir(scene.path("agents/snapshots")).is_ok_and(|mut files| files.next().is_some())
    });
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_that_is_the_first_process_starts_again_in_its_place_and_ends_in_order() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let namespaces = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let script = r#"exec "$P" agent --config "$CONFIG""#;
    let mut agent = Agent::spawn(with_secrets(&mut unshared(&scene, &config, &namespaces, script)));
    agent.wait_for("run ended");
    let outer = agent.child.id();
    let children = String::from_utf8(shown(outer, &format!("task/{outer}/children"))).unwrap();
    let process: u32 = children.trim().parse().unwrap();
    let status = String::from_utf8(shown(process, "status")).unwrap();
    assert!(status.lines().any(|line| line == format!("NSpid:\t{process}\t1")), "{status}");
    assert!(!holds_a_secret(&shown(process, "environ")));
    signal(process, "TERM");
    agent.wait_for("stopped");
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_hangup_has_the_agent_look_at_its_settings() {
    let scene = Scene::new();
    let config = settings(&scene, "");
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    settings(&scene, "host: other");
    signal(agent.child.id(), "HUP");
    // The end of the run may have had them looked at already.
    let (mut told, mut taken) = (false, false);
    agent.wait_for_line(|line| {
        told |= line.contains("told to look at the settings");
        taken |= line.contains("settings taken over") && line.contains(r#""host":"other""#);
        told && taken
    });
    assert_eq!(agent.end(), Some(0));
}

#[test]
fn the_last_words_tell_the_run_that_was_stopped_or_that_there_was_none() {
    let scene = Scene::new();
    let words = scene.path("termination-log");
    std::fs::write(&words, "what an earlier one left").unwrap();
    let config = settings(&scene, &format!("terminationLog: {}", words.display()));
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run ended");
    assert_eq!(agent.end(), Some(0));
    let said = std::fs::read_to_string(&words).unwrap();
    assert!(
        said.starts_with("told to end: no run was under way; the last snapshot of this agent is of 2"),
        "{said}"
    );

    let large = std::fs::File::create(scene.source().join("large")).unwrap();
    large.set_len(40 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&large, b"x", 0).unwrap();
    let config = settings(&scene, &format!("host: other, terminationLog: {}", words.display()));
    let mut agent = Agent::start(&scene, &["--config", &config]);
    agent.wait_for("run begins");
    assert_eq!(agent.end(), Some(0));
    let said = std::fs::read_to_string(&words).unwrap();
    assert!(said.starts_with("told to end: run 2 (no snapshot yet) was stopped, "), "{said}");
    assert_eq!((said.lines().count(), said.ends_with('\n')), (1, true), "{said}");
}
