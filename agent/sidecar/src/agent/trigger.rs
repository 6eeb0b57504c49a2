//! Why a run is asked for.

use std::fmt;

use chrono::{DateTime, Utc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The schedule came due, at the time it names (jitter not counted).
    Schedule { due: DateTime<Utc> },
    /// There is no snapshot of this agent yet.
    First,
    /// The newest own snapshot is older than a time the schedule has named since.
    CatchUp { newest: DateTime<Utc> },
    /// The last run failed; `failures` is how many did in a row.
    Retry { failures: u32 },
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule { due } => write!(f, "due at {}", due.format("%FT%TZ")),
            Self::First => f.write_str("no snapshot yet"),
            Self::CatchUp { newest } => write!(f, "missed since {}", newest.format("%FT%TZ")),
            Self::Retry { failures } => write!(f, "retry after failure {failures}"),
        }
    }
}
