//! Work for a process of its own: what may take more memory than the agent has, so that the kernel ends that process and
//! not this one.
//!
//! The program starts itself with the task and its environment in a sealed file of memory ([`crate::restart`]), which nobody
//! can read in what the system shows of a process. The worker opens the repository itself, with the settings it was handed
//! and credentials read where the agent reads them, tells on its standard output a line of JSON a second how far it is, and
//! at last how it ended. Its log is the agent's.
//!
//! **Invariant:** a worker never outlives its agent by long (a line that nobody takes is its end), nor what it was given to
//! do: who cancels waits for an orderly end, and then ends it (`a_check_that_is_cancelled_leaves_no_worker_and_no_lock`).

mod child;
mod key;
mod memory;

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pillion_repository::event::Progress;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::config::Config;
use super::record::RunEnd;
use crate::environment::Environment;
use crate::restart;
pub use child::run;
pub(super) use key::ByWorker;

/// The variable of the task, in the environment that is handed over.
const TASK: &str = "PILLION_WORKER_TASK";

/// For the lock to be given back, where the store is slow.
const ORDERLY_END: Duration = Duration::from_secs(20);

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    /// As YAML.
    settings: String,
    /// What its locks call it.
    process: String,
    job: Job,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Reads all but the data, and the data of that group of packs.
    Check { group: u64, groups: u64 },
    /// The file's text, and the password in base64.
    OpenKey { file: String, password: String },
}

/// What a worker says, a line each.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Progress { done: u64, total: u64, bytes_done: u64, bytes_total: u64, errors: u64 },
    Ended(Box<RunEnd>),
    Key(key::Opened),
}

/// Has it done by a worker. `cancel` ends it.
pub(super) async fn carry_out(
    (job, process): (Job, &str),
    config: &Config,
    environment: &Environment,
    progress: &Progress,
    cancel: &CancellationToken,
) -> RunEnd {
    let mut worker = match start(job, process, config, environment) {
        Ok(worker) => worker,
        Err(error) => return RunEnd::failed(format!("start a process for it: {error}"), None),
    };
    let output = worker.stdout.take().expect("it was asked for");
    let listening = listen(output, progress);
    tokio::pin!(listening);
    let ended = tokio::select! {
        ended = &mut listening => ended,
        () = cancel.cancelled() => {
            tell_to_end(&worker);
            let ended = tokio::time::timeout(ORDERLY_END, listening).await;
            // By then it has ended, or is not going to.
            let _may_have_ended = worker.kill().await;
            return ended.ok().flatten().unwrap_or_else(RunEnd::stopped);
        }
    };
    let status = worker.wait().await;
    match (ended, status) {
        (Some(end), _) => end,
        (None, Ok(status)) => RunEnd::failed(
            format!("the process that did it ended before it was done: {status}"),
            Some("it may have needed more memory than the container's limit leaves: raise that"),
        ),
        (None, Err(error)) => RunEnd::failed(format!("wait for the process that did it: {error}"), None),
    }
}

fn start(job: Job, process: &str, config: &Config, environment: &Environment) -> std::io::Result<Child> {
    let mut command = Command::from(command(job, process, &config.to_yaml(), environment)?);
    command.kill_on_drop(true).spawn()
}

/// A worker that is to be started.
fn command(
    job: Job,
    process: &str,
    settings: &str,
    environment: &Environment,
) -> std::io::Result<std::process::Command> {
    let (settings, process) = (settings.to_owned(), process.to_owned());
    let task = Zeroizing::new(serde_json::to_string(&Task { settings, process, job })?);
    // The program that runs, also where the file was replaced meanwhile.
    let mut command = std::process::Command::new("/proc/self/exe");
    restart::hand_over(&mut command, &environment.with(TASK, &task))?;
    // A group of its own: a Ctrl-C for the agent is the agent's to pass on.
    command.arg("worker").stdout(Stdio::piped()).process_group(0);
    Ok(command)
}

/// Takes what it says until it has ended.
async fn listen(output: impl AsyncRead + Unpin, progress: &Progress) -> Option<RunEnd> {
    let mut lines = BufReader::new(output).lines();
    let mut ended = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Said::Progress { done, total, bytes_done, bytes_total, errors }) => {
                progress.files_done.store(done, Ordering::Relaxed);
                progress.files_total.store(total, Ordering::Relaxed);
                progress.bytes_done.store(bytes_done, Ordering::Relaxed);
                progress.bytes_total.store(bytes_total, Ordering::Relaxed);
                progress.errors.store(errors, Ordering::Relaxed);
            }
            Ok(Said::Ended(end)) => ended = Some(*end),
            Ok(Said::Key(_)) => {}
            Err(error) => tracing::warn!(%error, "a process of ours said what nobody understands"),
        }
    }
    ended
}

fn tell_to_end(worker: &Child) {
    if let Some(pid) = worker.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _may_have_ended = kill_process(pid, Signal::TERM);
    }
}
