//! `pillion ls`: the entries of a snapshot, as they are stored or in another order.
//!
//! As they are stored they are streamed; another order needs them all in memory first.

use std::cmp::Ordering;
use std::ffi::OsString;

use pillion_repository::filter::absolute;
use pillion_repository::format::id::Id;
use pillion_repository::format::snapshot::Snapshot;
use pillion_repository::format::tree::{Node, NodeKind, Rare};
use pillion_repository::walk::{self, Next};

use super::failure::Failure;
use super::filter::{SnapshotName, SnapshotOptions};
use super::output::listing::{LineStyle, LsSnapshot, ls_json, node_line};
use super::output::ncdu::NcduPrinter;
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
    pub directories: Vec<OsString>,
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
    /// Output NCDU export format (pipe into 'ncdu -f -')
    #[arg(long)]
    pub ncdu: bool,
    /// Sort output by one of these
    #[arg(short, long, value_enum, value_name = "MODE", default_value = "name")]
    pub sort: Sort,
    /// Reverse sorted output
    #[arg(long)]
    pub reverse: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// As they are stored: by name, what is in a directory right behind it.
    #[default]
    Name,
    Size,
    #[value(alias = "mtime")]
    Time,
    Atime,
    Ctime,
    Extension,
}

impl Options {
    pub fn line_style(&self) -> LineStyle {
        line_style(self.long, self.human_readable)
    }

    /// Refuses what makes no sense, before the password is asked for.
    pub fn refuse_contradictions(&self, style: Style) -> Result<(), Failure> {
        if self.ncdu && style == Style::Json {
            return Err(Failure::new("only either --json or --ncdu can be specified"));
        }
        if self.ncdu && (self.sort != Sort::Name || self.reverse) {
            return Err(Failure::new("--ncdu and --sort or --reverse are mutually exclusive"));
        }
        match self.directories.iter().all(|path| path.as_encoded_bytes().starts_with(b"/")) {
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
        options.directories.iter().map(|directory| absolute(directory.as_encoded_bytes(), b"/")).collect();
    let filter = options.filter.resolve(session.environment);
    session.read_blobs(|repository, mut reader| {
        let (id, snapshot, tree) = options.snapshot.find(repository, &mut reader, &filter)?;
        let snapshot = Snapshot { tree, ..snapshot };
        let mut printer = Printer::new(options, output, id, &snapshot);
        let mut entry = |path: &[u8], node: &Node| {
            let is_listed = directories.is_empty() || directories.iter().any(|dir| is_within(path, dir));
            let leads_on = directories.is_empty() || directories.iter().any(|dir| is_within(dir, path));
            match is_listed {
                true => printer.entry(path, node),
                false if leads_on => printer.on_the_way(path, node),
                false => {}
            }
            Ok(match leads_on || (is_listed && options.recursive) {
                _ if output.is_closed() => Next::Stop,
                true => Next::Enter,
                false => Next::Pass,
            })
        };
        walk::walk(&mut reader, &tree, &mut entry)?;
        printer.finish();
        Ok(())
    })
}

struct Printer<'a> {
    options: &'a Options,
    output: &'a Output,
    form: Form<'a>,
}

enum Form<'a> {
    Lines,
    /// What came so far, to be printed in another order.
    Sorted(Vec<(Vec<u8>, Node)>),
    Ncdu(NcduPrinter<'a>),
}

impl<'a> Printer<'a> {
    fn new(options: &'a Options, output: &'a Output, id: Id, snapshot: &Snapshot) -> Self {
        let form = if options.ncdu {
            Form::Ncdu(NcduPrinter::new(output, snapshot))
        } else {
            print_header(output, id, snapshot, &options.directories);
            match options.sort != Sort::Name || options.reverse {
                true => Form::Sorted(Vec::new()),
                false => Form::Lines,
            }
        };
        Self { options, output, form }
    }

    fn entry(&mut self, path: &[u8], node: &Node) {
        match &mut self.form {
            Form::Lines => self.line(path, node),
            // What it consists of is not shown.
            Form::Sorted(entries) => {
                entries.push((path.to_vec(), Node { content: None, rare: Rare::default(), ..node.clone() }));
            }
            Form::Ncdu(printer) => printer.entry(path, node),
        }
    }

    /// Not listed itself, and leads to what is.
    fn on_the_way(&mut self, path: &[u8], node: &Node) {
        if let Form::Ncdu(printer) = &mut self.form {
            printer.entry(path, node);
        }
    }

    fn finish(mut self) {
        match std::mem::replace(&mut self.form, Form::Lines) {
            Form::Lines => {}
            Form::Sorted(mut entries) => {
                sort(&mut entries, self.options.sort);
                if self.options.reverse {
                    entries.reverse();
                }
                entries.iter().for_each(|(path, node)| self.line(path, node));
            }
            Form::Ncdu(printer) => printer.finish(),
        }
    }

    fn line(&self, path: &[u8], node: &Node) {
        self.output.line(&match self.output.style {
            Style::Json => ls_json(path, node),
            Style::Text => node_line(path, node, self.options.line_style(), &self.output.zone),
        });
    }
}

/// Equal ones are in the order of their paths.
fn sort(entries: &mut [(Vec<u8>, Node)], by: Sort) {
    let size = |node: &Node| if node.kind == NodeKind::File { node.size } else { 0 };
    entries.sort_by(|(path, node), (other_path, other)| {
        let order = match by {
            Sort::Name => return Ordering::Equal,
            Sort::Size => size(node).cmp(&size(other)),
            Sort::Time => node.mtime.cmp(&other.mtime),
            Sort::Atime => node.atime.cmp(&other.atime),
            Sort::Ctime => node.ctime.cmp(&other.ctime),
            Sort::Extension => extension(&node.name).cmp(extension(&other.name)),
        };
        order.then_with(|| path.cmp(other_path))
    });
}

/// From the last dot on, also where that is the first byte.
fn extension(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b'.').map_or(&[], |dot| &name[dot..])
}

fn print_header(output: &Output, id: Id, snapshot: &Snapshot, directories: &[OsString]) {
    if output.style == Style::Json {
        return output.json(&LsSnapshot::new(id, snapshot));
    }
    let shown = |words: &mut dyn Iterator<Item = &[u8]>| {
        words.map(|word| quote(word).into_owned()).collect::<Vec<_>>().join(" ")
    };
    let header = format!(
        "snapshot {} of [{}] at {} by {}@{} filtered by [{}]:",
        id.short(),
        shown(&mut snapshot.paths.iter().map(String::as_bytes)),
        format::time(snapshot.time, &output.zone),
        quote(snapshot.username.as_bytes()),
        quote(snapshot.hostname.as_bytes()),
        shown(&mut directories.iter().map(|directory| directory.as_encoded_bytes())),
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
