//! Which calls fail, and how: `Rule::nth(3).of(Operation::Save).on(FileKind::Pack).fails(ErrorKind::Full)`.
//!
//! A rule counts the calls it is about, from one, and strikes by that count. Counting from one is how people
//! say it ("the third save fails"); a rule about "the call number zero" panics, for the test means another.

use crate::{ErrorKind, FileKind, FileName, Operation};

use super::Call;

/// Which calls fail, and how. Begun with [`Rule::nth`], [`Rule::from_nth`], [`Rule::between`] or [`Rule::every`];
/// until it is told how, the calls fail as [`ErrorKind::Unavailable`] without effect.
#[derive(Clone, Debug)]
pub struct Rule {
    strikes: Strikes,
    operation: Option<Operation>,
    kind: Option<FileKind>,
    file: Option<FileName>,
    outcome: Outcome,
    counted: u64,
}

#[derive(Clone, Copy, Debug)]
enum Strikes {
    Between(u64, u64),
    Every(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Fails(ErrorKind),
    FailsAfterEffect(ErrorKind),
    NeverAnswers,
    BreaksOff(usize, ErrorKind),
}

impl Rule {
    /// The n-th of the calls, once.
    pub fn nth(n: u64) -> Self {
        Self::between(n, n)
    }

    /// The n-th and all later ones: the process died, or the store went away.
    pub fn from_nth(n: u64) -> Self {
        Self::between(n, u64::MAX)
    }

    /// The calls from `first` to `last`, both included.
    pub fn between(first: u64, last: u64) -> Self {
        assert!(first > 0, "calls are counted from one");
        Self::new(Strikes::Between(first, last))
    }

    /// The n-th, the 2n-th and so on.
    pub fn every(n: u64) -> Self {
        assert!(n > 0, "calls are counted from one");
        Self::new(Strikes::Every(n))
    }

    fn new(strikes: Strikes) -> Self {
        let outcome = Outcome::Fails(ErrorKind::Unavailable);
        Self { strikes, operation: None, kind: None, file: None, outcome, counted: 0 }
    }

    /// Only calls of this operation are counted ([`Operation::Save`] is both kinds of save).
    #[must_use]
    pub fn of(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only calls about files of this kind are counted.
    #[must_use]
    pub fn on(mut self, kind: FileKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only calls about this file are counted.
    #[must_use]
    pub fn named(mut self, file: &FileName) -> Self {
        self.file = Some(file.clone());
        self
    }

    /// The call fails and has no effect.
    #[must_use]
    pub fn fails(mut self, kind: ErrorKind) -> Self {
        self.outcome = Outcome::Fails(kind);
        self
    }

    /// The call has its effect, and its answer is lost. A list yields everything before it fails.
    #[must_use]
    pub fn fails_after_effect(mut self, kind: ErrorKind) -> Self {
        self.outcome = Outcome::FailsAfterEffect(kind);
        self
    }

    /// The call has no effect and hangs until its future is dropped.
    #[must_use]
    pub fn never_answers(mut self) -> Self {
        self.outcome = Outcome::NeverAnswers;
        self
    }

    /// A list fails after yielding at most so many entries. Any other call fails without effect.
    #[must_use]
    pub fn breaks_off_after(mut self, entries: usize, kind: ErrorKind) -> Self {
        self.outcome = Outcome::BreaksOff(entries, kind);
        self
    }

    /// Counts the call if the rule is about it; the outcome if it strikes.
    pub(super) fn meets(&mut self, call: &Call) -> Option<Outcome> {
        let about = self.operation.is_none_or(|operation| operation == call.operation)
            && self.kind.is_none_or(|kind| call.kind == Some(kind))
            && (self.file.is_none() || self.file == call.file);
        if !about {
            return None;
        }
        self.counted += 1;
        let strikes = match self.strikes {
            Strikes::Between(first, last) => (first..=last).contains(&self.counted),
            Strikes::Every(n) => self.counted.is_multiple_of(n),
        };
        strikes.then_some(self.outcome)
    }
}
