//! What waits while a run is under way: at most one more.
//!
//! A trigger joins a run only while that run still waits, so what was written before the trigger is in the snapshot.
//! Joining a run that has begun would promise that without keeping it.

use chrono::{DateTime, Utc};

use super::trigger::Trigger;

/// A run that waits to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
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
        assert!(queue.is_empty());
    }
}
