//! What the settings mean: values that cannot be wrong.
//!
//! [`raw`] is what was written, wherever it was written; [`Config::resolve`] turns it into this or names every
//! problem at once. Components receive the narrow part they need. No credential is ever in here ([`secret`]).

pub mod hooks;
pub mod http;
pub mod plan;
pub mod raw;
pub mod secret;
mod section;
mod source;
mod store;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use pillion_backend::location::Location;
use pillion_repository::cache::least_bytes;
use pillion_repository::filter::{Case, ExcludeOptions, Exclusion, PatternList};
use pillion_repository::format::id::Id;

use serde::{Deserialize, Serialize};

use crate::agent::schedule::{Schedule, parse_zone};
use crate::duration;
use crate::open::Connection;
use crate::setting::{Compression, PackSize, parse_size_bytes, usual_cache_bytes};
use crate::telemetry::{LogFormat, LogLevel};

use http::Http;
use plan::{Plan, PlanName};
use raw::{Raw, Text};
pub use source::{Loaded, Source};

/// The host of every snapshot unless set: a pod's own name would change with every rollout.
const DEFAULT_HOST: &str = "host-0";
/// How the tag of a named plan's snapshots begins.
pub const PLAN_TAG: &str = "pillion-plan=";
/// At one a week everything is read within a quarter.
const DEFAULT_CHECK_GROUPS: u64 = 12;
/// restic's bound.
const MAX_CHECK_GROUPS: u64 = 256;
pub const DEFAULT_CACHE_DIRECTORY: &str = "/var/cache/pillion";
/// Packs of the usual size take at most 0.25 GB of it. The rest holds the index and the trees of about a million files.
const USUAL_CACHE_BYTES: u64 = 512 << 20;
const DEFAULT_CREDENTIALS_DIRECTORY: &str = "/etc/pillion/credentials";
/// Twice as long as a store that is away is asked for, so that it is never taken for a source that hangs.
const DEFAULT_STALL: Duration = Duration::from_secs(30 * 60);
/// Where Kubernetes looks for the last words of a container.
pub const DEFAULT_TERMINATION_LOG: &str = "/dev/termination-log";
const DEFAULT_RETRY_LOCK: Duration = Duration::from_secs(10 * 60);
const DEFAULT_RETRY_MIN: Duration = Duration::from_secs(30);
const DEFAULT_RETRY_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug)]
pub struct Config {
    pub repository: Location,
    pub connection: Connection,
    /// What the repository's ID has to be.
    pub repository_id: Option<Id>,
    /// At least one; a nameless one is alone.
    pub plans: Vec<Plan>,
    pub check: Option<Check>,
    pub host: String,
    /// What this agent's snapshots carry as the tag `pillion=<identity>`.
    pub identity: Option<String>,
    pub cache_directory: PathBuf,
    /// All that may be in the cache directory; enough for packs of `pack_size`.
    pub cache_bytes: u64,
    pub credentials_directory: PathBuf,
    pub mode: Mode,
    /// Instances of this agent that are no more: their locks are removed.
    pub ended_instances: Vec<String>,
    pub retry_lock: Duration,
    pub backoff: Backoff,
    /// Other hosts than this machine itself that hooks may speak to, in small letters.
    pub hook_hosts: Vec<String>,
    pub compression: Compression,
    pub pack_size: PackSize,
    pub http: Http,
    /// Of a run in which nothing moves.
    pub stall_timeout: Bound,
    /// Where the last words go, if there is such a file.
    pub termination_log: PathBuf,
    pub log: Log,
}

/// When the whole repository is looked through, and how much of its data is read each time.
#[derive(Clone, Debug)]
pub struct Check {
    pub schedule: Schedule,
    pub jitter: Jitter,
    /// Each check reads the data of one of that many groups of packs, by turns.
    pub groups: u64,
    /// Of a whole run.
    pub run_timeout: Bound,
}

/// restic's exclude options, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclude {
    pub patterns: Vec<String>,
    pub insensitive_patterns: Vec<String>,
    pub files: Vec<PathBuf>,
    pub insensitive_files: Vec<PathBuf>,
    /// `NAME[:HEADER]`.
    pub if_present: Vec<String>,
    pub larger_than_bytes: Option<u64>,
    pub caches: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    #[default]
    Off,
    Auto,
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Auto => "auto",
        })
    }
}

