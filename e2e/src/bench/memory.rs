//! Our side's works inside a memory cgroup: 64 MiB for backup and check, 96 MiB for restore.
//!
//! The kernel is the judge: it counts every page the process touches, the page cache it fills included (which
//! it can take back), and kills the process when it cannot. Needs a cgroup this process may create: version 1's memory
//! controller or version 2, and the rights for it (usually root).

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::compare::{prepare, settle, verify_restored};
use super::data::{DataSet, Generation, Source};
use super::measure::{self, Failure, Measured};
use super::program::{Program, Side, remove_restored};
use super::work::{Step, Work};
use super::{Options, machine};

pub(super) const BACKUP_LIMIT_BYTES: u64 = 64 << 20;
pub(super) const RESTORE_LIMIT_BYTES: u64 = 96 << 20;

/// What a run in a group showed.
#[derive(Debug)]
struct Outcome {
    work: Work,
    limit_bytes: u64,
    result: Result<Measured>,
    /// Pages charged at the peak, page cache included: close to the limit in any run that reads files.
    peak_charged_bytes: u64,
    limit_hits: u64,
    kills: u64,
}

/// Runs all works and succeeds with the report and whether every one of them passed.
pub fn run(options: &Options, works: &[Work], tell: &dyn Fn(&str)) -> Result<(String, bool)> {
    let version = Version::of_this_machine()?;
    let program = Program::new(Side::Pillion, &options.pillion, &options.directory)?;
    let mut outcomes = Vec::new();
    for set in [DataSet::Large, DataSet::Small] {
        if !works.iter().any(|work| work.set == set) {
            continue;
        }
        let source = prepare(set, options, tell)?;
        settle(&source, tell)?;
        program.begin(None)?;
        for step in Step::ALL {
            let work = Work { set, step };
            if !works.contains(&work) && step != Step::First {
                continue;
            }
            let outcome = run_step(version, &program, work, &source)?;
            let failed = outcome.result.is_err();
            tell(&outcome.line());
            outcomes.push(outcome);
            if failed && step == Step::First {
                tell("the other works need this one's repository and are left out");
                break;
            }
        }
        program.remove()?;
        source.rewrite(Generation::Pristine)?;
    }
    remove_restored(&options.directory)?;
    let mut text = format!(
        "{} in a memory cgroup on {}; seed {}, scale {}.\n\n\
         | work | limit MiB | peak MiB of the process | charged MiB at the peak | limit hits | OOM kills | wall s | result |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
        program.version()?,
        machine::describe(&options.directory),
        options.seed,
        options.scale
    );
    for outcome in &outcomes {
        writeln!(text, "{}", outcome.line()).expect("writing to a string succeeds");
    }
    Ok((text, outcomes.iter().all(Outcome::passed)))
}

fn run_step(version: Version, program: &Program, work: Work, source: &Source) -> Result<Outcome> {
    let limit_bytes = if work.step == Step::Restore { RESTORE_LIMIT_BYTES } else { BACKUP_LIMIT_BYTES };
    if work.step == Step::Changed {
        source.rewrite(Generation::Rewritten)?;
    }
    let group = Group::create(version, limit_bytes)?;
    let mut command = group.command(&program.command_for(work.step, &source.path));
    let result = measure::run(&mut command, &program.log());
    let outcome = Outcome {
        work,
        limit_bytes,
        peak_charged_bytes: group.peak_bytes()?,
        limit_hits: group.limit_hits()?,
        kills: group.kills()?,
        result,
    };
    if work.step == Step::Restore && outcome.result.is_ok() {
        verify_restored(program, &source.path)?;
    }
    Ok(outcome)
}

impl Outcome {
    fn passed(&self) -> bool {
        self.result.is_ok() && self.kills == 0
    }

