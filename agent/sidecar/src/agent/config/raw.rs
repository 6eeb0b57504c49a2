//! The settings as they are written: in a YAML file, in `PILLION_*` variables, as flags.
//!
//! Every field is optional text or a list of it; what it means is decided in one place, after the layers were laid
//! over each other (flag, environment, file). Unknown fields are kept here so that each can be named.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Config, Jitter};
use crate::duration;
use crate::environment::Environment;

/// A scalar. YAML may take `10` for a number and `off` for a word: both are text here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Scalar")]
pub struct Text(pub String);

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Switch(bool),
    Whole(i64),
    Fraction(f64),
}

impl From<Scalar> for Text {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Text(text) => text,
            Scalar::Switch(switch) => switch.to_string(),
            Scalar::Whole(number) => number.to_string(),
            Scalar::Fraction(number) => number.to_string(),
        })
    }
}

/// A list; one item may stand alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct List(pub Vec<Text>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Text),
    Many(Vec<Text>),
}

impl From<OneOrMany> for List {
    fn from(items: OneOrMany) -> Self {
        Self(match items {
            OneOrMany::One(item) => vec![item],
            OneOrMany::Many(items) => items,
        })
    }
}

/// A value that a variable can hold.
trait FromVariable {
    fn from_variable(text: String) -> Self;
}

impl FromVariable for Text {
    fn from_variable(text: String) -> Self {
        Self(text)
    }
}

impl FromVariable for List {
    /// One item a line, or where there is one line, separated by commas.
    fn from_variable(text: String) -> Self {
        let separator = if text.contains('\n') { '\n' } else { ',' };
        let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
        Self(items.map(|item| Text(item.to_owned())).collect())
    }
}

macro_rules! settings {
    ($($field:ident: $kind:ident, $variable:literal;)*) => {
        /// One layer of settings.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Raw {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>,)*
            /// What no setting is called: each becomes a problem.
            #[serde(flatten, skip_serializing)]
            pub unknown: BTreeMap<String, serde_norway::Value>,
        }

        const VARIABLES: &[&str] = &[$($variable),*];

        impl Raw {
            /// This layer over `below`: a field that is set here hides the one there.
            #[must_use]
            pub fn over(mut self, below: Self) -> Self {
                self.unknown.extend(below.unknown);
                Self { $($field: self.$field.or(below.$field),)* unknown: self.unknown }
            }

            /// The layer of the `PILLION_*` variables.
            pub fn from_environment(environment: &Environment) -> Self {
                Self {
                    $($field: environment.text($variable).map($kind::from_variable),)*
                    unknown: BTreeMap::new(),
                }
            }
        }
    };
}

settings! {
    repository: Text, "PILLION_REPOSITORY";
    sources: List, "PILLION_SOURCES";
    exclude: List, "PILLION_EXCLUDE";
    iexclude: List, "PILLION_IEXCLUDE";
    exclude_file: List, "PILLION_EXCLUDE_FILE";
    iexclude_file: List, "PILLION_IEXCLUDE_FILE";
    exclude_if_present: List, "PILLION_EXCLUDE_IF_PRESENT";
    exclude_larger_than: Text, "PILLION_EXCLUDE_LARGER_THAN";
    exclude_caches: Text, "PILLION_EXCLUDE_CACHES";
    schedule: Text, "PILLION_SCHEDULE";
    time_zone: Text, "PILLION_TIME_ZONE";
    jitter: Text, "PILLION_JITTER";
    host: Text, "PILLION_HOST";
    identity: Text, "PILLION_IDENTITY";
    tags: List, "PILLION_TAGS";
    cache_dir: Text, "PILLION_CACHE_DIR";
    credentials_dir: Text, "PILLION_CREDENTIALS_DIR";
    retry_lock: Text, "PILLION_RETRY_LOCK";
    retry_min: Text, "PILLION_RETRY_MIN";
    retry_max: Text, "PILLION_RETRY_MAX";
    compression: Text, "PILLION_COMPRESSION";
    pack_size: Text, "PILLION_PACK_SIZE";
    log_level: Text, "PILLION_LOG_LEVEL";
    log_format: Text, "PILLION_LOG_FORMAT";
}

/// The variable that names the file.
pub const CONFIG_VARIABLE: &str = "PILLION_CONFIG";

impl Raw {
    /// Reads the file's text. An empty file sets nothing.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let parsed: Option<Self> = serde_norway::from_str(text).map_err(|e| e.to_string())?;
        Ok(parsed.unwrap_or_default())
    }

    pub(super) fn unknown_problems(&self) -> Vec<String> {
        self.unknown.keys().map(|name| format!("{name}: there is no such setting")).collect()
    }

    /// What to warn of: variables that look like ours and are not. (Not refused: Kubernetes itself makes such
    /// variables for a Service named `pillion`.)
    pub fn unknown_variables(environment: &Environment) -> Vec<String> {
        environment
            .names_with_prefix("PILLION_")
            .filter(|name| *name != CONFIG_VARIABLE && !VARIABLES.contains(name))
            .map(str::to_owned)
            .collect()
    }

    /// The settings that resolve to `config`, for showing.
    pub(super) fn of(config: &Config) -> Self {
        let text = |value: &dyn std::fmt::Display| Some(Text(value.to_string()));
        let paths =
            |paths: &[std::path::PathBuf]| list(paths.iter().map(|path| path.to_string_lossy().into_owned()));
        let exclude = &config.exclude;
        Self {
            repository: text(&config.repository),
            sources: paths(&config.sources),
            exclude: list(exclude.patterns.iter().cloned()),
            iexclude: list(exclude.insensitive_patterns.iter().cloned()),
            exclude_file: paths(&exclude.files),
            iexclude_file: paths(&exclude.insensitive_files),
            exclude_if_present: list(exclude.if_present.iter().cloned()),
            exclude_larger_than: exclude.larger_than_bytes.map(|bytes| Text(bytes.to_string())),
            exclude_caches: text(&exclude.caches),
            schedule: text(&config.schedule.expression()),
            time_zone: text(&config.schedule.zone()),
            jitter: text(&match config.jitter {
                Jitter::Off => "off",
                Jitter::Auto => "auto",
            }),
            host: text(&config.host),
            identity: config.identity.clone().map(Text),
            tags: list(config.tags.iter().cloned()),
            cache_dir: text(&config.cache_directory.display()),
            credentials_dir: text(&config.credentials_directory.display()),
            retry_lock: text(&duration::format(config.retry_lock)),
            retry_min: text(&duration::format(config.backoff.min)),
            retry_max: text(&duration::format(config.backoff.max)),
            compression: text(&config.compression),
            pack_size: text(&config.pack_size.mebibytes()),
            log_level: text(&config.log.level),
            log_format: text(&config.log.format),
            unknown: BTreeMap::new(),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> Option<List> {
    let items: Vec<Text> = items.map(Text).collect();
    (!items.is_empty()).then_some(List(items))
}
