//! What every command understands: where the repository is, how much is told, how long a lock is waited for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::failure::Failure;
use super::output::format::DisplayZone;
use super::output::{Output, Style, Verbosity};
use super::password::read_text_file;
use crate::agent::config::raw::{Raw, Text};
use crate::duration;
use crate::environment::Environment;
use crate::setting::{Compression, PackSize, RateLimit};

#[derive(Clone, Debug, Default, Args)]
pub struct Options {
    /// Repository to backup to or restore from (default: $RESTIC_REPOSITORY)
    #[arg(short, long, global = true, value_name = "REPOSITORY")]
    pub repo: Option<String>,
    /// File to read the repository location from (default: $RESTIC_REPOSITORY_FILE)
    #[arg(long, global = true, value_name = "FILE")]
    pub repository_file: Option<PathBuf>,
    /// File to read the repository password from (default: $RESTIC_PASSWORD_FILE)
    #[arg(short, long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Shell command to obtain the repository password from (default: $RESTIC_PASSWORD_COMMAND)
    #[arg(long, global = true, value_name = "COMMAND")]
    pub password_command: Option<String>,
    /// Use an empty password for the repository, must be passed to every command (insecure)
    #[arg(long, global = true)]
    pub insecure_no_password: bool,
    /// Retry to lock the repository if it is already locked, takes a value like 5m or 2h (default: no retries)
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    pub retry_lock: Option<Duration>,
    /// Do not lock the repository, this allows some operations on read-only repositories
    #[arg(long, global = true)]
    pub no_lock: bool,
    /// Set the cache directory (default: $RESTIC_CACHE_DIR or the system's)
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub cache_dir: Option<PathBuf>,
    /// Do not use a local cache
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Set output mode to JSON for commands that support it
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not output comprehensive progress report
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Be verbose (specify twice, or --verbose=2, to name every item)
    #[arg(short, long, global = true, value_name = "LEVEL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = clap::value_parser!(u8).range(0..=2), action = ArgAction::Append)]
    pub verbose: Vec<u8>,
    /// Compression mode, one of (auto|off|fastest|better|max) (default: $RESTIC_COMPRESSION or auto)
    #[arg(long, global = true, value_name = "MODE", value_parser = str::parse::<Compression>)]
    pub compression: Option<Compression>,
    /// Set target pack size in MiB, created pack files may be larger (default: $RESTIC_PACK_SIZE or 16)
    #[arg(long, global = true, value_name = "MIB", value_parser = str::parse::<PackSize>)]
    pub pack_size: Option<PackSize>,
    /// Limit uploads to a maximum RATE in KiB/s (default: unlimited)
    #[arg(long, global = true, value_name = "RATE", value_parser = str::parse::<RateLimit>)]
    pub limit_upload: Option<RateLimit>,
    /// Limit downloads to a maximum RATE in KiB/s (default: unlimited)
    #[arg(long, global = true, value_name = "RATE", value_parser = str::parse::<RateLimit>)]
    pub limit_download: Option<RateLimit>,
    /// File to load root certificates from, beside the system's (default: $RESTIC_CACERT)
    #[arg(long, global = true, value_name = "FILE", value_delimiter = ',')]
    pub cacert: Vec<PathBuf>,
    /// Skip TLS certificate verification when connecting to the repository (insecure)
    #[arg(long, global = true)]
    pub insecure_tls: bool,
    /// Set an extended option: s3.connections, s3.region, s3.bucket-lookup, azure.connections, b2.connections
    #[arg(short, long, global = true, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub option: Vec<String>,
}

impl Options {
    /// The location of the repository, as written.
    pub fn location(&self, environment: &Environment) -> Result<String, Failure> {
        let location = self.repo.clone().or_else(|| environment.text("RESTIC_REPOSITORY"));
        let file = self.repository_file.clone().or_else(|| environment.path("RESTIC_REPOSITORY_FILE"));
        match (location, file) {
            (Some(_), Some(_)) => {
                Err(Failure::new("-r and --repository-file (or their variables) are both set: keep one"))
            }
            (Some(location), None) => Ok(location),
            (None, Some(file)) => {
                let bytes = read_text_file(&file)?;
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                match text.is_empty() {
                    true => Err(Failure::new(format!("{} is empty", file.display()))),
                    false => Ok(text),
                }
            }
            (None, None) => Err(Failure::new("no repository location")
                .hint("give one with -r or --repository-file, or set RESTIC_REPOSITORY")),
        }
    }

    /// Where the cache is to be; `None` with `--no-cache`.
    pub fn cache_directory(&self, environment: &Environment) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        let explicit = self.cache_dir.clone().or_else(|| environment.path("RESTIC_CACHE_DIR"));
        let of_user = || environment.path("XDG_CACHE_HOME").map(|directory| directory.join("pillion"));
        let of_home = || environment.path("HOME").map(|directory| directory.join(".cache/pillion"));
        explicit.or_else(of_user).or_else(of_home)
    }

    pub fn compression(&self, environment: &Environment) -> Result<Compression, Failure> {
        from_flag_or_variable(self.compression, "RESTIC_COMPRESSION", environment)
    }

    pub fn pack_size(&self, environment: &Environment) -> Result<PackSize, Failure> {
        from_flag_or_variable(self.pack_size, "RESTIC_PACK_SIZE", environment)
    }

    /// How long a command waits for a lock; not at all by default.
    pub fn retry_lock(&self) -> Duration {
        self.retry_lock.unwrap_or_default()
    }

    pub fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Text }
    }

    pub fn verbosity(&self) -> Verbosity {
        match self.verbose.iter().copied().fold(0, u8::saturating_add) {
            _ if self.quiet => Verbosity::Quiet,
            0 => Verbosity::Essential,
            1 => Verbosity::Verbose,
            _ => Verbosity::Detailed,
        }
    }

    pub fn output(&self, environment: &Environment) -> Result<Output, Failure> {
        let zone = DisplayZone::of(environment.raw("TZ").and_then(|zone| zone.to_str()));
        Ok(Output::of_process(self.style(), self.verbosity(), zone))
    }

    /// The flags as a layer of the agent's settings.
    pub fn as_settings(&self) -> Raw {
        let cache_dir =
            self.cache_dir.as_deref().map(|path| path.to_str().ok_or("--cache-dir: is not UTF-8"));
        Raw {
            problems: cache_dir.and_then(Result::err).map(str::to_owned).into_iter().collect(),
            repository: self.repo.clone().map(Text),
            cache_dir: cache_dir.and_then(Result::ok).map(|path| Text(path.to_owned())),
            retry_lock: self.retry_lock.map(|wait| Text(duration::format(wait))),
            compression: self.compression.map(|mode| Text(mode.to_string())),
            pack_size: self.pack_size.map(|size| Text(size.mebibytes().to_string())),
            limit_upload: self.limit_upload.map(|limit| Text(limit.to_string())),
            limit_download: self.limit_download.map(|limit| Text(limit.to_string())),
            ..Raw::default()
        }
    }
}

/// A flag, else the variable, else the default. A variable that makes no sense is refused before hours of work.
fn from_flag_or_variable<T: Copy + Default + std::str::FromStr<Err = String>>(
    flag: Option<T>,
    variable: &str,
    environment: &Environment,
) -> Result<T, Failure> {
    match (flag, environment.text(variable)) {
        (Some(value), _) => Ok(value),
        (None, Some(text)) => text.parse().map_err(|problem| Failure::new(format!("{variable}: {problem}"))),
        (None, None) => Ok(T::default()),
    }
}
