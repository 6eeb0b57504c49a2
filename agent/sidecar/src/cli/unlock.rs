//! `pillion unlock`: locks of dead processes go.

use pillion_repository::lock;

use super::failure::Failure;
use super::output::{Output, Verbosity};
use super::session::Session;
use crate::process::Process;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Remove all locks, even non-stale ones
    #[arg(long)]
    pub remove_all: bool,
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let repository = session.open()?;
    let holder = Process::current(session.environment).holder();
    print(&session.output, lock::unlock(&repository, &holder, options.remove_all)?);
    Ok(())
}

pub fn print(output: &Output, removed: usize) {
    if removed > 0 {
        output.tell(Verbosity::Essential, &format!("successfully removed {removed} locks"));
    }
}
