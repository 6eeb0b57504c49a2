//! A program that somebody mounted: run by its path, with nothing of our environment but a few facts of the run.
//!
//! It gets a process group of its own, which is killed as a whole when the hook ends before the program did: what it
//! started is not left behind. Its standard error is read to the end, so that it never blocks, and the last of it is told.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::Facts;
use crate::cli::output::quote::escape_control;

/// What is kept of the standard error: its last words.
const MAX_TOLD_BYTES: usize = 1 << 10;

/// What a program left running may hold the standard error open: so long is waited for the last words.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);

/// The error is a part of a sentence.
pub(super) async fn run(words: &[String], facts: &Facts) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("it names no program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        // Ours holds credentials, and the allocator's settings are none of its business either.
        .env_clear()
        .envs(variables(facts))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut group = Group(command.spawn().map_err(|e| format!("it cannot be started: {e}"))?);
    let mut errors = group.0.stderr.take().ok_or("it has no standard error")?;
    let mut last = Vec::new();
    let status = tokio::select! {
        status = group.0.wait() => {
            let _cut_short = tokio::time::timeout(LAST_WORDS_WAIT, keep_last(&mut errors, &mut last)).await;
            status
        }
        // Closed by a program that goes on.
        () = keep_last(&mut errors, &mut last) => group.0.wait().await,
    };
    judge(status.map_err(|e| format!("wait for it: {e}"))?, &last)
}

fn variables(facts: &Facts) -> Vec<(&'static str, String)> {
    let whose = &facts.whose;
    let mut variables =
        vec![("PILLION_HOOK", facts.moment.name().to_owned()), ("PILLION_HOOK_HOST", whose.host.clone())];
    variables.extend(whose.identity.clone().map(|identity| ("PILLION_HOOK_IDENTITY", identity)));
    variables.extend(whose.plan.as_ref().map(|plan| ("PILLION_HOOK_PLAN", plan.to_string())));
    variables.extend(facts.run.map(|run| ("PILLION_HOOK_RUN", run.to_string())));
    variables.extend(facts.outcome.clone().map(|outcome| ("PILLION_HOOK_OUTCOME", outcome)));
    variables
}

/// Reads to the end and keeps the last bytes.
async fn keep_last(from: &mut (impl AsyncRead + Unpin), last: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(MAX_TOLD_BYTES));
    }
}

fn judge(status: ExitStatus, last: &[u8]) -> Result<(), String> {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    };
    let words = String::from_utf8_lossy(last);
    match words.trim() {
        "" => Err(how),
        words => Err(format!("{how}: {}", escape_control(words))),
    }
}

/// A program with all that it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an ID it was waited for, and its number may be another's by now.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ended = kill_process_group(id, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Moment, Whose};
    use super::*;

    fn facts() -> Facts {
        Facts {
            moment: Moment::PostBackup,
            whose: Whose { host: "db".to_owned(), identity: None, plan: Some("files".parse().unwrap()) },
            run: Some(7),
            outcome: Some("Complete".to_owned()),
        }
    }

    async fn shell(script: &str) -> Result<(), String> {
        run(&["/bin/sh", "-c", script].map(str::to_owned), &facts()).await
    }

    #[tokio::test]
    async fn a_program_gets_a_few_facts_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("variables");
        shell(&format!("/usr/bin/env > {}", file.display())).await.unwrap();
        let told = std::fs::read_to_string(file).unwrap();
        // The shell itself adds some.
        let told = told
            .lines()
            .filter(|line| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&line.split('=').next().unwrap()));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                "PILLION_HOOK=postBackup",
                "PILLION_HOOK_HOST=db",
                "PILLION_HOOK_OUTCOME=Complete",
                "PILLION_HOOK_PLAN=files",
                "PILLION_HOOK_RUN=7"
            ]
        );
    }

    #[tokio::test]
    async fn a_failure_tells_the_last_words_without_what_could_steer_a_terminal() {
        let failed = shell("printf 'no \\033[31mdisk\\n' >&2; exit 3").await;
        assert_eq!(failed, Err("it ended with exit code 3: no \\x1b[31mdisk".to_owned()));
        assert_eq!(shell("kill -9 $$").await, Err("signal 9 ended it".to_owned()));
        let long = shell(
            "i=0; while [ $i -lt 9000 ]; do echo 0123456789 >&2; i=$((i+1)); done; echo end >&2; exit 1",
        );
        let told = long.await.unwrap_err();
        assert!(told.len() < 2 * MAX_TOLD_BYTES && told.ends_with("end"), "{told}");
        let missing = run(&["/nonexistent".to_owned()], &facts()).await.unwrap_err();
        assert!(missing.starts_with("it cannot be started: "), "{missing}");
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_holds_nothing_up() {
        // Its child keeps the standard error open until it is ended.
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("child");
        shell(&format!("sleep 1000 & echo $! > {}", file.display())).await.unwrap();
        let id = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).expect("it was left alone");
    }

    #[tokio::test]
    async fn a_program_that_is_given_up_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // Both have the pipe open for writing: its end is read when the last of them is gone.
        let script = format!("exec 3> {}; echo ready >&3; sleep 1000", fifo.display());
        let reader = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(fifo).unwrap();
            let mut ready = [0; 6];
            std::io::Read::read_exact(&mut file, &mut ready).unwrap();
            file
        });
        let file = tokio::select! {
            file = reader => file.unwrap(),
            ended = shell(&script) => panic!("{ended:?}"),
        };
        let mut file = file;
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut file, &mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
