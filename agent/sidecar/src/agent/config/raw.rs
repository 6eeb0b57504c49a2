//! The settings as they are written: in a YAML file, in `PILLION_*` variables, as flags.
//!
//! Every field is optional text or a list of it; what it means is decided in one place, after the layers were laid
//! over each other (flag, environment, file). What cannot be read, and names that no setting has, are kept here as
//! problems, so that all are told at once.

mod backend;
mod hooks;
mod yaml;

use std::collections::BTreeMap;

use pillion_backend::location::Location;
use serde::Serialize;

use super::Config;
use super::plan::{self, Plan};
use crate::duration;
use crate::environment::Environment;
use crate::setting::format_size_bytes;
pub use backend::Backend;
pub use hooks::Hooks;
pub use yaml::Written;

/// One value, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text(pub String);

/// A list; in the file one item may stand alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct List(pub Vec<Text>);

/// A value that the file and a variable can hold.
pub(super) trait Layered: Sized {
    fn from_file(written: Written) -> Result<Self, String>;
    fn from_variable(text: String) -> Self;
}

impl Layered for Text {
    fn from_file(written: Written) -> Result<Self, String> {
        match written {
            Written::Text(text) => Ok(Self(text)),
            Written::List(_) => Err("is a list: write one value".to_owned()),
            Written::Mapping(_) => Err("is a mapping: write one value".to_owned()),
            Written::Mappings(_) => Err("is a list of mappings: write one value".to_owned()),
            Written::Other(kind) => Err(format!("is {kind}: write one value")),
        }
    }

    fn from_variable(text: String) -> Self {
        Self(text)
    }
}

impl Layered for List {
    fn from_file(written: Written) -> Result<Self, String> {
        match written {
            Written::Text(text) => Ok(Self(vec![Text(text)])),
            Written::List(items) => Ok(Self(items.into_iter().map(Text).collect())),
            Written::Mapping(_) => Err("is a mapping: write a value or a list of them".to_owned()),
            Written::Mappings(_) => Err("is a list of mappings: write a value or a list of them".to_owned()),
            Written::Other(kind) => Err(format!("is {kind}: write a value or a list of them")),
        }
    }

    /// One item a line, or where there is one line, separated by commas.
    fn from_variable(text: String) -> Self {
        let separator = if text.contains('\n') { '\n' } else { ',' };
        let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
        Self(items.map(|item| Text(item.to_owned())).collect())
    }
}

