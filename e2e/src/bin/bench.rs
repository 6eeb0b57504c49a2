//! The command line of the bench: `compare` with stock restic, `store` the same against a server, or `memory` for our
//! side in a memory cgroup.
//!
//! The report goes to standard output and beside the data, as Markdown; what is being done goes to standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use pillion_e2e::bench::{Options, compare, memory, store, work::Work};
use pillion_e2e::servers::{Kind, Security};

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
        #[command(flatten)]
        only: Only,
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
        #[command(flatten)]
        only: Only,
    },
    /// Both programs in turns against a server on this machine, with 1 GB of mixed files; counts requests
    Store {
        #[command(flatten)]
        common: Common,
        /// Rounds; each one does every step with both programs
        #[arg(long, env = "BENCH_RUNS", default_value_t = 3)]
        runs: usize,
        /// The store
        #[arg(long, env = "BENCH_SERVER", default_value = "versity")]
        server: Kind,
        /// How it is spoken to; Azure and B2 are always spoken to over TLS
        #[arg(long, env = "BENCH_SECURITY", default_value = "plain")]
        security: Security,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// Where data, repositories and reports lie
    #[arg(long, env = "BENCH_DIR", default_value = "target/bench")]
    directory: PathBuf,
    /// Size of the data, of 2 GB and 200,000 files (of 1 GB of mixed ones)
    #[arg(long, env = "BENCH_SCALE", default_value_t = 1.0)]
    scale: f64,
    /// What the data is made from
    #[arg(long, env = "BENCH_SEED", default_value_t = 1)]
    seed: u64,
    /// Our program
    #[arg(long, env = "PILLION_BIN", default_value = "target/release/pillion")]
    pillion: PathBuf,
}

#[derive(Args, Debug)]
struct Only {
    /// Works to do, all by default, such as small-first,large-restore
    #[arg(long, env = "BENCH_ONLY", value_delimiter = ',')]
    only: Vec<String>,
}

impl Only {
    fn works(&self) -> Result<Vec<Work>> {
        // An empty BENCH_ONLY arrives as one empty name.
        let names: Vec<_> = self.only.iter().filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Ok(Work::all());
        }
        names.into_iter().map(|name| name.parse()).collect()
    }
}

impl Common {
    fn resolve(self) -> Result<Options> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("create {}", self.directory.display()))?;
        Ok(Options {
            directory: self.directory.canonicalize()?,
            seed: self.seed,
            scale: self.scale,
            pillion: self.pillion,
        })
    }
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().job {
        Job::Compare { common, only, runs, restic } => {
            let options = common.resolve()?;
            let report = compare::run(&options, &only.works()?, &restic, runs.max(1), &tell)?;
            publish(&options.directory.join("compare.md"), &report)?;
            Ok(ExitCode::SUCCESS)
        }
        Job::Memory { common, only } => {
            let options = common.resolve()?;
            let (report, passed) = memory::run(&options, &only.works()?, &tell)?;
            publish(&options.directory.join("memory.md"), &report)?;
            Ok(exit_code(passed))
        }
        Job::Store { common, runs, server, security } => {
            let options = common.resolve()?;
            let (report, passed) = store::run(&options, server, security, runs.max(1), &tell)?;
            publish(&options.directory.join("store.md"), &report)?;
            Ok(exit_code(passed))
        }
    }
}

fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stderr, reason = "standard output carries the report alone")]
fn tell(line: &str) {
    eprintln!("{line}");
}

fn publish(path: &Path, report: &str) -> Result<()> {
    println!("{report}");
    std::fs::write(path, report).with_context(|| format!("write {}", path.display()))
}