/// What the agent is to do, as somebody outside decides who sees more than it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Active,
    /// No run begins by itself.
    Paused,
    /// Another replica backs up.
    Standby,
    /// There is nothing to be backed up any more.
    Stopped,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Standby, Self::Stopped];

    /// Whether there is a run when somebody asks for one.
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Active | Self::Paused)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Standby => "standby",
            Self::Stopped => "stopped",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is none of active, paused, standby and stopped"))
    }
}

/// How long something may take, if there is a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(pub Option<Duration>);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => f.write_str(&duration::format(limit)),
            None => f.write_str("off"),
        }
    }
}

/// How long a failed run waits for its next try: doubling from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row, counted from 1.
    pub fn wait(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

impl Config {
    /// Every tag of a plan's snapshots, ours first.
    pub fn snapshot_tags(&self, plan: &Plan) -> Vec<String> {
        let of_plan = plan.name.as_ref().map(|name| self.plan_tag(name));
        self.identity_tag().into_iter().chain(of_plan).chain(plan.tags.iter().cloned()).collect()
    }

    /// The tag that the plan's snapshots have and no others; `None` where there is none.
    pub fn own_tag(&self, plan: &Plan) -> Option<String> {
        match &plan.name {
            Some(name) => Some(self.plan_tag(name)),
            None => self.identity_tag(),
        }
    }

    pub fn identity_tag(&self) -> Option<String> {
        self.identity.as_ref().map(|identity| format!("pillion={identity}"))
    }

    fn plan_tag(&self, name: &PlanName) -> String {
        format!("{PLAN_TAG}{}:{name}", self.name())
    }

    /// What tells this agent from others.
    pub fn name(&self) -> &str {
        self.identity.as_deref().unwrap_or(&self.host)
    }

    pub fn plan(&self, name: Option<&PlanName>) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.name.as_ref() == name)
    }

    /// What was written, understood; or every problem, each a sentence that begins with the setting's name.
    pub fn resolve(mut raw: Raw) -> Result<Self, Vec<String>> {
        let mut problems = std::mem::take(&mut raw.problems);
        let config = Self::resolve_fields(raw, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => {
                // What plans and checks share is read for each of them.
                let mut told = BTreeSet::new();
                problems.retain(|problem| told.insert(problem.clone()));
                Err(problems)
            }
        }
    }

    /// `None` only where a problem was added.
    fn resolve_fields(mut raw: Raw, problems: &mut Vec<String>) -> Option<Self> {
        let mut read = Reader { problems };
        let store = store::resolve(&mut read, raw.repository.take(), raw.backend.take());
        let repository_id = read.optional("repositoryId", raw.repository_id.take(), parse_id);
        let upload_limit =
            read.optional("limitUpload", raw.limit_upload.take(), str::parse).unwrap_or_default();
        let download_limit =
            read.optional("limitDownload", raw.limit_download.take(), str::parse).unwrap_or_default();
        let identity = read.optional("identity", raw.identity.take(), parse_tag);
        let host = read.optional("host", raw.host.take(), parse_host);
        let cache = read.optional("cacheDir", raw.cache_dir.take(), absolute_path);
        let credentials = read.optional("credentialsDir", raw.credentials_dir.take(), absolute_path);
        let mode = read.optional("mode", raw.mode.take(), str::parse);
        let ended_instances = read.list("endedInstances", raw.ended_instances.take(), http::parse_instance);
        let retry_lock = read.optional("retryLock", raw.retry_lock.take(), duration::parse);
        let backoff = read.backoff(raw.retry_min.take(), raw.retry_max.take());
        let hook_hosts = read.list("hookHosts", raw.hook_hosts.take(), hooks::parse_host);
        let compression = read.optional("compression", raw.compression.take(), str::parse);
        let pack_size = read.optional("packSize", raw.pack_size.take(), str::parse).unwrap_or_default();
        let cache_bytes =
            read.optional("cacheSize", raw.cache_size.take(), |text| parse_cache_size(text, pack_size));
        let cache_directory = cache.unwrap_or_else(|| DEFAULT_CACHE_DIRECTORY.into());
        let http = Http::resolve(&mut read, &mut raw, &cache_directory);
        let stall_timeout = read.optional("stallTimeout", raw.stall_timeout.take(), parse_bound);
        let termination_log = read.optional("terminationLog", raw.termination_log.take(), absolute_path);
        let level = read.optional("logLevel", raw.log_level.take(), str::parse);
        let format = read.optional("logFormat", raw.log_format.take(), str::parse);
        let check = read.check(&mut raw);
        let plans = read.plans(raw, &hook_hosts);
        let (repository, connection) = store?;
        Some(Self {
            repository,
            connection: Connection { upload_limit, download_limit, ..connection },
            repository_id,
            plans: plans?,
            check,
            host: host.unwrap_or_else(|| DEFAULT_HOST.to_owned()),
            identity,
            cache_directory,
            cache_bytes: cache_bytes.unwrap_or_else(|| usual_cache_bytes(USUAL_CACHE_BYTES, pack_size)),
            credentials_directory: credentials.unwrap_or_else(|| DEFAULT_CREDENTIALS_DIRECTORY.into()),
            mode: mode.unwrap_or_default(),
            ended_instances,
            retry_lock: retry_lock.unwrap_or(DEFAULT_RETRY_LOCK),
            backoff,
            hook_hosts,
            compression: compression.unwrap_or_default(),
            pack_size,
            http,
            stall_timeout: stall_timeout.unwrap_or(Bound(Some(DEFAULT_STALL))),
            termination_log: termination_log.unwrap_or_else(|| DEFAULT_TERMINATION_LOG.into()),
            log: Log { level: level.unwrap_or_default(), format: format.unwrap_or_default() },
        })
    }

    /// What was understood, as YAML for anybody to see: what hooks send may be secret and is left out.
    pub fn to_shown_yaml(&self) -> String {
        let raw = Raw::of(self).without_secrets();
        serde_norway::to_string(&raw).expect("settings are text, lists and mappings of text")
    }

    /// What was understood, as YAML that would be understood the same way. Holds what hooks send, which may be secret.
    pub fn to_yaml(&self) -> String {
        let raw = Raw::of(self);
        serde_norway::to_string(&raw).expect("settings are text, lists and mappings of text")
    }
}

