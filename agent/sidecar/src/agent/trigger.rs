//! Why a run is asked for.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Trigger {
    /// The schedule came due, at the time it names (jitter not counted).
    Schedule { due: DateTime<Utc> },
    /// There is no snapshot of this agent yet.
    First,
    /// The newest own snapshot is older than a time the schedule has named since.
    CatchUp { newest: DateTime<Utc> },
    /// The last run failed; `failures` is how many did in a row.
    Retry { failures: u32 },
    /// Somebody asked, over the control listener.
    Request,
}

impl Trigger {
    /// A word of a closed list, for labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Schedule { .. } => "schedule",
            Self::First => "first",
            Self::CatchUp { .. } => "catch-up",
            Self::Retry { .. } => "retry",
            Self::Request => "request",
        }
    }

    /// The failures in a row that a run answers for: none, unless it is a retry.
    pub fn failures_before(self) -> u32 {
        match self {
            Self::Retry { failures } => failures,
            Self::Schedule { .. } | Self::First | Self::CatchUp { .. } | Self::Request => 0,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule { due } => write!(f, "due at {}", due.format("%FT%TZ")),
            Self::First => f.write_str("no snapshot yet"),
            Self::CatchUp { newest } => write!(f, "missed since {}", newest.format("%FT%TZ")),
            Self::Retry { failures } => write!(f, "retry after failure {failures}"),
            Self::Request => f.write_str("asked for"),
        }
    }
}
