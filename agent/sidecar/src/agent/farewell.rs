//! The last words: one line of what was going on, where Kubernetes looks for them when a container has ended.
//!
//! It shows them in the pod's status, when metrics can no longer be asked for. They are said when the end begins, since
//! nobody knows whether there is time for it, and again when it is known how the run ended. Nothing here is ever an error,
//! and nothing waits: the file may be anything.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::OFlags;

use super::record::{Outcome, RunRecord};
use super::state::Running;

/// Kubernetes reads no more.
const MAX_BYTES: usize = 4096;

/// What was going on when the process was told to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum LastDeed<'a> {
    Idle,
    /// A look into the repository.
    Look,
    /// A run that is being stopped.
    Stopping(&'a Running),
    Ended(&'a RunRecord),
}

/// The one line.
pub(super) fn words(deed: LastDeed<'_>, last_success: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let deed = match deed {
        LastDeed::Idle => "no run was under way".to_owned(),
        LastDeed::Look => "no run was under way, the repository was being looked into".to_owned(),
        LastDeed::Stopping(Running { queued, started_at, .. }) => {
            let (number, trigger) = (queued.number, &queued.trigger);
            let seconds = (now - *started_at).num_seconds();
            format!("run {number} ({trigger}) is being stopped after {seconds} s")
        }
        LastDeed::Ended(record) => {
            let RunRecord { number, trigger, end, .. } = record;
            let seconds = record.seconds().floor();
            let what = match end.outcome {
                Outcome::Stopped => "was stopped, and what it stored is used by the next one".to_owned(),
                outcome if end.message.is_empty() => format!("ended as {outcome}"),
                outcome => format!("ended as {outcome}: {}", end.message),
            };
            format!("run {number} ({trigger}) {what}, after {seconds} s")
        }
    };
    let success = match last_success {
        Some(at) => format!("the last snapshot of this agent is of {}", at.format("%FT%TZ")),
        None => "no snapshot of this agent is known".to_owned(),
    };
    format!("told to end: {deed}; {success}")
}

/// Writes the words in the place of what was there, if there is such a file and it may be written.
pub(super) fn write(file: &Path, words: &str) {
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = &line.as_bytes()[..line.floor_char_boundary(MAX_BYTES - 1)];
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(file);
    let said = opened.and_then(|mut file| {
        if !file.metadata()?.is_file() {
            return Ok(());
        }
        file.set_len(0)?;
        file.write_all(&[line, b"\n"].concat())
    });
    if let Err(error) = said {
        tracing::debug!(%error, "the reason of the end is in this log only");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::agent::queue::Queued;
    use crate::agent::record::{RunEnd, Work};
    use crate::agent::trigger::Trigger;

    #[test]
    fn the_last_words_are_one_line_of_what_was_going_on() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (begun, now) = (at("2026-11-22T10:00:00Z"), at("2026-11-22T10:01:30Z"));
        let trigger = Trigger::Schedule { due: begun };
        let record = |end| RunRecord {
            number: 3,
            work: Work::default(),
            trigger,
            requested_at: begun,
            started_at: begun,
            ended_at: now,
            end,
        };
        let queued = Queued { number: 3, work: Work::default(), trigger, joined: 0, requested_at: begun };
        let running = Running { queued, started_at: begun, progress: Arc::default() };
        let (stopped, failed) = (record(RunEnd::stopped()), record(RunEnd::failed("no\nstore", None)));
        for (deed, told) in [
            (LastDeed::Idle, "no run was under way"),
            (LastDeed::Look, "no run was under way, the repository was being looked into"),
            (LastDeed::Stopping(&running), "run 3 (due at 2026-11-22T10:00:00Z) is being stopped after 90 s"),
            (
                LastDeed::Ended(&stopped),
                "run 3 (due at 2026-11-22T10:00:00Z) was stopped, and what it stored is used by the next one, after 90 s",
            ),
            (
                LastDeed::Ended(&failed),
                "run 3 (due at 2026-11-22T10:00:00Z) ended as Failed: no\nstore, after 90 s",
            ),
        ] {
            let expected = format!("told to end: {told}; no snapshot of this agent is known");
            assert_eq!(words(deed, None, now), expected);
        }
        let known = words(LastDeed::Idle, Some(begun), now);
        assert!(known.ends_with("; the last snapshot of this agent is of 2026-11-22T10:00:00Z"), "{known}");
    }

    #[test]
    fn they_are_bounded_and_replace_what_was_there_and_never_make_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write(&path("none"), "words");
        assert!(!path("none").exists());
        std::fs::write(path("file"), "something longer than that").unwrap();
        write(&path("file"), "a\nb");
        assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "a b\n");
        write(&path("file"), &"\u{fc}".repeat(4096));
        let written = std::fs::read_to_string(path("file")).unwrap();
        assert!(written.len() <= MAX_BYTES && written.len() > MAX_BYTES - 3 && written.ends_with("\u{fc}\n"));
        // Nobody reads from it: who waited would wait for ever.
        let fifo = path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        write(&fifo, "words");
        write(directory.path(), "words");
    }
}
