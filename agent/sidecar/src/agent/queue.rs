//! What waits while a run is under way: at most one run of each work, in the order in which they were asked for.
//!
//! A trigger joins a run only while that run still waits, so what was written before the trigger is in the snapshot.
//! Joining a run that has begun would promise that without keeping it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::Work;
use super::trigger::Trigger;

/// A run that waits to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    pub number: u64,
    #[serde(flatten)]
    pub work: Work,
    /// The first trigger is the run's reason; the others joined it.
    pub trigger: Trigger,
    pub joined: u32,
    pub requested_at: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Queued>,
    last_number: u64,
}

impl Queue {
    /// Numbers go on after `number`, which a run before this process had.
    pub fn number_after(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    /// Asks for a run; the number of the run that will answer.
    pub fn push(&mut self, work: Work, trigger: Trigger, now: DateTime<Utc>) -> u64 {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.work == work) {
            waiting.joined += 1;
            return waiting.number;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.waiting.push_back(Queued { number, work, trigger, joined: 0, requested_at: now });
        number
    }

    pub fn take(&mut self) -> Option<Queued> {
        self.waiting.pop_front()
    }

    /// Takes a run out that `is_it`.
    pub fn take_if(&mut self, is_it: impl Fn(&Queued) -> bool) -> Option<Queued> {
        let position = self.waiting.iter().position(is_it)?;
        self.waiting.remove(position)
    }

    pub fn waiting(&self) -> impl Iterator<Item = &Queued> {
        self.waiting.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_joins_only_a_run_of_the_same_work_that_still_waits() {
        let now = DateTime::UNIX_EPOCH;
        let mut queue = Queue::default();
        let push = |queue: &mut Queue, trigger| queue.push(Work::default(), trigger, now);
        assert_eq!(push(&mut queue, Trigger::First), 1);
        assert_eq!(push(&mut queue, Trigger::Schedule { due: now }), 1);
        let begun = queue.take().unwrap();
        assert_eq!((begun.trigger, begun.joined), (Trigger::First, 1));
        assert_eq!(push(&mut queue, Trigger::Schedule { due: now }), 2, "run 1 has begun");
        assert_eq!(queue.push(Work::CHECK, Trigger::Request, now), 3, "another work");
        assert_eq!(push(&mut queue, Trigger::Request), 2);
        let numbers: Vec<u64> = std::iter::from_fn(|| queue.take()).map(|queued| queued.number).collect();
        assert_eq!(numbers, [2, 3]);
        queue.number_after(1);
        assert_eq!(push(&mut queue, Trigger::First), 4, "numbers never go back");
        queue.take();
        queue.number_after(40);
        assert_eq!(push(&mut queue, Trigger::First), 41);
    }
}
