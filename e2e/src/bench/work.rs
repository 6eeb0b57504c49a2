//! What is measured: five works on each of two data sets.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use super::data::DataSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first backup, into an empty repository.
    First,
    /// The second one, of the same.
    Unchanged,
    Check,
    Restore,
    /// The third backup, with one percent rewritten.
    Changed,
}

impl Step {
    /// In the order in which a round goes through them: what was restored is compared before the source changes.
    pub const ALL: [Self; 5] = [Self::First, Self::Unchanged, Self::Check, Self::Restore, Self::Changed];

    pub fn noun(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Unchanged => "unchanged",
            Self::Check => "check",
            Self::Restore => "restore",
            Self::Changed => "changed",
        }
    }

    pub fn is_backup(self) -> bool {
        matches!(self, Self::First | Self::Unchanged | Self::Changed)
    }
}

/// One line of the table, named like `small-first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub set: DataSet,
    pub step: Step,
}

impl Work {
    pub fn all() -> Vec<Self> {
        [DataSet::Large, DataSet::Small]
            .into_iter()
            .flat_map(|set| Step::ALL.into_iter().map(move |step| Self { set, step }))
            .collect()
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.set.noun(), self.step.noun())
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(work) = Self::all().into_iter().find(|work| work.to_string() == text) else {
            let names: Vec<_> = Self::all().iter().map(Self::to_string).collect();
            bail!("no work is called {text:?}; there are {}", names.join(", "));
        };
        Ok(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_is_found_by_its_name() {
        for work in Work::all() {
            assert_eq!(work.to_string().parse::<Work>().unwrap(), work);
        }
        assert!("small-second".parse::<Work>().unwrap_err().to_string().contains("small-first"));
    }
}
