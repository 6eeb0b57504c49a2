//! A plan: sources that are backed up together, when, and what is done around it.
//!
//! Where the settings name no plans there is one, without a name. A named one has, where it says nothing itself, what is
//! written outside: so it is a layer of settings over the others, less those that only the whole agent can have.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::hooks::{self, Hooks};
use super::raw::Raw;
use super::{
    Bound, Exclude, Jitter, Reader, absolute_path, parse_bound, parse_count, parse_jitter, parse_marker,
    parse_pattern, parse_size_bytes, parse_switch, parse_tag, parse_zone,
};
use crate::agent::schedule::Schedule;

/// The longest name that is a label in Kubernetes too.
const MAX_NAME_BYTES: usize = 63;

/// What a named plan may say.
pub(super) const SETTINGS: [&str; 15] = [
    "sources",
    "exclude",
    "iexclude",
    "excludeFile",
    "iexcludeFile",
    "excludeIfPresent",
    "excludeLargerThan",
    "excludeCaches",
    "schedule",
    "timeZone",
    "jitter",
    "tags",
    "retries",
    "runTimeout",
    "hooks",
];

#[derive(Clone, Debug)]
pub struct Plan {
    /// `None` where there is but one.
    pub name: Option<PlanName>,
    /// Absolute, without `.` or `..`; at least one.
    pub sources: Vec<PathBuf>,
    pub exclude: Exclude,
    pub schedule: Schedule,
    pub jitter: Jitter,
    /// The tags that were asked for, without ours.
    pub tags: Vec<String>,
    /// How often a failed run is tried again until the next scheduled one; `None` without end.
    pub retries: Option<u32>,
    /// Of a whole run.
    pub run_timeout: Bound,
    pub hooks: Hooks,
}

impl Plan {
    /// `None` only where a problem was added.
    pub(super) fn resolve(
        read: &mut Reader<'_>,
        name: Option<PlanName>,
        raw: Raw,
        hook_hosts: &[String],
    ) -> Option<Self> {
        let sources = read.sources(raw.sources);
        let zone = read.optional("timeZone", raw.time_zone, parse_zone);
        let schedule = read.required("schedule", raw.schedule, |text| Schedule::parse(text, zone));
        let jitter = read.optional("jitter", raw.jitter, parse_jitter);
        let exclude = Exclude {
            patterns: read.list("exclude", raw.exclude, parse_pattern),
            insensitive_patterns: read.list("iexclude", raw.iexclude, parse_pattern),
            files: read.list("excludeFile", raw.exclude_file, absolute_path),
            insensitive_files: read.list("iexcludeFile", raw.iexclude_file, absolute_path),
            if_present: read.list("excludeIfPresent", raw.exclude_if_present, parse_marker),
            larger_than_bytes: read.optional("excludeLargerThan", raw.exclude_larger_than, parse_size_bytes),
            caches: read.optional("excludeCaches", raw.exclude_caches, parse_switch).unwrap_or(false),
        };
        let tags = read.list("tags", raw.tags, parse_tag);
        let retries = read.optional("retries", raw.retries, parse_count);
        let run_timeout = read.optional("runTimeout", raw.run_timeout, parse_bound);
        let hooks = hooks::resolve(read, raw.hooks, hook_hosts);
        Some(Self {
            name,
            sources,
            exclude,
            schedule: schedule?,
            jitter: jitter.unwrap_or_default(),
            tags,
            retries,
            run_timeout: run_timeout.unwrap_or(Bound(None)),
            hooks,
        })
    }

    /// Whether a run that failed is tried again before the schedule asks for the next one. `failures` counts that one.
    pub fn retry_follows(&self, failures: u32) -> bool {
        self.retries.is_none_or(|retries| failures <= retries)
    }
}

/// Small letters, digits and hyphens: it is found in tags, labels, file names and addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct PlanName(String);

impl PlanName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlanName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=MAX_NAME_BYTES).contains(&text.len())
            && text.chars().all(is_plain)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "{text:?} is no name: it is at most {MAX_NAME_BYTES} small letters, digits and hyphens, with no \
                 hyphen at an end"
            )),
        }
    }
}

impl TryFrom<String> for PlanName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PlanName> for String {
    fn from(name: PlanName) -> Self {
        name.0
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
