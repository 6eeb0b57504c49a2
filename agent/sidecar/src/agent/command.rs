//! What may be asked of the running agent, and the way to ask it: everybody who comes in from outside has a [`Handle`]
//! and nothing else.
//!
//! The loop answers each command at once, whatever it is doing; what a command begins goes on without whoever asked.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};

use super::config::Mode;
use super::history::Pause;
use super::record::Work;
use super::state::State;

/// Who comes when that many wait for an answer waits before asking.
const MAX_WAITING: usize = 64;

/// Why a command came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There were no good settings yet.
    NoSettings,
    /// The settings have no such plan, or no checks.
    NoSuchWork,
    /// The settings say that this agent does not back up.
    NotHere(Mode),
    /// There is no such run, or it is over.
    NoSuchRun,
    /// The process ends.
    Stopping,
}

#[derive(Debug)]
pub enum Command {
    /// The number of the run that will answer.
    Run(Work, Reply<u64>),
    Cancel(u64, Reply<()>),
    Pause(Option<DateTime<Utc>>, Reply<Pause>),
    Resume(Reply<()>),
}

pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// The way to a running agent.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
}

impl Handle {
    pub(super) fn new(state: watch::Receiver<Arc<State>>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(MAX_WAITING);
        (Self { commands, state }, receiver)
    }

    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// The state, now and whenever it changes.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Asks for a run that has not begun yet; its number.
    pub async fn run(&self, work: Work) -> Result<u64, Refused> {
        self.ask(|reply| Command::Run(work, reply)).await
    }

    /// Ends a run, or takes one that waits out of the queue.
    pub async fn cancel(&self, number: u64) -> Result<(), Refused> {
        self.ask(|reply| Command::Cancel(number, reply)).await
    }

    /// Lets no run begin by itself until then, or until somebody resumes.
    pub async fn pause(&self, until: Option<DateTime<Utc>>) -> Result<Pause, Refused> {
        self.ask(|reply| Command::Pause(until, reply)).await
    }

    pub async fn resume(&self) -> Result<(), Refused> {
        self.ask(Command::Resume).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }
}
