//! `pillion diff`: what changed from one snapshot to another.

use pillion_repository::diff::{self, Difference, Listener, Metadata, Side};
use pillion_repository::{Error, snapshots::SnapshotFilter};

use super::failure::Failure;
use super::filter::SnapshotName;
use super::output::listing::diff_change;
use super::output::quote::escape_control;
use super::output::summary::{DiffSide, DiffSummary};
use super::output::{Output, Verbosity};
use super::session::Session;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub from: SnapshotName,
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub to: SnapshotName,
    /// Print changes in metadata
    #[arg(long)]
    pub metadata: bool,
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let output = &*session.output;
    session.read_blobs(|repository, mut reader| {
        let filter = SnapshotFilter::default();
        let (from_id, _, from) = options.from.find(repository, &mut reader, &filter)?;
        let (to_id, _, to) = options.to.find(repository, &mut reader, &filter)?;
        let (from_id, to_id) = (from_id.short(), to_id.short());
        output.tell(Verbosity::Essential, &format!("comparing snapshot {from_id} to {to_id}:\n"));
        let metadata = if options.metadata { Metadata::Compared } else { Metadata::Ignored };
        let mut printer = Printer { output, unreadable: 0 };
        let difference = diff::diff(&mut reader, (&from, &to), metadata, &mut printer)?;
        print(options, output, &difference);
        match printer.unreadable {
            0 => Ok(()),
            _ => Err(Failure::new("not everything could be compared")
                .hint("run `pillion check` to see what is affected")),
        }
    })
}

struct Printer<'a> {
    output: &'a Output,
    unreadable: u64,
}

impl Listener for Printer<'_> {
    fn changed(&mut self, path: &[u8], modifier: &str) -> Result<(), Error> {
        diff_change(self.output, path, modifier);
        if self.output.is_closed() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn unreadable(&mut self, error: Error) -> Result<(), Error> {
        self.unreadable += 1;
        self.output.problem(&format!("error: {}", escape_control(&error.to_string())));
        Ok(())
    }
}

fn print(options: &Options, output: &Output, difference: &Difference) {
    let side = |side: &Side| DiffSide {
        files: side.files,
        dirs: side.dirs,
        others: side.others,
        data_blobs: side.data_blobs,
        tree_blobs: side.tree_blobs,
        bytes: side.bytes,
    };
    DiffSummary {
        source_snapshot: options.from.0.to_string_lossy().into_owned(),
        target_snapshot: options.to.0.to_string_lossy().into_owned(),
        changed_files: difference.changed_files,
        added: side(&difference.added),
        removed: side(&difference.removed),
    }
    .print(output);
}
