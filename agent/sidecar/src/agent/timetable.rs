//! What comes when: a line for the backups of each plan, and one for the checks.
//!
//! A line knows its next time by the schedule, its next try after a failure, and when what it asks for was done last. It
//! begins nothing: it says what came due, and the loop asks for that run.

use chrono::{DateTime, TimeDelta, Utc};

use super::config::plan::PlanName;
use super::config::{Backoff, Config, Jitter};
use super::record::{Kind, Outcome, RunRecord, Work};
use super::schedule::Schedule;
use super::trigger::Trigger;

#[derive(Debug, Default)]
pub(super) struct Timetable(Vec<Line>);

/// Whether anything begins by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// What comes due is passed over, and made up for by one run when it opens.
    Closed,
}

#[derive(Debug)]
struct Line {
    work: Work,
    schedule: Schedule,
    jitter: Jitter,
    /// What moves the start within the jitter's bounds: always the same for the same agent.
    name: String,
    retries: Option<u32>,
    due: Option<Due>,
    retry: Option<Again>,
    /// Runs that failed since the last that did not.
    failures: u32,
    /// When what was done last was begun; `None` while that is not known, or there is nothing.
    newest: Option<DateTime<Utc>>,
}

/// A moment to come: the time the schedule names, and with jitter the time to act on it.
#[derive(Clone, Copy, Debug)]
struct Due {
    named: DateTime<Utc>,
    start: DateTime<Utc>,
    /// When this was worked out. A clock that shows an earlier time was set back.
    computed_at: DateTime<Utc>,
}

/// When to try again what failed.
#[derive(Clone, Copy, Debug)]
struct Again {
    /// `None` while a run that will show the same waits or is under way.
    at: Option<DateTime<Utc>>,
    failures: u32,
}

/// What can be seen of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub work: Work,
    /// When the schedule, or a retry, begins the next run.
    pub next_run_at: Option<DateTime<Utc>>,
    /// Runs that failed since the last that did not.
    pub failures: u32,
    /// When the newest snapshot of the plan, or the last check, was begun; `None` while that is not known, or there is none.
    pub newest_at: Option<DateTime<Utc>>,
}

/// When the newest snapshot of all plans was begun; `None` while that is not known, or there is none.
pub fn newest_snapshot_at(planned: &[Planned]) -> Option<DateTime<Utc>> {
    let backups = planned.iter().filter(|planned| planned.work.kind == Kind::Backup);
    backups.filter_map(|planned| planned.newest_at).max()
}

