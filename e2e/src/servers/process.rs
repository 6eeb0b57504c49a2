//! A server's process, its folder and its ports.
//!
//! Between us and the server stands a guard, `e2e/stores/guard.sh`, that holds the reading end of a pipe: when the
//! writing end closes, because the [`Process`] is dropped or because this process is no more, it kills all of the
//! server's processes and removes the folder. Nothing is left to a destructor that a killed process does not run.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::script;

/// Below the ports that the system gives to clients: those may be taken by a connection at any time.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// As much of a log as a person reads.
const LOG_END_BYTES: usize = 4000;

#[derive(Debug)]
pub(super) struct Process {
    guard: Child,
    folder: PathBuf,
}

impl Process {
    pub(super) fn start(folder: TempDir, server: &Command) -> Self {
        // From here on the guard removes it.
        let folder = folder.keep();
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        let mut guard = Command::new("bash");
        guard.arg(script("guard.sh")).arg(&folder).arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        guard.current_dir(&folder).stdin(Stdio::piped()).stderr(log.try_clone().expect("duplicate the log"));
        // What interrupts the tests from the keyboard is not to end the guard before it has cleaned up.
        guard.stdout(log).process_group(0);
        let guard = guard.spawn().unwrap_or_else(|error| panic!("start bash: {error}"));
        Self { guard, folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn has_ended(&self) -> bool {
        self.folder.join("ended").exists()
    }

    pub(super) fn log_end(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let end = &log[log.len().saturating_sub(LOG_END_BYTES)..];
        String::from_utf8_lossy(end).into_owned()
    }

    pub(super) fn processor_seconds(&self) -> f64 {
        let group = fs::read_to_string(self.folder.join("group")).expect("the guard wrote it");
        let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
        let ticks: u64 = processes.filter_map(|process| ticks(&process.path(), group.trim())).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closes the pipe first.
        let _ = self.guard.wait();
    }
}

/// What a process of the group, and the children it waited for, took; none where it is of another one.
fn ticks(process: &Path, group: &str) -> Option<u64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before the bracket may hold anything. After it: state, parent, group; then times from the eleventh on.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if *fields.get(2)? != group {
        return None;
    }
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

/// Ports that are free, and kept so until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<TcpListener>);

impl Ports {
    pub(super) fn take(&mut self) -> u16 {
        loop {
            let port = fastrand::u16(PORTS);
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                self.0.push(listener);
                return port;
            }
        }
    }
}

/// A folder of a server; short, since the path of a socket may have 107 bytes only.
pub(super) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("store-").tempdir().expect("make a temporary folder")
}
