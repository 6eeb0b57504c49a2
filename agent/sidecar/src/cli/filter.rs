//! Which snapshots, which entries: options that several commands share, and what they say together.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use pillion_repository::filter::{self, PatternOptions};
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::repository::{BlobReader, Repository};
use pillion_repository::snapshots::{self, SnapshotFilter};

use super::failure::Failure;
use super::output::quote::escape_control;
use super::session::Session;
use crate::environment::Environment;
use crate::patterns;

/// The options that choose snapshots.
#[derive(Clone, Debug, Default, Args)]
pub struct SnapshotOptions {
    /// Only consider snapshots for this host (can be specified multiple times) (default: $RESTIC_HOST)
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only consider snapshots including TAG[,TAG,...] (can be specified multiple times)
    #[arg(long = "tag", value_name = "TAG[,TAG,...]")]
    pub tags: Vec<String>,
    /// Only consider snapshots including this (absolute) path (snapshots must include all specified paths)
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
}

impl SnapshotOptions {
    pub fn resolve(&self, environment: &Environment) -> SnapshotFilter {
        let mut hosts = self.hosts.clone();
        if hosts.is_empty() {
            hosts.extend(environment.text("RESTIC_HOST"));
        }
        // `--host ""` unsets the variable.
        if hosts == [""] {
            hosts.clear();
        }
        let tags = self.tags.iter().map(|text| match split_tags(text) {
            // An empty list asks for a snapshot without any.
            none if none.is_empty() => vec![String::new()],
            tags => tags,
        });
        let directory = working_directory(environment);
        let clean = |path: &String| {
            String::from_utf8_lossy(&filter::absolute(path.as_bytes(), &directory)).into_owned()
        };
        SnapshotFilter {
            hosts,
            tags: tags.collect(),
            paths: self.paths.iter().map(clean).collect(),
            not_after: None,
        }
    }

    /// The snapshots that are named, or without names all that these options let through, oldest first. What
    /// cannot be read is told and counted.
    pub fn select(
        &self,
        repository: &Repository,
        names: &[String],
        session: &Session<'_>,
    ) -> Result<Selected, Failure> {
        let (snapshots, damaged) =
            snapshots::select_snapshots(repository, names, &self.resolve(session.environment))?;
        for error in &damaged {
            session.output.problem(&format!("Ignoring {}", escape_control(&error.to_string())));
        }
        Ok(Selected { snapshots, unreadable: Unreadable(damaged.len()) })
    }
}

/// What a command with several snapshots works on.
#[derive(Debug)]
pub struct Selected {
    pub snapshots: Vec<(Id, Snapshot)>,
    pub unreadable: Unreadable,
}

/// How many snapshots were passed over because they cannot be read: the end of a command says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub usize);

impl From<Unreadable> for Result<(), Failure> {
    fn from(Unreadable(count): Unreadable) -> Self {
        match count {
            0 => Ok(()),
            1 => Err(Failure::new("one snapshot could not be read").hint("run `pillion check`")),
            _ => {
                Err(Failure::new(format!("{count} snapshots could not be read")).hint("run `pillion check`"))
            }
        }
    }
}

/// The directory that relative paths start at, under the name by which the shell knows it where that is true: a
/// snapshot's paths then are those the person sees, as with restic.
pub fn working_directory(environment: &Environment) -> Vec<u8> {
    let id = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let named = environment.path("PWD").filter(|path| path.is_absolute());
    let found = named.filter(|path| id(path).is_some_and(|named| Some(named) == id(Path::new("."))));
    let directory = found.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| "/".into());
    directory.into_os_string().into_encoded_bytes()
}

