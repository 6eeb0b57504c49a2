//! `pillion stats`: how much there is, counted in one of four ways.

use std::fmt;

use pillion_repository::format::config::Version;
use pillion_repository::stats::{CountBy, Counter, Totals};

use super::failure::Failure;
use super::filter::SnapshotOptions;
use super::output::Style;
use super::output::summary::Stats;
use super::session::Session;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// IDs of snapshots (default: all)
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Counting mode
    #[arg(long, value_enum, default_value = "restore-size")]
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    #[default]
    RestoreSize,
    FilesByContents,
    BlobsPerFile,
    RawData,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestoreSize => "restore-size",
            Self::FilesByContents => "files-by-contents",
            Self::BlobsPerFile => "blobs-per-file",
            Self::RawData => "raw-data",
        })
    }
}

impl From<Mode> for CountBy {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::RestoreSize => Self::RestoreSize,
            Mode::FilesByContents => Self::FilesByContents,
            Mode::BlobsPerFile => Self::BlobsPerFile,
            Mode::RawData => Self::RawData,
        }
    }
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let output = &session.output;
    session.read_blobs(|repository, mut reader| {
        if output.style == Style::Text {
            output.line("scanning...");
        }
        let selected = options.filter.select(repository, &options.snapshots, session)?;
        let mut counter = Counter::new(options.mode.into(), reader.index().clone());
        for (_, snapshot) in &selected.snapshots {
            counter.add(&mut reader, &snapshot.tree)?;
        }
        let totals = counter.finish()?;
        shown(&totals, repository.config.version).print(output, &options.mode.to_string());
        selected.unreadable.into()
    })
}

fn shown(totals: &Totals, version: Version) -> Stats {
    // Version 1 knows no compression, so there is nothing to compare with.
    let (uncompressed_bytes, compressed) = match version {
        Version::One => (0, (0, 0)),
        Version::Two => (totals.uncompressed_bytes, totals.compressed),
    };
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let space_saving = match uncompressed_bytes {
        0 => 0.0,
        whole => (1.0 - ratio(totals.size_bytes, whole)) * 100.0,
    };
    Stats {
        total_size: totals.size_bytes,
        total_uncompressed_size: uncompressed_bytes,
        compression_ratio: ratio(compressed.1, compressed.0),
        compression_progress: ratio(compressed.1, uncompressed_bytes) * 100.0,
        compression_space_saving: space_saving,
        total_file_count: totals.files,
        total_blob_count: totals.blobs,
        snapshots_count: totals.snapshots,
    }
}
