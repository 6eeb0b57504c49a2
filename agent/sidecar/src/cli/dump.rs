//! `pillion dump`: a file, or a folder as an archive, on standard output.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use pillion_repository::cache::Spool;
use pillion_repository::dump;
use pillion_repository::filter::absolute;
use pillion_repository::format::tree::NodeKind;
use pillion_repository::{Error, snapshots};

use super::failure::Failure;
use super::filter::{SnapshotName, SnapshotOptions};
use super::output::Output;
use super::session::Session;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Snapshot ID, its beginning, or "latest"; SNAPSHOT:/PATH for a subfolder
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub snapshot: SnapshotName,
    /// The file or folder in the snapshot; "/" for all of it
    #[arg(value_name = "FILE")]
    pub path: OsString,
    #[command(flatten)]
    pub filter: SnapshotOptions,
    /// Archive format of folders
    #[arg(short, long, value_enum, default_value = "tar")]
    pub archive: Archive,
    /// Write the output to target path
    #[arg(short, long, value_name = "PATH")]
    pub target: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Archive {
    #[default]
    Tar,
    Zip,
}

pub fn run(options: &Options, session: &Session<'_>) -> Result<(), Failure> {
    let filter = options.filter.resolve(session.environment);
    session.read_blobs(|repository, mut reader| {
        let (_, _, root) = options.snapshot.find(repository, &mut reader, &filter)?;
        let path = absolute(options.path.as_encoded_bytes(), b"/");
        let node = snapshots::find_node(&mut reader, &root, &path)?;
        let archive_of = node.subtree.filter(|_| node.kind == NodeKind::Dir);
        if archive_of.is_none() && node.kind != NodeKind::File {
            let kind = node.kind.word();
            return Err(Failure::new(format!("{:?} should be a file, but is a {kind}", options.path)));
        }
        if archive_of.is_some() && options.target.is_none() && std::io::stdout().is_terminal() {
            return Err(Failure::new("stdout is the terminal, please redirect output"));
        }
        let mut out = open(options, &session.output)?;
        match archive_of {
            Some(tree) => {
                let out = &mut *out;
                let left_out = match options.archive {
                    Archive::Tar => dump::write_tar(&mut reader, &tree, &path, out)?,
                    Archive::Zip => {
                        let spool = Spool::open(&repository.settings.cache)?;
                        dump::write_zip(&mut reader, &tree, &path, &spool, out)?
                    }
                };
                warn(left_out, &session.output);
            }
            None => dump::write_file(&mut reader, &node, &mut *out)?,
        }
        out.flush().map_err(|e| Error::local("write", "the output", e))?;
        Ok(())
    })
}

fn warn(left_out: dump::LeftOut, output: &Output) {
    if left_out.special_files > 0 {
        let count = left_out.special_files;
        output.warning(&format!("{count} devices, FIFOs or sockets are not in the archive"));
    }
}

fn open<'a>(options: &Options, output: &'a Output) -> Result<Box<dyn Write + 'a>, Failure> {
    let Some(target) = &options.target else { return Ok(Box::new(BufWriter::new(Raw(output)))) };
    let file = File::create(target).map_err(|e| Error::local("create", target.display().to_string(), e))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// Standard output, byte for byte.
struct Raw<'a>(&'a Output);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.raw(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
