//! `pillion ls`: the entries of a snapshot.

use pillion_repository::filter::absolute;
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::format::tree::Node;
use pillion_repository::walk::{self, Next};

use super::failure::Failure;
use super::filter::{SnapshotName, SnapshotOptions};
use super::output::listing::{LineStyle, LsSnapshot, ls_json, node_line};
use super::output::quote::quote;
use super::output::{Output, Style, Verbosity, format};
use super::session::Session;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Snapshot ID, its beginning, or "latest"; SNAPSHOT:/PATH for a subfolder
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: SnapshotName,
    /// Absolute paths of directories to list (default: all)
    #[arg(value_name = "DIR")]
    pub directories: Vec<String>,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Use a long listing format showing size and mode
    #[arg(short, long)]
    pub long: bool,
    /// Include files in subfolders of the listed directories
    #[arg(long)]
    pub recursive: bool,
    /// Print sizes in human readable format
    #[arg(long)]
    pub human_readable: bool,
}

impl Options {
    pub fn line_style(&self) -> LineStyle {
        line_style(self.long, self.human_readable)
    }

    pub fn refuse_relative(&self) -> Result<(), Failure> {
        match self.directories.iter().all(|path| path.starts_with('/')) {
            true => Ok(()),
            false => {
                Err(Failure::new("all path filters must be absolute, starting with a forward slash '/'"))
            }
        }
    }
}

pub(super) fn line_style(is_long: bool, is_human: bool) -> LineStyle {
    match (is_long, is_human) {
        (false, _) => LineStyle::Path,
        (true, false) => LineStyle::Long,
        (true, true) => LineStyle::LongHuman,
    }
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let output = &*session.output;
    let directories: Vec<Vec<u8>> =
        options.directories.iter().map(|directory| absolute(directory.as_bytes(), b"/")).collect();
    let filter = options.filter.resolve(session.environment);
    session.read_blobs(|repository, mut reader| {
        let (id, snapshot, tree) = options.snapshot.find(repository, &mut reader, &filter)?;
        let snapshot = Snapshot { tree, ..snapshot };
        print_header(output, id, &snapshot, &options.directories);
        let mut entry = |path: &[u8], node: &Node| {
            let is_listed = directories.is_empty() || directories.iter().any(|dir| is_within(path, dir));
            let leads_on = directories.is_empty() || directories.iter().any(|dir| is_within(dir, path));
            if is_listed {
                output.line(&match output.style {
                    Style::Json => ls_json(path, node),
                    Style::Text => node_line(path, node, options.line_style(), &output.zone),
                });
            }
            Ok(match leads_on || (is_listed && options.recursive) {
                _ if output.is_closed() => Next::Stop,
                true => Next::Enter,
                false => Next::Pass,
            })
        };
        Ok(walk::walk(&mut reader, &tree, &mut entry)?)
    })
}

fn print_header(output: &Output, id: Id, snapshot: &Snapshot, directories: &[String]) {
    if output.style == Style::Json {
        return output.json(&LsSnapshot::new(id, snapshot));
    }
    let shown = |texts: &[String]| {
        texts.iter().map(|text| quote(text.as_bytes()).into_owned()).collect::<Vec<_>>().join(" ")
    };
    let header = format!(
        "snapshot {} of [{}] at {} by {}@{} filtered by [{}]:",
        id.short(),
        shown(&snapshot.paths),
        format::time(snapshot.time, &output.zone),
        quote(snapshot.username.as_bytes()),
        quote(snapshot.hostname.as_bytes()),
        shown(directories),
    );
    output.tell(Verbosity::Essential, &header);
}

/// Whether the clean absolute `path` is the directory `base` or lies below it.
fn is_within(path: &[u8], base: &[u8]) -> bool {
    match path.strip_prefix(base) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || base == b"/",
        None => false,
    }
}
