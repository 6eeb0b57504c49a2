//! `pillion agent`: the way into the resident door.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, Args, Command};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::global;
use super::output::Output;
use super::session::runtime;
use super::signal;
use crate::agent::config::raw::{Raw, Text};
use crate::agent::config::{Loaded, Log, Source};
use crate::agent::engine::Resident;
use crate::agent::engine::reading::Readings;
use crate::agent::http::Server;
use crate::agent::preflight::Findings;
use crate::agent::run::Engine;
use crate::agent::{Agent, SystemClock, preflight, sample};
use crate::environment::Environment;
use crate::telemetry;

const HELP: &str = "\
An option stands before the PILLION_* variable of its setting, and that before the file. The README has all settings.
The settings file is read again and again, so it has to be a regular file.

The credentials are the files of the storage Secret, mounted at credentialsDir (default: /etc/pillion/credentials), or
without these the variables of the same names: RESTIC_PASSWORD, and what the store asks for. No other RESTIC_* variable
is read.

SIGTERM or SIGINT ends the agent: the run under way is stopped in order, and what it stored is used by the next. A
second one ends it at once, with exit code 130.";

/// The shared options that stand for a setting, and what they are to the agent.
const SHARED: [(&str, &str); 7] = [
    ("repo", "Repository to back up to, made if there is none yet (default: the setting repository)"),
    ("retry-lock", "How long to wait for a lock (default: the setting retryLock, or 10m)"),
    ("cache-dir", "Set the cache directory (default: the setting cacheDir, or /var/cache/pillion)"),
    (
        "compression",
        "Compression mode, one of (auto|off|fastest|better|max) (default: the setting compression, or auto)",
    ),
    ("pack-size", "Set target pack size in MiB (default: the setting packSize, or 16)"),
    ("limit-upload", "Limit uploads to a maximum RATE in KiB/s (default: the setting limitUpload)"),
    ("limit-download", "Limit downloads to a maximum RATE in KiB/s (default: the setting limitDownload)"),
];

/// The options that every command has, as the help of this one shows them: what means nothing here is not shown.
fn shared() -> Vec<Arg> {
    let command = global::Options::augment_args(Command::new("agent"));
    let told = |argument: &Arg| {
        let argument = argument.clone();
        let name = argument.get_long().unwrap_or_default();
        match SHARED.iter().find(|(shared, _)| *shared == name) {
            Some((_, help)) => argument.help(*help),
            None => argument.hide(true),
        }
    };
    command.get_arguments().map(told).collect()
}

#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = HELP, args = shared())]
pub struct Options {
    /// The settings file (default: $PILLION_CONFIG; without one, PILLION_* variables alone)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print what was understood, or everything that would be refused, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Tell metrics under the names and labels of Stash too: stash, or off (default: the setting metricsCompat)
    #[arg(long, value_name = "NAMES")]
    pub metrics_compat: Option<String>,
    /// Make a sample source and its settings below DIR and back it up every minute
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub sample: Option<PathBuf>,
}

type IsGiven = fn(&global::Options) -> bool;

const PASSWORD: &str =
    "the agent's password is RESTIC_PASSWORD: a file of that name in credentialsDir, or the variable";

/// Options that every command takes and that mean nothing here, each with what to do instead. Ignored, they would be
/// believed.
const FOREIGN: [(&str, IsGiven, &str); 12] = [
    ("repository-file", |global| global.repository_file.is_some(), "name the repository itself, with --repo"),
    ("password-file", |global| global.password_file.is_some(), PASSWORD),
    ("password-command", |global| global.password_command.is_some(), PASSWORD),
    ("insecure-no-password", |global| global.insecure_no_password, PASSWORD),
    (
        "cacert",
        |global| !global.cacert.is_empty(),
        "put the certificates into the storage Secret, as CA_CERT_DATA",
    ),
    ("insecure-tls", |global| global.insecure_tls, "write the setting backend, with s3.insecureTLS"),
    (
        "option",
        |global| !global.option.is_empty(),
        "write the setting backend: it has region and maxConnections",
    ),
    ("no-lock", |global| global.no_lock, "an agent writes, so it locks"),
    ("no-cache", |global| global.no_cache, "an agent remembers in its cache which repository is its own"),
    ("json", |global| global.json, "set logFormat: json"),
    ("quiet", |global| global.quiet, "set logLevel: warn"),
    ("verbose", |global| !global.verbose.is_empty(), "set logLevel: debug"),
];

fn refuse_foreign(global: &global::Options) -> Result<(), Failure> {
    match FOREIGN.iter().find(|(_, is_given, _)| is_given(global)) {
        Some((name, _, instead)) => {
            Err(Failure::new(format!("--{name} means nothing to the agent")).hint(*instead))
        }
        None => Ok(()),
    }
}

impl Options {
    /// The options of the command line that stand for a setting.
    fn settings(&self, global: &global::Options) -> Raw {
        let metrics_compat = self.metrics_compat.clone().map(Text);
        Raw { metrics_compat, ..global.as_settings() }
    }
}

