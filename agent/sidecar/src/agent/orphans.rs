//! What the first process of a container owes the others: to take note that a process has ended whose parent has.
//!
//! Such a process, of a command run in the container or of a hook that left something behind, becomes a child of process 1,
//! and stays in the table of processes until that asks for its end. Our own children have somebody who waits for
//! them, and their end must not be taken from him: only an end that nobody has asked for within [`PATIENCE`] is nobody's.
//! Without `/proc`, or as any other process, there is nothing to be done.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions};
use tokio::time::Instant;

/// Who waits for a child of his asks within seconds. What waits costs a number of a process and no memory.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often is looked, at most: looking costs a read for each process of the container.
const PAUSE: Duration = Duration::from_secs(60);

/// The ends that nobody has asked for yet, and since when they are known.
#[derive(Debug, Default)]
pub(super) struct Orphans(HashMap<Pid, Instant>);

/// Looks for as long as the process lives, if it is the first one.
pub(super) async fn adopt() {
    if std::process::id() != 1 {
        std::future::pending::<()>().await;
    }
    let mut orphans = Orphans::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        for orphan in orphans.ends_of_nobody(ended_children_of(1), Instant::now()) {
            let asked = rustix::process::waitpid(Some(orphan), WaitOptions::NOHANG);
            tracing::debug!(process = orphan.as_raw_nonzero().get(), ?asked, "took note of an orphan's end");
        }
    }
}

impl Orphans {
    /// Those of the `ended` that have been so for long enough.
    fn ends_of_nobody(&mut self, ended: Vec<Pid>, now: Instant) -> Vec<Pid> {
        self.0 = ended.into_iter().map(|pid| (pid, self.0.get(&pid).copied().unwrap_or(now))).collect();
        self.0.iter().filter(|(_, since)| now - **since >= PATIENCE).map(|(pid, _)| *pid).collect()
    }
}

/// The children that have ended and whose end nobody has asked for.
fn ended_children_of(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ended_child = |number: &i32| {
        let status = fs::read(format!("/proc/{number}/stat")).unwrap_or_default();
        // The name stands in brackets and may hold any byte.
        let end_of_name = status.iter().rposition(|byte| *byte == b')').map_or(status.len(), |at| at + 1);
        let rest = String::from_utf8_lossy(&status[end_of_name..]);
        let mut fields = rest.split_ascii_whitespace();
        fields.next() == Some("Z") && fields.next().and_then(|field| field.parse().ok()) == Some(parent)
    };
    numbers.filter(is_ended_child).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_asks_for_is_found_and_one_that_was_asked_for_is_not() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        while !ended_children_of(std::process::id()).contains(&pid) {
            std::thread::yield_now();
        }
        assert!(!ended_children_of(1).contains(&pid));
        child.wait().unwrap();
        assert!(!ended_children_of(std::process::id()).contains(&pid));
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_end_that_nobody_has_asked_for_in_a_long_time_is_nobodys() {
        let [slow, left] = [7, 8].map(|number| Pid::from_raw(number).unwrap());
        let (mut orphans, begun) = (Orphans::default(), Instant::now());
        assert_eq!(orphans.ends_of_nobody(vec![left, slow], begun), []);
        assert_eq!(orphans.ends_of_nobody(vec![left, slow], begun + PATIENCE / 2), []);
        // The other one was asked for by whom it belongs to; later a process has its number again.
        assert_eq!(orphans.ends_of_nobody(vec![left], begun + PATIENCE), [left]);
        assert_eq!(orphans.ends_of_nobody(vec![slow], begun + PATIENCE), []);
    }
}