/// Reads fields one by one and goes on after a problem, so that all are named at once.
struct Reader<'a> {
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn optional<T>(
        &mut self,
        name: &str,
        text: Option<Text>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = text.filter(|text| !text.0.is_empty())?;
        match parse(&text.0) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(format!("{name}: {problem}"));
                None
            }
        }
    }

    fn required<T>(
        &mut self,
        name: &str,
        text: Option<Text>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if text.as_ref().is_none_or(|text| text.0.is_empty()) {
            self.problems.push(format!("{name}: is not set"));
        }
        self.optional(name, text, parse)
    }

    fn list<T>(
        &mut self,
        name: &str,
        list: Option<raw::List>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = list.map(|list| list.0).unwrap_or_default();
        items.into_iter().filter_map(|item| self.optional(name, Some(item), &parse)).collect()
    }

    fn sources(&mut self, list: Option<raw::List>) -> Vec<PathBuf> {
        let before = self.problems.len();
        let sources = self.list("sources", list, absolute_path);
        if sources.is_empty() && self.problems.len() == before {
            self.problems.push("sources: is not set".to_owned());
        }
        sources
    }

    /// What there is to back up, with all that is left of the settings. `None` only where a problem was added.
    fn plans(&mut self, mut raw: Raw, hook_hosts: &[String]) -> Option<Vec<Plan>> {
        let Some(named) = raw.plans.take() else {
            return Some(vec![Plan::resolve(self, None, raw, hook_hosts)?]);
        };
        if named.0.is_empty() {
            self.problems.push("plans: there is none: write one, or sources and schedule alone".to_owned());
        }
        let mut plans = Vec::new();
        for (name, of_plan) in named.0 {
            let mut problems = Vec::new();
            let mut read = Reader { problems: &mut problems };
            let plan = match name.parse::<PlanName>() {
                Ok(known) => Plan::resolve(&mut read, Some(known), of_plan.over(raw.clone()), hook_hosts),
                Err(problem) => {
                    self.problems.push(format!("plans: {problem}"));
                    continue;
                }
            };
            self.problems.extend(problems.into_iter().map(|problem| format!("plans.{name}.{problem}")));
            plans.extend(plan);
        }
        Some(plans)
    }

    fn check(&mut self, raw: &mut Raw) -> Option<Check> {
        let zone = self.optional("timeZone", raw.time_zone.clone(), parse_zone);
        // The zone that is set may be meant for the backups alone.
        let parse = |text: &str| Schedule::parse(text, zone).or_else(|_| Schedule::parse(text, None));
        let schedule = self.optional("checkSchedule", raw.check_schedule.take(), parse);
        let groups = self.optional("checkGroups", raw.check_groups.take(), parse_groups);
        let jitter = self.optional("jitter", raw.jitter.clone(), parse_jitter);
        let run_timeout = self.optional("runTimeout", raw.run_timeout.clone(), parse_bound);
        Some(Check {
            schedule: schedule?,
            jitter: jitter.unwrap_or_default(),
            groups: groups.unwrap_or(DEFAULT_CHECK_GROUPS),
            run_timeout: run_timeout.unwrap_or(Bound(None)),
        })
    }

    fn backoff(&mut self, min: Option<Text>, max: Option<Text>) -> Backoff {
        let min = self.optional("retryMin", min, duration::parse).unwrap_or(DEFAULT_RETRY_MIN);
        let max = self.optional("retryMax", max, duration::parse).unwrap_or(DEFAULT_RETRY_MAX.max(min));
        if min < Duration::from_secs(1) {
            self.problems.push("retryMin: must be at least 1s".to_owned());
        }
        if max < min {
            self.problems.push("retryMax: must not be below retryMin".to_owned());
        }
        Backoff { min, max }
    }
}

