//! What waits while a run is under way: at most one more.
//!
//! A trigger joins a run only while that run still waits, so what was written before the trigger is in the snapshot.
//! Joining a run that has begun would promise that without keeping it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::trigger::Trigger;

/// A run that waits to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    pub number: u64,
    /// The first trigger is the run's reason; the others joined it.
    pub trigger: Trigger,
    pub joined: u32,
    pub requested_at: DateTime<Utc>,
}

#[derive(Debug, Default)]
pub struct Queue {
    waiting: Option<Queued>,
    last_number: u64,
}

impl Queue {
    /// Numbers go on after `number`, which a run before this process had.
    pub fn number_after(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    /// Asks for a run; the number of the run that will answer.
    pub fn push(&mut self, trigger: Trigger, now: DateTime<Utc>) -> u64 {
        if let Some(waiting) = &mut self.waiting {
            waiting.joined += 1;
            return waiting.number;
        }
        self.last_number += 1;
        self.waiting = Some(Queued { number: self.last_number, trigger, joined: 0, requested_at: now });
        self.last_number
    }

    pub fn take(&mut self) -> Option<Queued> {
        self.waiting.take()
    }

    /// Takes the run out if it is that one.
    pub fn take_if(&mut self, number: u64) -> Option<Queued> {
        self.waiting.take_if(|waiting| waiting.number == number)
    }

    pub fn waiting(&self) -> Option<&Queued> {
        self.waiting.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_joins_only_a_run_that_still_waits() {
        let now = DateTime::UNIX_EPOCH;
        let mut queue = Queue::default();
        assert_eq!(queue.push(Trigger::First, now), 1);
        assert_eq!(queue.push(Trigger::Schedule { due: now }, now), 1);
        let begun = queue.take().unwrap();
        assert_eq!((begun.trigger, begun.joined), (Trigger::First, 1));
        assert_eq!(queue.push(Trigger::Schedule { due: now }, now), 2, "run 1 has begun");
        assert_eq!(queue.take().map(|queued| queued.number), Some(2));
        assert_eq!(queue.waiting(), None);
        queue.number_after(1);
        assert_eq!(queue.push(Trigger::First, now), 3, "numbers never go back");
        queue.take();
        queue.number_after(40);
        assert_eq!(queue.push(Trigger::First, now), 41);
    }
}
