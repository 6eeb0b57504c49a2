//! The command line of the bench: `compare` with stock restic, or `memory` for our side in a memory cgroup.
//!
//! The report goes to standard output and beside the data, as Markdown; what is being done goes to standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use pillion_e2e::bench::{Options, compare, memory, work::Work};

#[derive(Debug, Parser)]
#[command(about = "Runs pillion and stock restic side by side and prints what each took")]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Both programs in turns; prints medians and ratios
    Compare {
        #[command(flatten)]
        common: Common,
        /// Rounds; each one does every work with both programs
        #[arg(long, env = "BENCH_RUNS", default_value_t = 3)]
        runs: usize,
        /// The restic to compare with
        #[arg(long, env = "PILLION_TEST_RESTIC", default_value = "target/tools/bin/restic")]
        restic: PathBuf,
    },
    /// Our side alone, in a memory cgroup of 64 MiB (restore: 96 MiB)
    Memory {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// Where data, repositories and reports lie
    #[arg(long, env = "BENCH_DIR", default_value = "target/bench")]
    directory: PathBuf,
    /// Works to do, all by default, such as small-first,large-restore
    #[arg(long, env = "BENCH_ONLY", value_delimiter = ',')]
    only: Vec<String>,
    /// Size of the data, of 2 GB and 200,000 files
    #[arg(long, env = "BENCH_SCALE", default_value_t = 1.0)]
    scale: f64,
    /// What the data is made from
    #[arg(long, env = "BENCH_SEED", default_value_t = 1)]
    seed: u64,
    /// Our program
    #[arg(long, env = "PILLION_BIN", default_value = "target/release/pillion")]
    pillion: PathBuf,
}

impl Common {
    fn resolve(self) -> Result<Options> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("create {}", self.directory.display()))?;
        // An empty BENCH_ONLY arrives as one empty name.
        let names: Vec<_> = self.only.iter().filter(|name| !name.is_empty()).collect();
        let works = if names.is_empty() {
            Work::all()
        } else {
            names.into_iter().map(|name| name.parse()).collect::<Result<_>>()?
        };
        Ok(Options {
            directory: self.directory.canonicalize()?,
            seed: self.seed,
            scale: self.scale,
            works,
            pillion: self.pillion,
        })
    }
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().job {
        Job::Compare { common, runs, restic } => {
            let options = common.resolve()?;
            let report = compare::run(&options, &restic, runs.max(1), &tell)?;
            publish(&options.directory.join("compare.md"), &report)?;
            Ok(ExitCode::SUCCESS)
        }
        Job::Memory { common } => {
            let options = common.resolve()?;
            let (report, passed) = memory::run(&options, &tell)?;
            publish(&options.directory.join("memory.md"), &report)?;
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

#[expect(clippy::print_stderr, reason = "standard output carries the report alone")]
fn tell(line: &str) {
    eprintln!("{line}");
}

fn publish(path: &Path, report: &str) -> Result<()> {
    println!("{report}");
    std::fs::write(path, report).with_context(|| format!("write {}", path.display()))
}