    fn line(&self) -> String {
        let (peak, wall) = match &self.result {
            Ok(measured) => (measured.peak_bytes >> 20, format!("{:.2}", measured.wall.as_secs_f64())),
            Err(_) => (0, "–".to_owned()),
        };
        let result = match &self.result {
            Ok(_) if self.passed() => "passed".to_owned(),
            Ok(_) => "killed inside".to_owned(),
            Err(error) => match error.downcast_ref::<Failure>() {
                Some(failure) => {
                    let last = failure.said.lines().next_back().unwrap_or("it said nothing");
                    format!("{}: {}", failure.status, last.replace('|', "/"))
                }
                None => format!("{error:#}").replace(['\n', '|'], " "),
            },
        };
        format!(
            "| {} | {} | {peak} | {} | {} | {} | {wall} | {result} |",
            self.work,
            self.limit_bytes >> 20,
            self.peak_charged_bytes >> 20,
            self.limit_hits,
            self.kills
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn of_this_machine() -> Result<Self> {
        if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
            return Ok(Self::One);
        }
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        if controllers.split_whitespace().any(|controller| controller == "memory") {
            return Ok(Self::Two);
        }
        bail!("there is no memory controller below /sys/fs/cgroup (version 1 or 2)")
    }

    fn root(self) -> &'static Path {
        Path::new(match self {
            Self::One => "/sys/fs/cgroup/memory",
            Self::Two => "/sys/fs/cgroup",
        })
    }
}

/// A cgroup of its own with a limit; removed when dropped.
#[derive(Debug)]
struct Group {
    version: Version,
    path: PathBuf,
}

impl Group {
    fn create(version: Version, limit_bytes: u64) -> Result<Self> {
        let hint = "a memory cgroup needs root, or a delegated /sys/fs/cgroup";
        if version == Version::Two {
            // Fails where it is set already by a manager that lets nobody else in: creating the group tells.
            let _ = fs::write(version.root().join("cgroup.subtree_control"), "+memory");
        }
        let path = version.root().join(format!("pillion-bench-{}", std::process::id()));
        // What an interrupted process of the same number left behind.
        let _ = fs::remove_dir(&path);
        fs::create_dir(&path).with_context(|| format!("create {}: {hint}", path.display()))?;
        let group = Self { version, path };
        let (limit, swap) = match version {
            Version::One => ("memory.limit_in_bytes", ("memory.swappiness", "0")),
            Version::Two => ("memory.max", ("memory.swap.max", "0")),
        };
        fs::write(group.path.join(limit), limit_bytes.to_string())
            .with_context(|| format!("limit {}: {hint}", group.path.display()))?;
        // Absent where the kernel does not count swap.
        if group.path.join(swap.0).exists() {
            fs::write(group.path.join(swap.0), swap.1)?;
        }
        Ok(group)
    }

    /// The same command, begun inside the group: the shell moves itself there, then becomes the program.
    fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(self.path.join("cgroup.procs"));
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn peak_bytes(&self) -> Result<u64> {
        match self.version {
            Version::One => self.number("memory.max_usage_in_bytes"),
            // Since Linux 5.19.
            Version::Two => Ok(self.number("memory.peak").unwrap_or(0)),
        }
    }

    fn limit_hits(&self) -> Result<u64> {
        match self.version {
            Version::One => self.number("memory.failcnt"),
            Version::Two => self.entry("memory.events", "max"),
        }
    }

    fn kills(&self) -> Result<u64> {
        match self.version {
            Version::One => self.entry("memory.oom_control", "oom_kill"),
            Version::Two => self.entry("memory.events", "oom_kill"),
        }
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn number(&self, file: &str) -> Result<u64> {
        self.read(file)?.trim().parse().with_context(|| format!("{file} holds no number"))
    }

    fn entry(&self, file: &str, name: &str) -> Result<u64> {
        let text = self.read(file)?;
        let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name);
        let Some((_, number)) = value else { bail!("{file} has no line {name}") };
        ensure!(!number.is_empty(), "{file} has no number for {name}");
        Ok(number.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its only process has ended; a group that stays is empty and harmless.
        let _ = fs::remove_dir(&self.path);
    }
}