macro_rules! settings {
    ($($field:ident: $kind:ident, $name:literal, $variable:literal;)*) => {
        /// One layer of settings.
        #[derive(Clone, Debug, Default, Serialize)]
        pub struct Raw {
            $(#[serde(rename = $name, skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>,)*
            /// The store as a manifest spells it, in place of `repository`; in the file only.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub backend: Option<Backend>,
            /// What is done around a run, as a manifest spells it; in the file only.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub hooks: Option<Hooks>,
            /// Several sources, each with settings of its own; in the file only.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub plans: Option<Plans>,
            /// What is wrong with how this was written: sentences that begin with the setting's or variable's name.
            #[serde(skip)]
            pub problems: Vec<String>,
        }

        /// Every setting: its name in the file, and its variable.
        pub const SETTINGS: &[(&str, &str)] = &[$(($name, $variable)),*];

        impl Raw {
            /// This layer over `below`: a field that is set here hides the one there. A store that is named here hides
            /// the one there, however each is spelled.
            #[must_use]
            pub fn over(mut self, mut below: Self) -> Self {
                self.problems.extend(below.problems);
                if self.repository.is_some() {
                    below.backend = None;
                } else if self.backend.is_some() {
                    below.repository = None;
                }
                Self {
                    $($field: self.$field.or(below.$field),)*
                    backend: self.backend.or(below.backend),
                    hooks: self.hooks.or(below.hooks),
                    plans: self.plans.or(below.plans),
                    problems: self.problems,
                }
            }

            /// The layer of the `PILLION_*` variables.
            pub fn from_environment(environment: &Environment) -> Self {
                let mut problems = Vec::new();
                let mut text = |name: &str| {
                    let told = |problem| problems.push(format!("{name}: {problem}"));
                    environment.utf8(name).map_err(told).ok().flatten().map(str::to_owned)
                };
                let layer = Self {
                    $($field: text($variable).map($kind::from_variable),)*
                    backend: None,
                    hooks: None,
                    plans: None,
                    problems: Vec::new(),
                };
                Self { problems, ..layer }
            }

            /// The layer of the file.
            fn from_written(mut written: BTreeMap<String, Written>) -> Self {
                let mut problems = Vec::new();
                let mut mapping = |name: &str| match written.remove(name)? {
                    Written::Mapping(entries) => Some(entries),
                    _ => {
                        problems.push(format!("{name}: is no mapping: write it as in the manifest"));
                        None
                    }
                };
                let (backend, hooks) = (mapping("backend").map(Backend), mapping("hooks").map(Hooks));
                let plans = mapping("plans").map(|plans| Plans::from_written(plans, &mut problems));
                let layer = Self {
                    $($field: written.remove($name).and_then(|value| {
                        let told = |problem| problems.push(format!("{}: {problem}", $name));
                        $kind::from_file(value).map_err(told).ok()
                    }),)*
                    backend,
                    hooks,
                    plans,
                    problems: Vec::new(),
                };
                problems.extend(written.into_keys().map(|name| format!("{name}: there is no such setting")));
                Self { problems, ..layer }
            }
        }
    };
}

settings! {
    repository: Text, "repository", "PILLION_REPOSITORY";
    repository_id: Text, "repositoryId", "PILLION_REPOSITORY_ID";
    sources: List, "sources", "PILLION_SOURCES";
    exclude: List, "exclude", "PILLION_EXCLUDE";
    iexclude: List, "iexclude", "PILLION_IEXCLUDE";
    exclude_file: List, "excludeFile", "PILLION_EXCLUDE_FILE";
    iexclude_file: List, "iexcludeFile", "PILLION_IEXCLUDE_FILE";
    exclude_if_present: List, "excludeIfPresent", "PILLION_EXCLUDE_IF_PRESENT";
    exclude_larger_than: Text, "excludeLargerThan", "PILLION_EXCLUDE_LARGER_THAN";
    exclude_caches: Text, "excludeCaches", "PILLION_EXCLUDE_CACHES";
    schedule: Text, "schedule", "PILLION_SCHEDULE";
    check_schedule: Text, "checkSchedule", "PILLION_CHECK_SCHEDULE";
    check_groups: Text, "checkGroups", "PILLION_CHECK_GROUPS";
    time_zone: Text, "timeZone", "PILLION_TIME_ZONE";
    jitter: Text, "jitter", "PILLION_JITTER";
    host: Text, "host", "PILLION_HOST";
    identity: Text, "identity", "PILLION_IDENTITY";
    tags: List, "tags", "PILLION_TAGS";
    cache_dir: Text, "cacheDir", "PILLION_CACHE_DIR";
    cache_size: Text, "cacheSize", "PILLION_CACHE_SIZE";
    credentials_dir: Text, "credentialsDir", "PILLION_CREDENTIALS_DIR";
    mode: Text, "mode", "PILLION_MODE";
    ended_instances: List, "endedInstances", "PILLION_ENDED_INSTANCES";
    retry_lock: Text, "retryLock", "PILLION_RETRY_LOCK";
    retry_min: Text, "retryMin", "PILLION_RETRY_MIN";
    retry_max: Text, "retryMax", "PILLION_RETRY_MAX";
    retries: Text, "retries", "PILLION_RETRIES";
    hook_hosts: List, "hookHosts", "PILLION_HOOK_HOSTS";
    compression: Text, "compression", "PILLION_COMPRESSION";
    pack_size: Text, "packSize", "PILLION_PACK_SIZE";
    limit_upload: Text, "limitUpload", "PILLION_LIMIT_UPLOAD";
    limit_download: Text, "limitDownload", "PILLION_LIMIT_DOWNLOAD";
    public_address: Text, "publicAddress", "PILLION_PUBLIC_ADDRESS";
    control_address: Text, "controlAddress", "PILLION_CONTROL_ADDRESS";
    control_socket: Text, "controlSocket", "PILLION_CONTROL_SOCKET";
    control_token_file: Text, "controlTokenFile", "PILLION_CONTROL_TOKEN_FILE";
    control_key: Text, "controlKey", "PILLION_CONTROL_KEY";
    instance: Text, "instance", "PILLION_INSTANCE";
    metrics_compat: Text, "metricsCompat", "PILLION_METRICS_COMPAT";
    run_timeout: Text, "runTimeout", "PILLION_RUN_TIMEOUT";
    stall_timeout: Text, "stallTimeout", "PILLION_STALL_TIMEOUT";
    termination_log: Text, "terminationLog", "PILLION_TERMINATION_LOG";
    log_level: Text, "logLevel", "PILLION_LOG_LEVEL";
    log_format: Text, "logFormat", "PILLION_LOG_FORMAT";
}

/// The variable that names the file.
pub const CONFIG_VARIABLE: &str = "PILLION_CONFIG";

impl Raw {
    /// Reads the file's text. An empty file sets nothing.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        yaml::read(text).map(Self::from_written)
    }

    /// What to warn of: variables that look like ours and are not. (Not refused: Kubernetes itself makes such
    /// variables for a Service named `pillion`.)
    pub fn unknown_variables(environment: &Environment) -> Vec<String> {
        let is_variable = |name: &str| SETTINGS.iter().any(|(_, variable)| *variable == name);
        environment
            .names_with_prefix("PILLION_")
            .filter(|name| *name != CONFIG_VARIABLE && !is_variable(name))
            .map(str::to_owned)
            .collect()
    }

    /// The settings that resolve to `config`, for showing.
    pub(super) fn of(config: &Config) -> Self {
        let check = config.check.as_ref();
        let whole = Self {
            repository: matches!(config.repository, Location::Local(_))
                .then(|| Text(config.repository.to_string())),
            repository_id: config.repository_id.map(|id| Text(id.to_string())),
            check_schedule: check.map(|check| Text(check.schedule.expression_with_zone())),
            check_groups: check.and_then(|check| text(&check.groups)),
            host: text(&config.host),
            identity: config.identity.clone().map(Text),
            cache_dir: text(&config.cache_directory.display()),
            cache_size: Some(Text(format_size_bytes(config.cache_bytes))),
            credentials_dir: text(&config.credentials_directory.display()),
            mode: text(&config.mode),
            ended_instances: list(config.ended_instances.iter().cloned()),
            retry_lock: text(&duration::format(config.retry_lock)),
            retry_min: text(&duration::format(config.backoff.min)),
            retry_max: text(&duration::format(config.backoff.max)),
            hook_hosts: list(config.hook_hosts.iter().cloned()),
            compression: text(&config.compression),
            pack_size: text(&config.pack_size.mebibytes()),
            limit_upload: config.connection.upload_limit.rate().and(text(&config.connection.upload_limit)),
            limit_download: config
                .connection
                .download_limit
                .rate()
                .and(text(&config.connection.download_limit)),
            stall_timeout: text(&config.stall_timeout),
            termination_log: text(&config.termination_log.display()),
            log_level: text(&config.log.level),
            log_format: text(&config.log.format),
            backend: Backend::of(&config.repository, &config.connection),
            ..super::http::written(&config.http)
        };
        match &config.plans[..] {
            [alone @ Plan { name: None, .. }] => Self::of_plan(alone).over(whole),
            plans => {
                let named = |plan: &Plan| Some((plan.name.as_ref()?.to_string(), Self::of_plan(plan)));
                Self {
                    plans: Some(Plans(plans.iter().filter_map(named).collect())),
                    jitter: check.and_then(|check| text(&check.jitter)),
                    run_timeout: check.and_then(|check| text(&check.run_timeout)),
                    ..whole
                }
            }
        }
    }

    fn of_plan(plan: &Plan) -> Self {
        let paths =
            |paths: &[std::path::PathBuf]| list(paths.iter().map(|path| path.to_string_lossy().into_owned()));
        let exclude = &plan.exclude;
        Self {
            sources: paths(&plan.sources),
            exclude: list(exclude.patterns.iter().cloned()),
            iexclude: list(exclude.insensitive_patterns.iter().cloned()),
            exclude_file: paths(&exclude.files),
            iexclude_file: paths(&exclude.insensitive_files),
            exclude_if_present: list(exclude.if_present.iter().cloned()),
            exclude_larger_than: exclude.larger_than_bytes.map(|bytes| Text(bytes.to_string())),
            exclude_caches: text(&exclude.caches),
            schedule: text(&plan.schedule.expression()),
            time_zone: text(&plan.schedule.zone()),
            jitter: text(&plan.jitter),
            tags: list(plan.tags.iter().cloned()),
            retries: plan.retries.map(|count| Text(count.to_string())),
            run_timeout: text(&plan.run_timeout),
            hooks: Hooks::of(&plan.hooks),
            ..Self::default()
        }
    }

    /// The same, for anybody to see.
    #[must_use]
    pub(super) fn without_secrets(mut self) -> Self {
        self.hooks = self.hooks.map(Hooks::without_secrets);
        self.plans = self.plans.map(|plans| {
            Plans(plans.0.into_iter().map(|(name, plan)| (name, plan.without_secrets())).collect())
        });
        self
    }
}

