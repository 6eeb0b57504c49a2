//! Runs one command and says what it took: wall time, processor time, peak memory.
//!
//! The kernel's own count for exactly this child (`wait4`), so short peaks are in it. The kernel starts a
//! child's peak at its parent's: this program must stay smaller than what it measures.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wait4::Wait4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub wall: Duration,
    /// User and system time together.
    pub cpu: Duration,
    pub peak_bytes: u64,
}

/// A command that ended with anything but 0.
#[derive(Debug)]
pub struct Failure {
    command: String,
    pub status: ExitStatus,
    /// The last lines it said.
    pub said: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended with {}\n{}", self.command, self.status, self.said)
    }
}

impl std::error::Error for Failure {}

/// Runs `command` to its end with its output in `log`; any exit code but 0 is a [`Failure`].
pub fn run(command: &mut Command, log: &Path) -> Result<Measured> {
    let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    // What an earlier command wrote shall not be flushed at this one's cost.
    rustix::fs::sync();
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
    let ended = child.wait4().context("wait for a child")?;
    let wall = start.elapsed();
    if !ended.status.success() {
        return Err(Failure { command: line_of(command), status: ended.status, said: tail(log) }.into());
    }
    Ok(Measured { wall, cpu: ended.rusage.utime + ended.rusage.stime, peak_bytes: ended.rusage.maxrss })
}

fn line_of(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_shell(script: &str) -> Result<Measured> {
        let directory = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), &directory.path().join("log"))
    }

    #[test]
    fn processor_time_and_memory_of_the_child_are_counted() {
        let measured = run_shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").unwrap();
        assert!(measured.cpu > Duration::ZERO && measured.cpu <= measured.wall * 2);
        assert!(measured.peak_bytes > 500 << 10);
    }

    #[test]
    fn a_command_that_fails_is_an_error_that_shows_what_it_said() {
        let error = run_shell("echo the disk is on fire >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("the disk is on fire") && error.contains("exit status: 3"), "{error}");
    }
}
