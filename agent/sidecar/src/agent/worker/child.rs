//! The worker's side: takes the task, does it, and says how it ended.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pillion_repository::event::Progress;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Job, Said, TASK, Task, key, memory};
use crate::agent::config::raw::Raw;
use crate::agent::config::{Config, secret};
use crate::agent::engine::check;
use crate::agent::record::RunEnd;
use crate::cli::failure::Failure;
use crate::cli::session::runtime;
use crate::cli::signal;
use crate::environment::Environment;
use crate::telemetry;

/// Between two lines of how far it is.
const PAUSE: Duration = Duration::from_secs(1);

/// Does what the agent that started this process asks for.
pub fn run(environment: &Environment) -> Result<(), Failure> {
    let task =
        environment.text(TASK).ok_or_else(|| Failure::new("a worker is started by the agent alone"))?;
    let task: Task = serde_json::from_str(&task).map_err(|e| Failure::new(format!("read the task: {e}")))?;
    let config = Raw::from_yaml(&task.settings).map_err(|problem| vec![problem]).and_then(Config::resolve);
    let config = config.map_err(|problems| Failure::new(problems.join("; ")))?;
    telemetry::start(config.log.level, config.log.format);
    // As the agent: who cannot look into that one must not look into this one.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "the process stays open to tracing by its own user");
    }
    memory::bound_this_process();
    if let Job::OpenKey { file, password } = &task.job {
        let _nobody_may_listen_any_more = say(&Said::Key(key::open(file, password)));
        return Ok(());
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let stop = signal::listen().map_err(|e| Failure::new(format!("listen for signals: {e}")))?;
        let progress = Arc::new(Progress::default());
        let (its, cancel) = (Arc::clone(&progress), stop.clone());
        let (environment, handle) = (environment.clone(), Handle::current());
        let work = tokio::task::spawn_blocking(move || {
            carry_out(&task, &config, &environment, &its, cancel, handle)
        });
        tokio::select! {
            ended = work => ended.map_err(|e| Failure::new(format!("a bug: {e}"))),
            never = tell(&progress, &stop) => match never {},
        }
    })?;
    let _nobody_may_listen_any_more = say(&Said::Ended(Box::new(ended)));
    Ok(())
}

fn carry_out(
    task: &Task,
    config: &Config,
    environment: &Environment,
    progress: &Progress,
    cancel: CancellationToken,
    runtime: Handle,
) -> RunEnd {
    let credentials = match secret::load(&config.credentials_directory, environment, &config.repository) {
        Ok(credentials) => credentials,
        Err(unusable) => return RunEnd::failed(unusable.to_string(), None),
    };
    match task.job {
        Job::OpenKey { .. } => RunEnd::failed("a key is no run", None),
        Job::Check { group, groups } => check::check(
            config,
            &credentials,
            (environment, &task.process),
            (group, groups),
            progress,
            cancel,
            runtime,
        ),
    }
}

/// Says again and again how far it is. Once nobody takes it, the work is to end.
async fn tell(progress: &Progress, stop: &CancellationToken) -> Infallible {
    loop {
        tokio::time::sleep(PAUSE).await;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let said = say(&Said::Progress {
            done: value(&progress.files_done),
            total: value(&progress.files_total),
            bytes_done: value(&progress.bytes_done),
            bytes_total: value(&progress.bytes_total),
            errors: value(&progress.errors),
        });
        if said.is_err() {
            stop.cancel();
        }
    }
}

fn say(said: &Said) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}
