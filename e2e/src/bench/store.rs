//! Us and stock restic against the same kind of server, on the same machine: a first backup of 1 GB of mixed files, an
//! unchanged one, and a restore.
//!
//! Each round has a new server, which both programs speak to one after the other, who begins alternating; both with
//! their default of five connections. What the server took is told beside, since on one machine it takes it from the
//! program that is measured. How often a store is asked is counted by [`super::requests`], when nothing is measured.
//! The targets are held against at full size only.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::compare::perform;
use super::measure::Measured;
use super::memory::{BACKUP_LIMIT_BYTES, RESTORE_LIMIT_BYTES};
use super::mixture::Mixture;
use super::program::{Program, Side, remove_restored};
use super::table::{compared, median, rounded};
use super::work::Step;
use super::{Options, machine, requests};
use crate::servers::{Kind, Security, Server};

/// Long enough for every kind of store.
pub(super) const BUCKET: &str = "pillion-bench";

const STEPS: [Step; 3] = [Step::First, Step::Unchanged, Step::Restore];

/// What we are to reach.
struct Target {
    step: Step,
    /// Times as fast as restic.
    ratio_min: f64,
    peak_bytes_max: u64,
}

const TARGETS: [Target; 2] = [
    Target { step: Step::First, ratio_min: 1.3, peak_bytes_max: BACKUP_LIMIT_BYTES },
    Target { step: Step::Restore, ratio_min: 1.15, peak_bytes_max: RESTORE_LIMIT_BYTES },
];

/// One step of a round by one program.
#[derive(Clone, Copy, Debug)]
struct Taken {
    step: Step,
    side: Side,
    program: Measured,
    server_seconds: f64,
}

/// Runs all rounds and succeeds with the report, as Markdown, and whether the targets are reached.
pub fn run(
    options: &Options,
    kind: Kind,
    security: Security,
    runs: usize,
    tell: &dyn Fn(&str),
) -> Result<(String, bool)> {
    let mixture = Mixture::prepare(options, tell)?;
    mixture.settle(tell)?;
    let mut all = Vec::new();
    let mut versions = Vec::new();
    for round in 0..runs {
        let server = Server::start(kind, security);
        let mut programs =
            Side::BOTH.map(|side| program(options, side, &server)).into_iter().collect::<Result<Vec<_>>>()?;
        versions = programs.iter().map(Program::version).collect::<Result<Vec<_>>>()?;
        if round % 2 == 1 {
            programs.reverse();
        }
        all.extend(one_round(round + 1, &programs, &mixture, &server, tell)?);
    }
    let (counts, asks_little) = requests::count(options, &mixture, kind, tell)?;
    remove_restored(&options.directory)?;
    let at_full_size = options.scale >= 1.0;
    let (verdicts, passed) = judge(&all);
    let verdicts = if at_full_size {
        verdicts
    } else {
        "The data is smaller than the targets are meant for: they are not held against.\n".to_owned()
    };
    let report = format!(
        "{}; {}. Medians of {runs} rounds against {kind:?} ({security:?}) on the same machine, {}; 5 connections; warm \
         page cache; seed {}, scale {}.\n\n{}\n{verdicts}\n{counts}",
        versions[0],
        versions[1],
        machine::describe(&options.directory),
        options.seed,
        options.scale,
        render(&all),
    );
    Ok((report, (passed || !at_full_size) && asks_little))
}

/// The program of a side with a repository of its own in the server.
pub(super) fn program(options: &Options, side: Side, server: &Server) -> Result<Program> {
    let binary = match side {
        Side::Restic => server.restic_binary(),
        Side::Pillion => options.pillion.clone(),
    };
    let access = server.access(server.credentials(), BUCKET, side.noun());
    Ok(Program::new(side, &binary, &options.directory)?.with_store(access))
}

fn one_round(
    number: usize,
    programs: &[Program],
    mixture: &Mixture,
    server: &Server,
    tell: &dyn Fn(&str),
) -> Result<Vec<Taken>> {
    let mut like = None;
    for program in programs {
        program.begin(like.replace(program))?;
    }
    let mut all = Vec::new();
    for step in STEPS {
        for program in programs {
            let before = server.processor_seconds();
            let measured = perform(program, step, &mixture.path)
                .with_context(|| format!("{} with {}", step.noun(), program.side.noun()))?;
            let server_seconds = server.processor_seconds() - before;
            tell(&format!(
                "round {number} {}: {} {:.2} s, CPU {:.2} s, server's {server_seconds:.2} s, peak {} MiB",
                step.noun(),
                program.side.noun(),
                measured.wall.as_secs_f64(),
                measured.cpu.as_secs_f64(),
                measured.peak_bytes >> 20
            ));
            all.push(Taken { step, side: program.side, program: measured, server_seconds });
        }
    }
    programs.iter().try_for_each(Program::remove)?;
    Ok(all)
}

