//! `pillion agent`: the way into the resident door.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;
use super::global;
use super::output::Output;
use super::session::runtime;
use super::signal;
use crate::agent::config::raw::Raw;
use crate::agent::config::{Loaded, Log, Source};
use crate::agent::engine::Resident;
use crate::agent::preflight::Findings;
use crate::agent::run::Engine;
use crate::agent::{Agent, SystemClock, preflight, sample};
use crate::environment::Environment;
use crate::telemetry;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The settings file (default: $PILLION_CONFIG; without one, PILLION_* variables alone)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print what was understood, or everything that would be refused, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Make a sample source and its settings below DIR and back it up every minute
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub sample: Option<PathBuf>,
}

/// Prints the settings as they are understood, without any secret; fails with every problem at once.
pub fn check_config(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    for name in Raw::unknown_variables(environment) {
        output.problem(&format!("Warning: {name} means nothing to me"));
    }
    let mut source = Source::new(global.as_settings(), environment, options.config.clone());
    let refused =
        |problems: &[String]| Failure::new(format!("the settings are refused: {}", problems.join("; ")));
    let config = match source.load() {
        Loaded::Good(config) => config,
        Loaded::Bad(problems) => return Err(refused(&problems)),
        Loaded::Unchanged => return Err(Failure::new("the settings were read before")),
    };
    let Findings { problems, warnings } = preflight::look(&config, environment);
    for warning in warnings {
        output.warning(&warning);
    }
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    output.line(config.to_yaml().trim_end());
    Ok(())
}

pub fn run(options: &Options, global: &global::Options, environment: &Environment) -> Result<(), Failure> {
    serve(options, global, environment, Resident::new(environment.clone()))
}

/// Runs the agent until SIGTERM or SIGINT, then returns: that is its only end.
pub fn serve<E: Engine>(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    engine: E,
) -> Result<(), Failure> {
    let file = match &options.sample {
        Some(directory) => Some(sample::make(directory)?),
        None => options.config.clone(),
    };
    let log = match Source::new(global.as_settings(), environment, file.clone()).load() {
        Loaded::Good(config) => config.log,
        Loaded::Bad(_) | Loaded::Unchanged => Log::default(),
    };
    telemetry::start(log.level, log.format);
    // A neighbour with our user ID can then neither trace us nor read our memory. A kernel that refuses is no reason
    // not to back up.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "the process stays open to tracing by its own user");
    }
    runtime()?.block_on(async {
        let stop = signal::listen().map_err(|e| Failure::new(format!("listen for signals: {e}")))?;
        let source = Source::new(global.as_settings(), environment, file);
        Agent::new(Arc::new(engine), SystemClock, source, environment.clone()).serve(stop).await;
        Ok(())
    })
}
