//! Commands in other containers: the agent has no right to run them, so it asks, and somebody who has it answers.
//!
//! What is asked lies here for the control interface to list. A wish ends with its answer, by its deadline, or when nobody
//! waits for it any more; an answer to one that is over is refused. IDs are not guessable and never come again, so that
//! an answer meant for an earlier process is none to this one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::cli::output::quote::escape_control;

/// One run asks for one thing at a time; more is a mistake of ours.
const MAX_PENDING: usize = 16;

/// What is told of an answer's words.
const MAX_TOLD_CHARS: usize = 1 << 10;

/// A command that somebody is asked to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecRequest {
    pub id: String,
    pub container: String,
    pub command: Vec<String>,
    /// An answer after that comes too late.
    pub deadline: DateTime<Utc>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecAnswer {
    /// That of the command; `None` where it could not be run.
    pub exit_code: Option<i32>,
    /// Its last words, or why it could not be run.
    #[serde(default)]
    pub message: String,
}

/// There is no such wish: it was answered, came to its deadline, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPending;

struct Pending {
    request: ExecRequest,
    answer: oneshot::Sender<ExecAnswer>,
}

/// What is asked for and not yet answered.
#[derive(Default)]
pub struct ExecRequests {
    pending: Mutex<Vec<Pending>>,
    changed: watch::Sender<()>,
}

impl std::fmt::Debug for ExecRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pending()).finish()
    }
}

impl ExecRequests {
    /// Everything that waits, the oldest first.
    pub fn pending(&self) -> Vec<ExecRequest> {
        self.lock().iter().map(|pending| pending.request.clone()).collect()
    }

    /// Tells whenever there is more or less to be done.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn answer(&self, id: &str, answer: ExecAnswer) -> Result<(), NotPending> {
        let pending = {
            let mut pending = self.lock();
            let position = pending.iter().position(|pending| pending.request.id == id).ok_or(NotPending)?;
            pending.remove(position)
        };
        self.changed.send_replace(());
        pending.answer.send(answer).map_err(|_| NotPending)
    }

    /// Asks, and waits for the answer: who calls this ends the waiting, `timeout` is what is told. The error is a part of a
    /// sentence.
    pub(super) async fn ask(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<(), String> {
        let (sender, answer) = oneshot::channel();
        let timeout = TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX);
        let request = ExecRequest {
            id: format!("{:032x}", fastrand::u128(..)),
            container: container.to_owned(),
            command: command.to_vec(),
            deadline: Utc::now().checked_add_signed(timeout).unwrap_or(DateTime::<Utc>::MAX_UTC),
        };
        let _withdrawn = Withdrawn { requests: self, id: request.id.clone() };
        {
            let mut pending = self.lock();
            if pending.len() >= MAX_PENDING {
                return Err("too much waits already for whoever runs commands".to_owned());
            }
            pending.push(Pending { request, answer: sender });
        }
        self.changed.send_replace(());
        match answer.await {
            Ok(ExecAnswer { exit_code: Some(0), .. }) => Ok(()),
            Ok(ExecAnswer { exit_code, message }) => Err(told(exit_code, &message)),
            Err(_) => Err("nobody answers any more".to_owned()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(exit_code: Option<i32>, message: &str) -> String {
    let how =
        exit_code.map_or("it could not be run".to_owned(), |code| format!("it ended with exit code {code}"));
    let words: String = message.trim().chars().take(MAX_TOLD_CHARS).collect();
    match words.is_empty() {
        true => how,
        false => format!("{how}: {}", escape_control(&words)),
    }
}

/// Takes a wish back when nobody waits for it any more.
struct Withdrawn<'a> {
    requests: &'a ExecRequests,
    id: String,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        let mut pending = self.requests.lock();
        let before = pending.len();
        pending.retain(|pending| pending.request.id != self.id);
        let is_less = pending.len() < before;
        drop(pending);
        if is_less {
            self.requests.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn words() -> Vec<String> {
        vec!["pg_freeze".to_owned()]
    }

    async fn asked(
        requests: &Arc<ExecRequests>,
    ) -> (tokio::task::JoinHandle<Result<(), String>>, ExecRequest) {
        let mut changes = requests.changes();
        let asking = Arc::clone(requests);
        let task = tokio::spawn(async move { asking.ask("db", &words(), Duration::from_secs(5)).await });
        changes.changed().await.unwrap();
        let [request] = &requests.pending()[..] else { panic!("one wish") };
        (task, request.clone())
    }

    #[tokio::test]
    async fn what_is_asked_waits_for_its_answer_which_counts_once() {
        let requests = Arc::new(ExecRequests::default());
        let answer = |exit_code, message: &str| ExecAnswer { exit_code, message: message.to_owned() };
        for (given, told) in [
            (answer(Some(0), ""), Ok(())),
            (answer(Some(2), "no\x1b table\n"), Err("it ended with exit code 2: no\\x1b table".to_owned())),
            (answer(None, "no such container"), Err("it could not be run: no such container".to_owned())),
        ] {
            let (task, request) = asked(&requests).await;
            assert_eq!((request.container.as_str(), &request.command), ("db", &words()));
            assert_eq!(requests.answer("another", given.clone()), Err(NotPending));
            assert_eq!(requests.answer(&request.id, given.clone()), Ok(()));
            assert_eq!(task.await.unwrap(), told);
            assert_eq!(requests.answer(&request.id, given), Err(NotPending));
        }
    }

    #[tokio::test]
    async fn a_wish_that_nobody_waits_for_is_withdrawn() {
        let requests = Arc::new(ExecRequests::default());
        let (task, request) = asked(&requests).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(requests.pending(), []);
        let late = ExecAnswer { exit_code: Some(0), message: String::new() };
        assert_eq!(requests.answer(&request.id, late), Err(NotPending));
    }

    #[tokio::test]
    async fn no_more_than_a_bound_waits() {
        let requests = Arc::new(ExecRequests::default());
        let asking = || async { requests.ask("db", &words(), Duration::from_secs(5)).await };
        let mut waiting = futures_util::stream::FuturesUnordered::new();
        (0..=MAX_PENDING).for_each(|_| waiting.push(asking()));
        let first = futures_util::StreamExt::next(&mut waiting).await.unwrap();
        assert_eq!(first, Err("too much waits already for whoever runs commands".to_owned()));
        assert_eq!(requests.pending().len(), MAX_PENDING);
        drop(waiting);
        assert_eq!(requests.pending(), []);
    }
}
