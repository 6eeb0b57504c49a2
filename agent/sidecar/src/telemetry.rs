//! Logs: text for people on a terminal, a JSON object a line otherwise. All of it goes to standard error.
//!
//! Nothing that is logged may hold a password: values of type `Secret` have no text form, and libraries, which may show a
//! header or a URL with a signature in it, have no say here. A log that cannot be written, on
//! a full disk or to a reader that went away, is lost and nothing else: `eprintln!`, which would panic there, is called
//! nowhere.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

const LEVELS: [(LogLevel, &str, LevelFilter); 5] = [
    (LogLevel::Error, "error", LevelFilter::ERROR),
    (LogLevel::Warn, "warn", LevelFilter::WARN),
    (LogLevel::Info, "info", LevelFilter::INFO),
    (LogLevel::Debug, "debug", LevelFilter::DEBUG),
    (LogLevel::Trace, "trace", LevelFilter::TRACE),
];

const FORMATS: [(LogFormat, &str); 3] =
    [(LogFormat::Auto, "auto"), (LogFormat::Text, "text"), (LogFormat::Json, "json")];

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = LEVELS.iter().find(|(_, name, _)| *name == text).map(|(level, ..)| *level);
        found.ok_or_else(|| format!("{text:?} is no level: there are error, warn, info, debug and trace"))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LEVELS.iter().find(|(level, ..)| level == self).map(|(_, name, _)| *name);
        f.write_str(name.expect("every level is in the table"))
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = FORMATS.iter().find(|(_, name)| *name == text).map(|(format, _)| *format);
        found.ok_or_else(|| format!("{text:?} is no format: there are auto, text and json"))
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FORMATS.iter().find(|(format, _)| format == self).map(|(_, name)| *name);
        f.write_str(name.expect("every format is in the table"))
    }
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// What can be changed of the log while it is written.
struct Log {
    level: reload::Handle<Targets, Layered<reload::Layer<Lines, Registry>, Registry>>,
    lines: reload::Handle<Lines, Registry>,
}

/// The log is the process's own, as standard error is.
static LOG: OnceLock<Log> = OnceLock::new();

/// Starts logging, once for the process; a second call changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let (lines, lines_handle) = reload::Layer::new(lines(format));
    let (level, level_handle) = reload::Layer::new(filter(level));
    // The only failure is that logging was started before, which is what was asked for.
    if tracing_subscriber::registry().with(lines).with(level).try_init().is_ok() {
        LOG.get_or_init(|| Log { level: level_handle, lines: lines_handle });
    }
}

/// From here on logs with this level and in this format, if logging was started.
pub fn change(level: LogLevel, format: LogFormat) {
    let Some(log) = LOG.get() else { return };
    let changed = log.lines.reload(lines(format)).and_then(|()| log.level.reload(filter(level)));
    if let Err(error) = changed {
        tracing::warn!(%error, "the log goes on as it was");
    }
}

/// Our own crates, whose names all begin so.
fn filter(level: LogLevel) -> Targets {
    let filter = LEVELS.iter().find(|(known, ..)| *known == level).map(|(.., filter)| *filter);
    Targets::new().with_target("pillion", filter.expect("every level is in the table"))
}

fn lines(format: LogFormat) -> Lines {
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        // It would tell of a failed write by `eprintln!`, to where writing has just failed.
        .log_internal_errors(false);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto if !is_terminal => lines.json().flatten_event(true).boxed(),
        LogFormat::Text | LogFormat::Auto => lines.with_ansi(is_terminal).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn our_own_crates_log_and_no_library_does() {
        let everything = filter(LogLevel::Trace);
        for ours in ["pillion", "pillion::agent", "pillion_backend::s3", "pillion_repository::lock"] {
            assert!(everything.would_enable(ours, &Level::TRACE), "{ours}");
            assert!(!filter(LogLevel::Info).would_enable(ours, &Level::DEBUG), "{ours}");
        }
        for library in
            ["h2::client", "hyper_util::client", "reqwest::connect", "object_store", "rustls", "log"]
        {
            assert!(!everything.would_enable(library, &Level::ERROR), "{library}");
        }
    }
}