fn figures(all: &[Taken], step: Step, side: Side, figure: impl Fn(&Taken) -> f64) -> Vec<f64> {
    all.iter().filter(|taken| taken.step == step && taken.side == side).map(figure).collect()
}

fn wall(taken: &Taken) -> f64 {
    taken.program.wall.as_secs_f64()
}

fn peak_mebibytes(taken: &Taken) -> f64 {
    taken.program.peak_bytes as f64 / f64::from(1 << 20)
}

const HEAD: &str = "\
| work | wall s: restic | ours | ratio | CPU s: restic | ours | ratio | server's CPU s: restic | ours | ratio | \
peak MiB: restic | ours | ratio |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

fn render(all: &[Taken]) -> String {
    let mut text = HEAD.to_owned();
    for step in STEPS {
        write!(text, "| {}", step.noun()).expect("writing to a string succeeds");
        let columns: [fn(&Taken) -> f64; 4] =
            [wall, |taken| taken.program.cpu.as_secs_f64(), |taken| taken.server_seconds, peak_mebibytes];
        for column in columns {
            let of = |side| median(&figures(all, step, side, column));
            compared(&mut text, of(Side::Restic), of(Side::Pillion));
        }
        text.push_str(" |\n");
    }
    text
}

/// A line for each target, and whether all are reached. The peak of every round counts, of the times their median.
fn judge(all: &[Taken]) -> (String, bool) {
    let (mut text, mut passed) = (String::new(), true);
    for target in TARGETS {
        let of = |side| median(&figures(all, target.step, side, wall));
        let ratio = of(Side::Restic) / of(Side::Pillion);
        let peak = figures(all, target.step, Side::Pillion, peak_mebibytes).into_iter().fold(0.0, f64::max);
        let peak_max = (target.peak_bytes_max >> 20) as f64;
        let reached = ratio >= target.ratio_min && peak < peak_max;
        passed &= reached;
        writeln!(
            text,
            "- {}: {ratio:.2} times as fast as restic, of {}; at most {} MiB, of {peak_max}: {}",
            target.step.noun(),
            target.ratio_min,
            rounded(peak),
            if reached { "reached" } else { "MISSED" }
        )
        .expect("writing to a string succeeds");
    }
    (text, passed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(step: Step, side: Side, wall_ms: u64, peak_mebibytes: u64) -> Taken {
        let wall = Duration::from_millis(wall_ms);
        let program = Measured { wall, cpu: wall * 2, peak_bytes: peak_mebibytes << 20 };
        Taken { step, side, program, server_seconds: 3.0 }
    }

    fn round(first_ms: u64, first_peak: u64, restore_ms: u64, restore_peak: u64) -> Vec<Taken> {
        vec![
            taken(Step::First, Side::Restic, 13_000, 130),
            taken(Step::First, Side::Pillion, first_ms, first_peak),
            taken(Step::Unchanged, Side::Restic, 4_000, 90),
            taken(Step::Unchanged, Side::Pillion, 1_000, 40),
            taken(Step::Restore, Side::Restic, 11_500, 150),
            taken(Step::Restore, Side::Pillion, restore_ms, restore_peak),
        ]
    }

    #[test]
    fn a_target_is_missed_by_the_time_or_by_the_memory_of_one_step() {
        assert!(judge(&round(10_000, 63, 10_000, 95)).1);
        for missed in [
            round(10_100, 63, 10_000, 95),
            round(10_000, 64, 10_000, 95),
            round(10_000, 63, 10_100, 95),
            round(10_000, 63, 10_000, 96),
        ] {
            let (text, passed) = judge(&missed);
            assert!(!passed && text.matches("MISSED").count() == 1, "{text}");
        }
    }

    #[test]
    fn memory_that_is_too_much_once_is_missed_whatever_the_median() {
        let good = round(10_000, 50, 10_000, 80);
        let all = [good.clone(), round(10_000, 64, 10_000, 80), good].concat();
        assert!(!judge(&all).1);
    }

    #[test]
    fn a_row_shows_the_servers_processor_time_of_either_side() {
        let text = render(&round(10_000, 50, 10_000, 80));
        let line = text.lines().nth(2).unwrap();
        assert_eq!(
            line,
            "| first | 13.0 | 10.0 | 1.3 | 26.0 | 20.0 | 1.3 | 3.00 | 3.00 | 1.0 | 130 | 50.0 | 2.6 |"
        );
        assert_eq!(line.matches('|').count(), text.lines().next().unwrap().matches('|').count());
    }
}