/// The settings of each plan, by its name.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Plans(pub BTreeMap<String, Raw>);

impl Plans {
    fn from_written(written: BTreeMap<String, Written>, problems: &mut Vec<String>) -> Self {
        let mut plans = BTreeMap::new();
        for (name, plan) in written {
            let Written::Mapping(mut settings) = plan else {
                problems
                    .push(format!("plans.{name}: is no mapping: write the plan's settings below its name"));
                continue;
            };
            let foreign = |setting: &String, _: &mut Written| {
                !plan::SETTINGS.contains(&setting.as_str())
                    && (SETTINGS.iter().any(|(known, _)| known == setting)
                        || ["backend", "plans"].contains(&setting.as_str()))
            };
            let told = |(setting, _)| {
                format!("plans.{name}.{setting}: is a setting of the whole agent: write it outside of plans")
            };
            problems.extend(settings.extract_if(.., foreign).map(told));
            let mut plan = Raw::from_written(settings);
            let told = |problem| format!("plans.{name}.{problem}");
            problems.extend(std::mem::take(&mut plan.problems).into_iter().map(told));
            plans.insert(name, plan);
        }
        Self(plans)
    }
}

fn text(value: &dyn std::fmt::Display) -> Option<Text> {
    Some(Text(value.to_string()))
}

fn list(items: impl Iterator<Item = String>) -> Option<List> {
    let items: Vec<Text> = items.map(Text).collect();
    (!items.is_empty()).then_some(List(items))
}