fn parse_location(text: &str) -> Result<Location, String> {
    Location::parse(text).map_err(|e| e.to_string())
}

fn parse_id(text: &str) -> Result<Id, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no ID: it is the 64 hex digits that `restic cat config` shows"))
}

/// Whether case counts makes no difference to what is a pattern.
fn parse_pattern(text: &str) -> Result<String, String> {
    match PatternList::parse("", &[text], Case::Sensitive) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("{text:?} is no pattern")),
    }
}

fn parse_marker(text: &str) -> Result<String, String> {
    let if_present = vec![text.as_bytes().to_vec()];
    match Exclusion::parse(ExcludeOptions { if_present, ..ExcludeOptions::default() }) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("{text:?} names no file")),
    }
}

fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(format!("{text:?} is no absolute path"));
    }
    if text.contains('\0') {
        return Err(format!("{text:?} holds a zero byte"));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(format!("{text:?} holds `..`: write the path itself"));
    }
    // `components` drops `.` and doubled slashes.
    Ok(path.components().collect())
}

/// What packs of that size cannot do with is refused here rather than in every run.
fn parse_cache_size(text: &str, pack_size: PackSize) -> Result<u64, String> {
    let (bytes, least) = (parse_size_bytes(text)?, least_bytes(pack_size.bytes()));
    match bytes < least {
        false => Ok(bytes),
        true => Err(format!(
            "{text:?} is too small: packs of {} MiB need at least {}M",
            pack_size.mebibytes(),
            least.div_ceil(1 << 20)
        )),
    }
}

/// `off`, or what `parse` understands.
fn switchable<T>(
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Option<T>, String> {
    move |text| match text {
        "off" => Ok(None),
        _ => parse(text).map(Some).map_err(|problem| format!("{problem}, or off")),
    }
}

fn parse_bound(text: &str) -> Result<Bound, String> {
    let limit = |text: &str| match duration::parse(text)? {
        limit if limit < Duration::from_secs(1) => Err("must be at least 1s".to_owned()),
        limit => Ok(limit),
    };
    switchable(limit)(text).map(Bound)
}

fn parse_groups(text: &str) -> Result<u64, String> {
    let groups = text.parse().ok().filter(|groups| (1..=MAX_CHECK_GROUPS).contains(groups));
    groups.ok_or_else(|| format!("{text:?} is no number from 1 to {MAX_CHECK_GROUPS}"))
}

fn parse_jitter(text: &str) -> Result<Jitter, String> {
    match text {
        "off" => Ok(Jitter::Off),
        "auto" => Ok(Jitter::Auto),
        _ => Err(format!("{text:?} is neither off nor auto")),
    }
}

fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no number from 0 up"))
}

fn parse_switch(text: &str) -> Result<bool, String> {
    // All of them are YAML's.
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        false => Ok(text.to_owned()),
        true => Err(format!("{text:?} holds a control character")),
    }
}

fn parse_tag(text: &str) -> Result<String, String> {
    match text.contains(',') || text.trim() != text || text.chars().any(char::is_control) {
        false => Ok(text.to_owned()),
        true => Err(format!("{text:?} holds a comma, a control character, or blanks at an end")),
    }
}