impl Timetable {
    /// The lines of these settings. Of checks nothing but the runs tells when there was one.
    pub(super) fn of<'a>(config: &Config, mut runs: impl DoubleEndedIterator<Item = &'a RunRecord>) -> Self {
        let line = |work, schedule: &Schedule, jitter, retries, newest| Line {
            work,
            schedule: schedule.clone(),
            jitter,
            name: config.name().to_owned(),
            retries,
            due: None,
            retry: None,
            failures: 0,
            newest,
        };
        let backups = config.plans.iter().map(|plan| {
            let work = Work { kind: Kind::Backup, plan: plan.name.clone() };
            line(work, &plan.schedule, plan.jitter, plan.retries, None)
        });
        let is_check = |run: &&RunRecord| run.work.kind == Kind::Check && run.end.outcome.is_conclusive();
        let checks = config.check.iter().map(|check| {
            let newest = runs.rfind(is_check).map(|run| run.started_at);
            line(Work { kind: Kind::Check, plan: None }, &check.schedule, check.jitter, None, newest)
        });
        Self(backups.chain(checks).collect())
    }

    /// What came due by `now`, in the order of the settings.
    pub(super) fn come_due(&mut self, now: DateTime<Utc>, gate: Gate) -> Vec<(Work, Trigger)> {
        let lines = self.0.iter_mut();
        lines.filter_map(|line| Some((line.work.clone(), line.come_due(now, gate)?))).collect()
    }

    /// When next something can come due.
    pub(super) fn next(&self, gate: Gate) -> Option<DateTime<Utc>> {
        self.0.iter().filter_map(|line| line.next(gate)).min()
    }

    /// A run begins: what it will show no retry has to.
    pub(super) fn begun(&mut self, work: &Work) {
        if let Some(retry) = self.line(work).and_then(|line| line.retry.as_mut()) {
            retry.at = None;
        }
    }

    /// A run that was begun at `started_at` has ended.
    pub(super) fn ended(&mut self, run: &RunRecord, backoff: Backoff) {
        let Some(line) = self.line(&run.work) else { return };
        let outcome = run.end.outcome;
        line.retry = None;
        if outcome.is_conclusive() {
            line.failures = 0;
            line.newest = Some(run.started_at);
        }
        if outcome == Outcome::Failed {
            line.failures = line.failures.saturating_add(1);
            // Where tries are counted, they are those since the schedule asked.
            let failures = match line.retries {
                None => line.failures,
                Some(_) => run.trigger.failures_before().saturating_add(1),
            };
            let again = Again { at: Some(run.ended_at + backoff.wait(failures)), failures };
            line.retry = line.retries.is_none_or(|retries| failures <= retries).then_some(again);
        }
    }

    /// The newest snapshots are known: what was missed, or still is to be tried again.
    pub(super) fn seen(
        &mut self,
        newest: &[(Option<PlanName>, Option<DateTime<Utc>>)],
        now: DateTime<Utc>,
    ) -> Vec<(Work, Trigger)> {
        for (plan, at) in newest {
            if let Some(line) = self.line(&Work { kind: Kind::Backup, plan: plan.clone() }) {
                line.newest = *at;
            }
        }
        let lines = self.0.iter_mut();
        lines.filter_map(|line| Some((line.work.clone(), line.missed(now)?))).collect()
    }

    pub(super) fn planned(&self, gate: Gate) -> Vec<Planned> {
        let planned = |line: &Line| Planned {
            work: line.work.clone(),
            next_run_at: line.next(gate).filter(|_| gate == Gate::Open),
            failures: line.failures,
            newest_at: line.newest,
        };
        self.0.iter().map(planned).collect()
    }

    pub(super) fn has(&self, work: &Work) -> bool {
        self.0.iter().any(|line| line.work == *work)
    }

    fn line(&mut self, work: &Work) -> Option<&mut Line> {
        self.0.iter_mut().find(|line| line.work == *work)
    }
}

impl Line {
    fn come_due(&mut self, now: DateTime<Utc>, gate: Gate) -> Option<Trigger> {
        if self.due.is_none_or(|due| now < due.computed_at) {
            self.due = self.due_after(now);
        }
        let mut trigger = None;
        if let Some(due) = self.due.filter(|due| due.start <= now) {
            self.due = self.due_after(now);
            trigger = Some(Trigger::Schedule { due: due.named });
        }
        if gate == Gate::Closed {
            return None;
        }
        if let Some(Again { at: Some(at), failures }) = self.retry
            && at <= now
        {
            self.retry = Some(Again { at: None, failures });
            trigger = trigger.or(Some(Trigger::Retry { failures }));
        }
        trigger
    }

    fn due_after(&self, now: DateTime<Utc>) -> Option<Due> {
        let named = self.schedule.next_after(now)?;
        let jitter = match self.jitter {
            Jitter::Off => TimeDelta::zero(),
            Jitter::Auto => self.schedule.jitter(named, &self.name),
        };
        Some(Due { named, start: named + jitter, computed_at: now })
    }

    /// The schedule is looked at even while nothing begins: what it names then is passed over in its time.
    fn next(&self, gate: Gate) -> Option<DateTime<Utc>> {
        let retry = self.retry.and_then(|retry| retry.at).filter(|_| gate == Gate::Open);
        [self.due.map(|due| due.start), retry].into_iter().flatten().min()
    }

    fn missed(&mut self, now: DateTime<Utc>) -> Option<Trigger> {
        if let Some(Again { at: Some(_), failures }) = self.retry {
            self.retry = Some(Again { at: None, failures });
            return Some(Trigger::Retry { failures });
        }
        match (self.work.kind, self.newest) {
            (Kind::Backup, None) => Some(Trigger::First),
            // Nobody knows whether one was missed: a new cache must not make every start a check.
            (Kind::Check, None) => None,
            (_, Some(newest)) => {
                let was_named = self.schedule.next_after(newest).is_some_and(|due| due <= now);
                was_named.then_some(Trigger::CatchUp { newest })
            }
        }
    }
}