/// Prints the settings as they are understood, without any secret; fails with every problem at once.
pub fn check_config(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    refuse_foreign(global)?;
    for name in Raw::unknown_variables(environment) {
        output.problem(&format!("Warning: {name} means nothing to me"));
    }
    let mut source = Source::new(options.settings(global), environment, options.config.clone());
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
    output.line(config.to_shown_yaml().trim_end());
    Ok(())
}

pub fn run(options: &Options, global: &global::Options, environment: &Environment) -> Result<(), Failure> {
    let engine = Resident::new(environment.clone());
    let readings = engine.readings();
    serve(options, global, environment, engine, readings)
}

/// Runs the agent until SIGTERM or SIGINT, then returns: that is its only end.
pub fn serve<E: Engine>(
    options: &Options,
    global: &global::Options,
    environment: &Environment,
    engine: E,
    readings: Arc<Readings>,
) -> Result<(), Failure> {
    refuse_foreign(global)?;
    let file = match &options.sample {
        Some(directory) => Some(sample::make(directory)?),
        None => options.config.clone(),
    };
    let log = match Source::new(options.settings(global), environment, file.clone()).load() {
        Loaded::Good(config) => config.log,
        Loaded::Bad(_) | Loaded::Unchanged => Log::default(),
    };
    telemetry::start(log.level, log.format);
    // A neighbour with our user ID can then neither trace us nor read our memory. A kernel that refuses is no reason
    // not to back up.
    let closed = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // Before anything is logged: a log that nobody reads any more must not be the end.
        let signals =
            signal::listen_resident().map_err(|e| Failure::new(format!("listen for signals: {e}")))?;
        if let Err(error) = closed {
            tracing::warn!(%error, "the process stays open to tracing by its own user");
        }
        if let Some(why) = environment.exposed() {
            tracing::warn!(why, "what the environment holds stays readable in /proc, as /proc/PID/environ");
        }
        let source = Source::new(options.settings(global), environment, file);
        let exec = engine.exec_requests();
        let agent = Agent::new(Arc::new(engine), SystemClock, source, environment.clone());
        let stop_serving = CancellationToken::new();
        // Without a way in it still backs up.
        let server = Server::start(agent.handle(), exec, Arc::clone(&readings), stop_serving.clone())
            .inspect_err(|error| tracing::error!(%error, "nobody can ask this agent anything"));
        agent.woken_by(signals.hangup).serve(signals.stop).await;
        stop_serving.cancel();
        if let Ok(server) = server {
            server.join();
        }
        readings.ended().await;
        Ok(())
    });
    // A thread that hangs in the kernel is not waited for.
    runtime.shutdown_background();
    served
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{self, Cli};

    fn refusal(line: &str) -> Option<Failure> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(matches!(cli.command, cli::Command::Agent(_)), "{line}");
        refuse_foreign(&cli.global).err()
    }

    #[test]
    fn an_option_is_honoured_or_refused_and_never_ignored() {
        let value = |name: &str| match name {
            "repository-file" | "password-file" | "password-command" | "cacert" | "option" => "=x",
            "repo" | "cache-dir" => "=/x",
            "retry-lock" => "=5m",
            "compression" => "=max",
            "pack-size" | "limit-upload" | "limit-download" => "=8",
            _ => "",
        };
        let help = Cli::try_parse_from(["pillion", "help", "agent"]).unwrap_err().to_string();
        assert!(!help.contains("$RESTIC_"), "{help}");
        for argument in Cli::command().get_arguments().filter(|argument| argument.is_global_set()) {
            let name = argument.get_long().expect("every option has a long name");
            let line = format!("pillion agent --{name}{}", value(name));
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let settings = serde_norway::to_string(&cli.global.as_settings()).unwrap();
            match refusal(&line) {
                Some(failure) => {
                    assert_eq!(failure.message, format!("--{name} means nothing to the agent"));
                    assert!(failure.hint.is_some() && settings.trim() == "{}", "{line}: {settings}");
                    assert!(!help.contains(&format!("--{name}")), "{help}");
                }
                None => {
                    assert_ne!(settings.trim(), "{}", "{line} is ignored");
                    assert!(help.contains(&format!("--{name}")), "{help}");
                }
            }
        }
    }

    #[test]
    fn a_directory_whose_name_is_no_text_is_refused_and_not_changed() {
        use std::os::unix::ffi::OsStringExt;
        let cache_dir = Some(std::ffi::OsString::from_vec(b"/a\xff".to_vec()).into());
        let settings = global::Options { cache_dir, ..global::Options::default() }.as_settings();
        assert_eq!(
            (settings.problems, settings.cache_dir),
            (vec!["--cache-dir: is not UTF-8".to_owned()], None)
        );
    }

    #[test]
    fn both_ways_into_the_agent_refuse() {
        let global = global::Options { no_lock: true, ..global::Options::default() };
        let environment = Environment::default();
        let output = global.output(&environment).unwrap();
        let (options, message) = (Options::default(), "--no-lock means nothing to the agent");
        assert_eq!(check_config(&options, &global, &environment, &output).unwrap_err().message, message);
        assert_eq!(run(&options, &global, &environment).unwrap_err().message, message);
    }
}
