//! The other door: a person's hands, with restic's words.
//!
//! One file a command: its options, what they mean, what it prints. What all commands share is in [`global`],
//! [`connection`], [`password`], [`filter`], [`failure`] and [`output`]; [`signal`] is how a command is interrupted.

pub mod client;
pub mod connection;
pub mod failure;
pub mod filter;
pub mod global;
pub mod output;
pub mod password;
pub mod session;
pub mod signal;

pub mod agent;
pub mod backup;
pub mod check;
pub mod diff;
pub mod dump;
pub mod find;
pub mod init;
pub mod ls;
pub mod pause;
pub mod restore;
pub mod runs;
pub mod snapshots;
pub mod stats;
pub mod status;
#[cfg(test)]
mod tests;
pub mod trigger;
pub mod unlock;
mod usage;
pub mod version;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::agent::worker;
use crate::environment::Environment;
use crate::{allocator, restart};
use failure::{Exit, Failure};
use password::Prompt;
use session::Session;

/// Backups in restic's repository format.
#[derive(Debug, Parser)]
#[command(name = "pillion", version = crate::VERSION)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed or wrong usage, 3 incomplete, 10 no repository, 11 locked, \
    12 wrong password, 130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: global::Options,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Initialize a new repository
    Init(init::Options),
    /// Create a new backup of files and/or directories
    Backup(backup::Options),
    /// List all snapshots
    Snapshots(snapshots::Options),
    /// List files in a snapshot
    Ls(ls::Options),
    /// Find a file or directory in snapshots
    Find(find::Options),
    /// Extract the data from a snapshot
    Restore(restore::Options),
    /// Print a backed-up file or folder to stdout
    Dump(dump::Options),
    /// Show differences between two snapshots
    Diff(diff::Options),
    /// Check the repository for errors
    Check(check::Options),
    /// Scan the repository and show basic statistics
    Stats(stats::Options),
    /// Remove locks other processes created
    Unlock(unlock::Options),
    /// Stay, and take snapshots on a schedule
    Agent(agent::Options),
    /// Show how the running agent is
    Status(status::Options),
    /// Make the running agent take a snapshot now
    Trigger(trigger::Options),
    /// Show the runs of the running agent
    Runs(runs::Options),
    /// End a run of the running agent
    Cancel(runs::CancelOptions),
    /// Let the running agent begin no run by itself
    Pause(pause::Options),
    /// Let the paused agent go on
    Resume(client::Options),
    /// Print version information
    Version,
    /// Do what the running agent has done by a process of its own
    #[command(hide = true)]
    Worker,
}

/// The whole process: starts again as it has to be, reads arguments and environment, runs the command, prints how it failed.
pub fn main() -> ExitCode {
    let parsed = Cli::try_parse();
    let environment = match &parsed {
        Ok(Cli { command: Command::Agent(options), .. }) if !options.check_config => restart::environment(),
        Ok(Cli { command: Command::Worker, .. }) => restart::environment(),
        _ => {
            allocator::set();
            Environment::of_process()
        }
    };
    let exit = match parsed {
        Ok(cli) => {
            let style = cli.global.style();
            match run(cli, &environment) {
                Ok(()) => Exit::Done,
                Err(failure) => tell(&failure, style),
            }
        }
        Err(error) => usage::tell(&error),
    };
    ExitCode::from(exit as u8)
}

fn tell(failure: &Failure, style: output::Style) -> Exit {
    let text = match style {
        output::Style::Json => failure.json(),
        output::Style::Text => failure.text(),
    };
    let _ = writeln!(std::io::stderr(), "{text}");
    failure.exit
}

fn run(cli: Cli, environment: &Environment) -> Result<(), Failure> {
    let output = Arc::new(cli.global.output(environment)?);
    let global = &cli.global;
    let start = |prompt| Session::start(global, environment, Arc::clone(&output), prompt);
    let done = match cli.command {
        Command::Version => {
            version::print(&output);
            Ok(())
        }
        Command::Agent(options) if options.check_config => {
            agent::check_config(&options, global, environment, &output)
        }
        Command::Init(options) => {
            let form = init::form(&options, global, environment, &output)?;
            init::run(form, &start(Prompt::Twice)?)
        }
        Command::Backup(options) => {
            let options = backup::prepare(options, global, environment)?;
            backup::run(&options, &start(Prompt::Once)?)
        }
        Command::Snapshots(options) => snapshots::run(&options, &start(Prompt::Once)?),
        Command::Unlock(options) => unlock::run(&options, &start(Prompt::Once)?),
        Command::Ls(options) => {
            options.refuse_contradictions(output.style)?;
            ls::run(&options, &start(Prompt::Once)?)
        }
        Command::Find(options) => find::run(&options, &start(Prompt::Once)?),
        Command::Dump(options) => dump::run(&options, &start(Prompt::Once)?),
        Command::Diff(options) => diff::run(&options, &start(Prompt::Once)?),
        Command::Stats(options) => stats::run(&options, &start(Prompt::Once)?),
        Command::Restore(options) => {
            options.refuse_contradictions()?;
            restore::run(&options, &start(Prompt::Once)?)
        }
        Command::Check(options) => check::run(&options, &start(Prompt::Once)?),
        Command::Worker => worker::run(environment),
        Command::Agent(options) => agent::run(&options, global, environment),
        Command::Status(options) => status::run(&options, global, environment, &output),
        Command::Trigger(options) => trigger::run(&options, global, environment, &output),
        Command::Runs(options) => runs::run(&options, global, environment, &output),
        Command::Cancel(options) => runs::cancel(&options, global, environment),
        Command::Pause(options) => pause::run(&options, global, environment, &output),
        Command::Resume(options) => pause::resume(&options, global, environment, &output),
    };
    output.flush();
    done
}
