//! Us and stock restic side by side: every work by both, in turns, several rounds.
//!
//! Each round begins with empty repositories and a source at rest (nothing in it younger than 61 s), warm in the
//! page cache. Who goes first alternates from round to round. A program that fails ends the bench.

use std::path::Path;

use anyhow::{Context, Result};

use super::data::{DataSet, Generation, Source};
use super::program::{Program, Side, remove_restored, size_bytes};
use super::table::{Rounds, Row, render};
use super::work::{Step, Work};
use super::{Options, machine, measure, verify};

/// Runs all works and succeeds with the report, as Markdown; `tell` hears what is being done.
pub fn run(
    options: &Options,
    works: &[Work],
    restic: &Path,
    runs: usize,
    tell: &dyn Fn(&str),
) -> Result<String> {
    let directory = &options.directory;
    let programs = [
        Program::new(Side::Restic, restic, directory)?,
        Program::new(Side::Pillion, &options.pillion, directory)?,
    ];
    let sets: Vec<_> = [DataSet::Large, DataSet::Small]
        .into_iter()
        .filter(|set| works.iter().any(|work| work.set == *set))
        .collect();
    let sources = sets.iter().map(|set| prepare(*set, options, tell)).collect::<Result<Vec<_>>>()?;
    let mut rows: Vec<_> = works
        .iter()
        .map(|work| Row { work: *work, restic: Rounds::default(), pillion: Rounds::default() })
        .collect();
    for round in 0..runs {
        for source in &sources {
            let mut order: Vec<_> = programs.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            Round { source, order, tell, number: round + 1 }.run(&mut rows)?;
        }
    }
    remove_restored(directory)?;
    let versions = programs.iter().map(Program::version).collect::<Result<Vec<_>>>()?;
    Ok(format!(
        "{}; {}. Medians of {runs} rounds on {}; warm page cache; seed {}, scale {}.\n\n{}",
        versions[0],
        versions[1],
        machine::describe(directory),
        options.seed,
        options.scale,
        render(&rows)
    ))
}

/// The source of a set, pristine.
pub fn prepare(set: DataSet, options: &Options, tell: &dyn Fn(&str)) -> Result<Source> {
    tell(&format!("{}: making the data, or taking what is there", set.noun()));
    let source = Source::prepare(set, &options.directory.join("data"), options.seed, options.scale)?;
    source.rewrite(Generation::Pristine)?;
    Ok(source)
}

/// Waits until nothing in `source` is racy, and warms the page cache.
pub fn settle(source: &Source, tell: &dyn Fn(&str)) -> Result<()> {
    let wait = source.time_until_aged()?;
    if !wait.is_zero() {
        tell(&format!("{}: waiting {} s for the data to age", source.set.noun(), wait.as_secs()));
        std::thread::sleep(wait);
    }
    source.warm()
}

struct Round<'a> {
    source: &'a Source,
    order: Vec<&'a Program>,
    tell: &'a dyn Fn(&str),
    number: usize,
}

impl Round<'_> {
    fn run(&self, rows: &mut [Row]) -> Result<()> {
        settle(self.source, self.tell)?;
        let mut like = None;
        for program in &self.order {
            program.begin(like.replace(*program))?;
        }
        for step in Step::ALL {
            let work = Work { set: self.source.set, step };
            let row = rows.iter_mut().find(|row| row.work == work);
            // Every other work needs the first one's repository; the rest is left out if nobody asked.
            if row.is_none() && step != Step::First {
                continue;
            }
            if step == Step::Changed {
                self.source.rewrite(Generation::Rewritten)?;
            }
            let mut outcomes = Vec::new();
            for program in &self.order {
                outcomes.push((program.side, self.measure(work, program)?));
            }
            let Some(row) = row else { continue };
            for (side, (measured, bytes)) in outcomes {
                let rounds = if side == Side::Restic { &mut row.restic } else { &mut row.pillion };
                rounds.measured.push(measured);
                rounds.repository_bytes.extend(bytes);
            }
        }
        self.order.iter().try_for_each(|program| program.remove())?;
        self.source.rewrite(Generation::Pristine)
    }

    /// One work by one program, looked at afterwards: what it took, and for a backup the repository's bytes.
    fn measure(&self, work: Work, program: &Program) -> Result<(measure::Measured, Option<f64>)> {
        let measured = perform(program, work.step, &self.source.path).with_context(|| format!("{work}"))?;
        (self.tell)(&format!(
            "round {} {work}: {} {:.2} s, CPU {:.2} s, peak {} MiB",
            self.number,
            program.side.noun(),
            measured.wall.as_secs_f64(),
            measured.cpu.as_secs_f64(),
            measured.peak_bytes >> 20
        ));
        let bytes =
            if work.step.is_backup() { Some(size_bytes(&program.repository())? as f64) } else { None };
        Ok((measured, bytes))
    }
}

/// Does a step with a program, measured, and verifies what a restore wrote.
pub fn perform(program: &Program, step: Step, source: &Path) -> Result<measure::Measured> {
    let mut command = program.command_for(step, source);
    let measured = measure::run(&mut command, &program.log())?;
    if step == Step::Restore {
        verify_restored(program, source)?;
    }
    Ok(measured)
}

/// Compares what lies restored with the source. See [`Program::remove`] for why it stays there.
pub fn verify_restored(program: &Program, source: &Path) -> Result<()> {
    let inside = source.strip_prefix("/").context("the bench's directory is an absolute path")?;
    verify::same(source, &program.restored().join(inside)).context("compare what was restored")
}
