//! What the settings mean: values that cannot be wrong.
//!
//! [`raw`] is what was written, wherever it was written; [`Config::resolve`] turns it into this or names every
//! problem at once. Components receive the narrow part they need. No credential is ever in here ([`secret`]).

pub mod hooks;
pub mod http;
pub mod raw;
pub mod secret;
mod section;
mod source;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Component, PathBuf};
use std::time::Duration;

use pillion_backend::location::Location;
use pillion_repository::cache::least_bytes;
use pillion_repository::filter::{Case, ExcludeOptions, Exclusion, PatternList};
use pillion_repository::format::id::Id;

use crate::agent::schedule::{Schedule, parse_zone};
use crate::duration;
use crate::open::Connection;
use crate::setting::{Compression, PackSize, parse_size_bytes, usual_cache_bytes};
use crate::telemetry::{LogFormat, LogLevel};

use hooks::Hooks;
use http::Http;
use raw::{Raw, Text};
pub use source::{Loaded, Source};

/// The host of every snapshot unless set: a pod's own name would change with every rollout.
const DEFAULT_HOST: &str = "host-0";
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
    /// Absolute, without `.` or `..`; at least one.
    pub sources: Vec<PathBuf>,
    pub exclude: Exclude,
    pub schedule: Schedule,
    pub jitter: Jitter,
    pub host: String,
    /// What this agent's snapshots carry as the tag `pillion=<identity>`.
    pub identity: Option<String>,
    /// The tags that were asked for, without the identity's.
    pub tags: Vec<String>,
    pub cache_directory: PathBuf,
    /// All that may be in the cache directory; enough for packs of `pack_size`.
    pub cache_bytes: u64,
    pub credentials_directory: PathBuf,
    pub retry_lock: Duration,
    pub backoff: Backoff,
    /// How often a failed run is tried again until the next scheduled one; `None` without end.
    pub retries: Option<u32>,
    pub hooks: Hooks,
    /// Other hosts than this machine itself that hooks may speak to, in small letters.
    pub hook_hosts: Vec<String>,
    pub compression: Compression,
    pub pack_size: PackSize,
    pub http: Http,
    /// Of a whole run.
    pub run_timeout: Bound,
    /// Of a run in which nothing moves.
    pub stall_timeout: Bound,
    /// Where the last words go, if there is such a file.
    pub termination_log: PathBuf,
    pub log: Log,
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
    /// Every tag of a snapshot: the identity's first.
    pub fn snapshot_tags(&self) -> Vec<String> {
        self.identity_tag().into_iter().chain(self.tags.iter().cloned()).collect()
    }

    pub fn identity_tag(&self) -> Option<String> {
        self.identity.as_ref().map(|identity| format!("pillion={identity}"))
    }

    /// What was written, understood; or every problem, each a sentence that begins with the setting's name.
    pub fn resolve(mut raw: Raw) -> Result<Self, Vec<String>> {
        let mut problems = std::mem::take(&mut raw.problems);
        let config = Self::resolve_fields(raw, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// `None` only where a problem was added.
    fn resolve_fields(raw: Raw, problems: &mut Vec<String>) -> Option<Self> {
        let mut read = Reader { problems };
        let store = store::resolve(&mut read, raw.repository, raw.backend);
        let repository_id = read.optional("repositoryId", raw.repository_id, parse_id);
        let upload_limit = read.optional("limitUpload", raw.limit_upload, str::parse).unwrap_or_default();
        let download_limit =
            read.optional("limitDownload", raw.limit_download, str::parse).unwrap_or_default();
        let sources = read.sources(raw.sources);
        let zone = read.optional("timeZone", raw.time_zone, parse_zone);
        let schedule = read.required("schedule", raw.schedule, |text| Schedule::parse(text, zone));
        let jitter = read.optional("jitter", raw.jitter, parse_jitter);
        let identity = read.optional("identity", raw.identity, parse_tag);
        let host = read.optional("host", raw.host, parse_host);
        let tags = read.list("tags", raw.tags, parse_tag);
        let exclude = Exclude {
            patterns: read.list("exclude", raw.exclude, parse_pattern),
            insensitive_patterns: read.list("iexclude", raw.iexclude, parse_pattern),
            files: read.list("excludeFile", raw.exclude_file, absolute_path),
            insensitive_files: read.list("iexcludeFile", raw.iexclude_file, absolute_path),
            if_present: read.list("excludeIfPresent", raw.exclude_if_present, parse_marker),
            larger_than_bytes: read.optional("excludeLargerThan", raw.exclude_larger_than, parse_size_bytes),
            caches: read.optional("excludeCaches", raw.exclude_caches, parse_switch).unwrap_or(false),
        };
        let cache = read.optional("cacheDir", raw.cache_dir, absolute_path);
        let credentials = read.optional("credentialsDir", raw.credentials_dir, absolute_path);
        let retry_lock = read.optional("retryLock", raw.retry_lock, duration::parse);
        let backoff = read.backoff(raw.retry_min, raw.retry_max);
        let retries = read.optional("retries", raw.retries, parse_count);
        let hook_hosts = read.list("hookHosts", raw.hook_hosts, hooks::parse_host);
        let hooks = hooks::resolve(&mut read, raw.hooks, &hook_hosts);
        let compression = read.optional("compression", raw.compression, str::parse);
        let pack_size = read.optional("packSize", raw.pack_size, str::parse).unwrap_or_default();
        let cache_bytes =
            read.optional("cacheSize", raw.cache_size, |text| parse_cache_size(text, pack_size));
        let cache_directory = cache.unwrap_or_else(|| DEFAULT_CACHE_DIRECTORY.into());
        let http = http::Written {
            public_address: raw.public_address,
            control_address: raw.control_address,
            control_socket: raw.control_socket,
            control_token_file: raw.control_token_file,
            control_key: raw.control_key,
            instance: raw.instance,
        };
        let http = Http::resolve(&mut read, http, &cache_directory);
        let run_timeout = read.optional("runTimeout", raw.run_timeout, parse_bound);
        let stall_timeout = read.optional("stallTimeout", raw.stall_timeout, parse_bound);
        let termination_log = read.optional("terminationLog", raw.termination_log, absolute_path);
        let level = read.optional("logLevel", raw.log_level, str::parse);
        let format = read.optional("logFormat", raw.log_format, str::parse);
        let (repository, connection) = store?;
        Some(Self {
            repository,
            connection: Connection { upload_limit, download_limit, ..connection },
            repository_id,
            sources,
            exclude,
            schedule: schedule?,
            jitter: jitter.unwrap_or_default(),
            host: host.unwrap_or_else(|| DEFAULT_HOST.to_owned()),
            identity,
            tags,
            cache_directory,
            cache_bytes: cache_bytes.unwrap_or_else(|| usual_cache_bytes(USUAL_CACHE_BYTES, pack_size)),
            credentials_directory: credentials.unwrap_or_else(|| DEFAULT_CREDENTIALS_DIRECTORY.into()),
            retry_lock: retry_lock.unwrap_or(DEFAULT_RETRY_LOCK),
            backoff,
            retries,
            hooks,
            hook_hosts,
            compression: compression.unwrap_or_default(),
            pack_size,
            http,
            run_timeout: run_timeout.unwrap_or(Bound(None)),
            stall_timeout: stall_timeout.unwrap_or(Bound(Some(DEFAULT_STALL))),
            termination_log: termination_log.unwrap_or_else(|| DEFAULT_TERMINATION_LOG.into()),
            log: Log { level: level.unwrap_or_default(), format: format.unwrap_or_default() },
        })
    }

    /// Whether a run that failed is tried again before the schedule asks for the next one. `failures` counts that one.
    pub fn retry_follows(&self, failures: u32) -> bool {
        self.retries.is_none_or(|retries| failures <= retries)
    }

    /// What was understood, as YAML for anybody to see: what hooks send may be secret and is left out.
    pub fn to_shown_yaml(&self) -> String {
        let mut raw = Raw::of(self);
        raw.hooks = raw.hooks.map(raw::Hooks::without_secrets);
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

fn parse_bound(text: &str) -> Result<Bound, String> {
    match text {
        "off" => Ok(Bound(None)),
        _ => match duration::parse(text).map_err(|problem| format!("{problem}, or off"))? {
            limit if limit < Duration::from_secs(1) => Err("must be at least 1s, or off".to_owned()),
            limit => Ok(Bound(Some(limit))),
        },
    }
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