/// `a,b` as restic splits it: blanks at the ends go, empty ones too.
pub fn split_tags(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// The snapshot that a command line names: an ID's beginning or `latest`, and a path in it after a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName(pub OsString);

impl From<OsString> for SnapshotName {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

impl SnapshotName {
    /// The snapshot, and the tree at the path in it.
    pub fn find(
        &self,
        repository: &Repository,
        reader: &mut BlobReader,
        filter: &SnapshotFilter,
    ) -> Result<(Id, Snapshot, Id), Failure> {
        let (id, snapshot, path) = snapshots::find_snapshot(repository, self.0.as_encoded_bytes(), filter)?;
        let tree = snapshots::find_tree(reader, &snapshot.tree, &path)?;
        Ok((id, snapshot, tree))
    }
}

/// The options that leave entries out.
#[derive(Clone, Debug, Default, Args)]
pub struct ExcludeOptions {
    /// Exclude a pattern (can be specified multiple times)
    #[arg(short, long, value_name = "PATTERN")]
    pub exclude: Vec<OsString>,
    /// Same as --exclude PATTERN but ignores the casing of filenames
    #[arg(long, value_name = "PATTERN")]
    pub iexclude: Vec<OsString>,
    /// Read exclude patterns from a file (can be specified multiple times)
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,
    /// Same as --exclude-file but ignores casing of filenames in patterns
    #[arg(long, value_name = "FILE")]
    pub iexclude_file: Vec<PathBuf>,
}

/// The options that take in nothing but what they name.
#[derive(Clone, Debug, Default, Args)]
pub struct IncludeOptions {
    /// Include a pattern (can be specified multiple times)
    #[arg(short, long, value_name = "PATTERN")]
    pub include: Vec<OsString>,
    /// Same as --include PATTERN but ignores the casing of filenames
    #[arg(long, value_name = "PATTERN")]
    pub iinclude: Vec<OsString>,
    /// Read include patterns from a file (can be specified multiple times)
    #[arg(long, value_name = "FILE")]
    pub include_file: Vec<PathBuf>,
    /// Same as --include-file but ignores casing of filenames in patterns
    #[arg(long, value_name = "FILE")]
    pub iinclude_file: Vec<PathBuf>,
}

impl ExcludeOptions {
    /// The patterns, those of files read.
    pub fn patterns(&self, environment: &Environment) -> Result<PatternOptions, Failure> {
        Ok(PatternOptions {
            patterns: bytes(&self.exclude),
            insensitive_patterns: bytes(&self.iexclude),
            file_patterns: patterns::read(&self.exclude_file, environment)?,
            insensitive_file_patterns: patterns::read(&self.iexclude_file, environment)?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.exclude.is_empty()
            && self.iexclude.is_empty()
            && self.exclude_file.is_empty()
            && self.iexclude_file.is_empty()
    }
}

impl IncludeOptions {
    /// The patterns, those of files read.
    pub fn patterns(&self, environment: &Environment) -> Result<PatternOptions, Failure> {
        Ok(PatternOptions {
            patterns: bytes(&self.include),
            insensitive_patterns: bytes(&self.iinclude),
            file_patterns: patterns::read(&self.include_file, environment)?,
            insensitive_file_patterns: patterns::read(&self.iinclude_file, environment)?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.include.is_empty()
            && self.iinclude.is_empty()
            && self.include_file.is_empty()
            && self.iinclude_file.is_empty()
    }
}

/// Names are bytes, and so are patterns.
pub fn bytes(arguments: &[OsString]) -> Vec<Vec<u8>> {
    arguments.iter().map(|argument| argument.as_encoded_bytes().to_vec()).collect()
}

/// What snapshots are grouped by: for the listing, and for the search of a parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupBy {
    pub host: bool,
    pub paths: bool,
    pub tags: bool,
}

impl std::str::FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self::default();
        for word in text.split(',') {
            match word {
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                "" => {}
                _ => return Err(format!("{word:?} is nothing to group by: there are host, paths and tags")),
            }
        }
        Ok(by)
    }
}

/// Refuses patterns of both kinds together, as restic does.
pub fn refuse_both(exclude: &ExcludeOptions, include: &IncludeOptions) -> Result<(), Failure> {
    if exclude.is_empty() || include.is_empty() {
        return Ok(());
    }
    Err(Failure::new("exclude and include patterns are mutually exclusive"))
}
