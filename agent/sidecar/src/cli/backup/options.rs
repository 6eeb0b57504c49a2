//! What `pillion backup` can be told, and what makes no sense together.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::cli::filter::{ExcludeOptions, GroupBy, split_tags};
use crate::environment::Environment;
use crate::setting::parse_size_bytes;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Files and directories to back up; with --stdin-from-command the command and its arguments
    #[arg(value_name = "FILE/DIR", trailing_var_arg = false)]
    pub targets: Vec<PathBuf>,
    #[command(flatten)]
    pub exclude: ExcludeOptions,
    /// Exclude contents of directories containing FILENAME (except itself) if its header is
    /// as provided (can be specified multiple times)
    #[arg(long, value_name = "FILENAME[:HEADER]")]
    pub exclude_if_present: Vec<OsString>,
    /// Max size of the files to be backed up (allowed suffixes: k/K, m/M, g/G, t/T)
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    pub exclude_larger_than: Option<u64>,
    /// Excludes cache directories that are marked with a CACHEDIR.TAG file
    #[arg(long)]
    pub exclude_caches: bool,
    /// Exclude other file systems, don't cross filesystem boundaries and subvolumes
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Read the files to backup from FILE (can be combined with file args; can be specified multiple times)
    #[arg(long, value_name = "FILE")]
    pub files_from: Vec<PathBuf>,
    /// Read the files to backup from FILE, a name a line and no patterns
    #[arg(long, value_name = "FILE")]
    pub files_from_verbatim: Vec<PathBuf>,
    /// Read the files to backup from FILE, names ended by a zero byte
    #[arg(long, value_name = "FILE")]
    pub files_from_raw: Vec<PathBuf>,
    /// Read backup from stdin
    #[arg(long)]
    pub stdin: bool,
    /// Filename to use when reading from stdin
    #[arg(long, value_name = "FILENAME", default_value = "stdin")]
    pub stdin_filename: PathBuf,
    /// Interpret arguments as command to execute and store its stdout
    #[arg(long)]
    pub stdin_from_command: bool,
    /// Use this parent snapshot (default: latest in the group determined by --group-by, not newer than --time)
    #[arg(long, value_name = "SNAPSHOT")]
    pub parent: Option<String>,
    /// Group snapshots by host, paths and/or tags, separated by comma (disable grouping with '')
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    pub group_by: GroupBy,
    /// Force re-reading the source files/directories (overrides the "parent" flag)
    #[arg(short, long)]
    pub force: bool,
    /// Add tags for the new snapshot in the format TAG[,TAG,...] (can be specified multiple times)
    #[arg(long = "tag", value_name = "TAGS")]
    pub tags: Vec<String>,
    /// Set the hostname for the snapshot manually (default: $RESTIC_HOST)
    #[arg(short = 'H', long, value_name = "HOSTNAME")]
    pub host: Option<String>,
    /// Time of the backup (ex. '2012-11-01 22:08:41') (default: now)
    #[arg(long, value_name = "TIME", value_parser = crate::cli::find::parse_time)]
    pub time: Option<chrono::DateTime<chrono::Utc>>,
    /// Store the atime for all files and directories
    #[arg(long)]
    pub with_atime: bool,
    /// Ignore inode number and ctime changes when checking for modified files (default: $RESTIC_IGNORE_INODE)
    #[arg(long)]
    pub ignore_inode: bool,
    /// Ignore ctime changes when checking for modified files (default: $RESTIC_IGNORE_CTIME)
    #[arg(long)]
    pub ignore_ctime: bool,
    /// Do not upload or write any data, just show what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not run scanner to estimate size of backup
    #[arg(long)]
    pub no_scan: bool,
    /// Skip snapshot creation if identical to parent snapshot
    #[arg(long)]
    pub skip_if_unchanged: bool,
    /// Read N files concurrently (default: $RESTIC_READ_CONCURRENCY or by the number of processors)
    #[arg(long, value_name = "N")]
    pub read_concurrency: Option<usize>,
}

impl Options {
    /// Takes in what the environment says, and refuses what makes no sense together.
    pub fn resolve(mut self, environment: &Environment) -> Result<Self, Failure> {
        self.refuse_contradictions()?;
        let switch = |name: &str| environment.text(name).is_some_and(|text| is_true(&text));
        self.ignore_inode |= switch("RESTIC_IGNORE_INODE");
        self.ignore_ctime |= switch("RESTIC_IGNORE_CTIME");
        self.host = self.host.or_else(|| environment.text("RESTIC_HOST")).filter(|host| !host.is_empty());
        self.tags = self.tags.iter().flat_map(|tags| split_tags(tags)).collect();
        if let (None, Some(text)) = (self.read_concurrency, environment.text("RESTIC_READ_CONCURRENCY")) {
            let number = text
                .parse()
                .map_err(|_| Failure::new(format!("RESTIC_READ_CONCURRENCY: {text:?} is no number")))?;
            self.read_concurrency = Some(number);
        }
        self.read_concurrency = self.read_concurrency.filter(|number| *number > 0);
        Ok(self)
    }

    /// Whether standard input is data, or a list.
    pub fn reads_stdin(&self) -> bool {
        let lists = self.files_from.iter().chain(&self.files_from_verbatim).chain(&self.files_from_raw);
        self.stdin || lists.into_iter().any(|file| file.as_os_str() == "-")
    }

    fn refuse_contradictions(&self) -> Result<(), Failure> {
        let reads_list = !(self.files_from.is_empty()
            && self.files_from_verbatim.is_empty()
            && self.files_from_raw.is_empty());
        let refuse = |message: &str| Err(Failure::new(message));
        match (self.stdin, self.stdin_from_command) {
            (true, true) => refuse("--stdin and --stdin-from-command exclude each other"),
            (true, _) if !self.targets.is_empty() => {
                refuse("--stdin was specified and files/dirs were listed as arguments")
            }
            (false, true) if self.targets.is_empty() => {
                refuse("--stdin-from-command needs the command to run")
            }
            (true, _) | (_, true) if reads_list => refuse("--stdin and --files-from cannot be used together"),
            (false, false) if self.targets.is_empty() && !reads_list => {
                Err(Failure::new("nothing to backup, please specify source files/dirs"))
            }
            _ => Ok(()),
        }
    }
}

/// As Go's `strconv.ParseBool` has it.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&text)
}
